"""Letters on `touchpoints.rejected`: what is there, what was sent again, and sending again exactly once.

What is sent again and the receipt that says so are one Kafka transaction. There is one transactional id for
the deployment, so whoever begins later ends the transaction of whoever was killed, or is still at it, and
reads the receipts after that. So no letter is ever sent twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson
from confluent_kafka import KafkaException, Message, Producer

from pipeline.core.errors import Retryable
from pipeline.settings import Settings
from pipeline.topics import REJECTED_BYTES_MAX, Topics

HEADER: Final = "elo.redriven"
"""On what was sent again: the position of its letter."""
BATCH_RECORDS: Final = 2_000  # letters of one transaction
INIT_S: Final = 60.0
COMMIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Letter:
    """One rejected record. `position` names it for ever; `topic` and `offset` are where it came from."""

    position: str
    key: bytes | None
    value: bytes | None
    timestamp: int
    reason: str
    field: str
    detail: str
    topic: str
    partition: int
    offset: int
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Letters with one reason, field, topic and producer. `id` is made of these, so it stays."""

    reason: str
    field: str
    topic: str
    producer: str

    @property
    def id(self) -> str:
        """Short, for the command line."""
        named = f"{self.reason}|{self.field}|{self.topic}|{self.producer}"
        return hashlib.sha256(named.encode()).hexdigest()[:8]


class Source(Protocol):
    """How a topic is read to its end: every committed record."""

    def __call__(self, topic: str) -> Iterable[Message]: ...


def letter_of(message: Message) -> Letter:
    """A record of `touchpoints.rejected`."""
    given: list[tuple[str, bytes | None]] = message.headers() or []  # type: ignore[assignment]
    # A touchpoint that was rejected twice carries the headers of both times: the last ones count.
    told = {name: (value or b"").decode("utf-8", "replace") for name, value in given}
    kept = tuple((name, value) for name, value in given if not name.startswith("elo."))
    return Letter(
        position=f"{message.partition()}-{message.offset()}",
        key=message.key(),
        value=message.value(),
        timestamp=message.timestamp()[1],
        reason=told.get("elo.reason", ""),
        field=told.get("elo.field", ""),
        detail=told.get("elo.detail", ""),
        topic=told.get("elo.topic", ""),
        partition=int(told.get("elo.partition") or 0),
        offset=int(told.get("elo.offset") or 0),
        headers=kept,
    )


def read_letters(read: Source, topics: Topics) -> list[Letter]:
    """The letters that were not sent again, oldest first."""
    redriven = read_receipts(read, topics)
    letters = (letter_of(message) for message in read(topics.rejected))
    open_ = [letter for letter in letters if letter.position not in redriven]
    return sorted(open_, key=lambda letter: (letter.timestamp, letter.topic, letter.partition, letter.offset))


def read_receipts(read: Source, topics: Topics) -> dict[str, dict[str, Any]]:
    """Position of a letter → what is known of its being sent again."""
    return {
        (message.key() or b"").decode(): orjson.loads(value)
        for message in read(topics.redriven)
        if (value := message.value()) is not None
    }


def send_again(
    settings: Settings, read: Source, letters: Sequence[tuple[Letter, bytes | None]], by: str, reason: str,
    now_ms: int,
) -> int:  # fmt: skip
    """Send letters to the topics they came from, each with its value. Returns how many were sent now.

    Those with a receipt are left out. Raises Retryable when it is not known whether the last ones were sent:
    call it again.
    """
    topics = settings.topics()
    producer = Producer(
        settings.kafka_config(
            transactional_id=f"{settings.group}.workshop",
            compression_type="lz4",
            message_max_bytes=REJECTED_BYTES_MAX,
        )
    )
    try:
        producer.init_transactions(INIT_S)
        receipts = read_receipts(read, topics)  # only now: nobody else can add to them any more
        open_ = [one for one in letters if one[0].position not in receipts]
        for batch in _batches(open_):
            producer.begin_transaction()
            for letter, value in batch:
                _produce(producer, topics, letter, value, {"by": by, "reason": reason, "at": now_ms})
            producer.commit_transaction(COMMIT_S)
    except KafkaException as error:
        raise Retryable(
            f"it is not known whether all were sent ({error.args[0].str()}), "
            "run the command again: what was sent is not sent twice"
        ) from error
    return len(open_)


def _produce(
    producer: Producer, topics: Topics, letter: Letter, value: bytes | None, receipt: dict[str, Any]
) -> None:
    headers = [*letter.headers, (HEADER, letter.position.encode())]
    records = (
        (letter.topic, value, letter.key, {"headers": headers}),
        (topics.redriven, orjson.dumps(receipt), letter.position.encode(), {}),
    )
    for topic, content, key, more in records:
        while True:
            try:
                producer.produce(topic, content, key, **more)
                break
            except BufferError:
                producer.poll(0.1)


def _batches(letters: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(letters), BATCH_RECORDS):
        yield letters[start : start + BATCH_RECORDS]
