"""Kafka as commands need it: is the broker there, which partitions, read a topic to its end, send and wait.

Blocking calls are cut into slices of `SLICE_S` so that Ctrl-C is felt at once.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from ..core.errors import Retryable
from ..runtime.connect import CONNECT_S, connect, missing_topic
from ..settings import Settings

__all__ = ["CONNECT_S", "connect"]
SLICE_S: Final = 0.2
READ_RECORDS: Final = 1_000
SILENCE_S: Final = 30.0
"""A partition that gives neither a record nor its end for so long: the broker has gone."""


def client_config(settings: Settings, **own: str | int | bool) -> dict[str, Any]:
    """librdkafka settings of a command's client: its own log lines only with ELO_DEBUG=1."""
    return dict(settings.quiet_kafka_config(socket_keepalive_enable=True, **own))


def partitions_of(admin: AdminClient, topics: Collection[str]) -> dict[str, list[int]]:
    """Topic → its partitions, ascending. Raises ConfigError or AccessDenied when one of the
    topics is not there for us."""
    found = admin.list_topics(timeout=CONNECT_S).topics
    for topic in topics:
        if topic not in found or found[topic].error is not None:
            raise missing_topic(admin, topic)
    return {topic: sorted(found[topic].partitions) for topic in topics}


def reader(settings: Settings, positions: list[TopicPartition], **own: str | int | bool) -> Consumer:
    """A consumer that reads committed records from these positions and reports ends; it joins no group."""
    consumer = Consumer(
        settings.reader_config(
            f"{settings.group}.command",
            quiet=True,
            socket_keepalive_enable=True,
            **{"fetch_wait_max_ms": 50, **own},
        )
    )
    # Assigned without a connection, librdkafka sleeps through timers of half a second and more first.
    consumer.list_topics(timeout=CONNECT_S)
    if positions:
        consumer.assign(positions)
    return consumer


def positions(partitions: Mapping[str, list[int]], *, beginning: bool) -> list[TopicPartition]:
    """Where to start in each partition: its first record, or behind its last one."""
    offset = OFFSET_BEGINNING if beginning else OFFSET_END
    return [
        TopicPartition(topic, number, offset) for topic, numbers in partitions.items() for number in numbers
    ]


def follow(consumer: Consumer, partitions: int, *, to_end: bool) -> Iterator[list[Message]]:
    """Yield what arrives, in lists; with `to_end` until each partition met its end once.

    An empty list means that nothing arrived for a moment: the caller may flush its output.
    Raises: Retryable when the broker stays silent, KafkaException for what the broker refuses.
    """
    ended: set[tuple[str | None, int | None]] = set()
    silent_since = time.monotonic()
    while not (to_end and len(ended) == partitions):
        received = take(consumer)
        records = []
        for message in received:
            error = message.error()
            if error is None:
                records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add((message.topic(), message.partition()))
            elif error.fatal() or (error.code() > 0 and not error.retriable()):
                raise KafkaException(error)
        if received:
            silent_since = time.monotonic()
        elif to_end and time.monotonic() - silent_since > SILENCE_S:
            raise Retryable("the Kafka broker stopped answering, see `elo broker status`")
        yield records


def take(consumer: Consumer) -> list[Message]:
    """What there is, and if nothing is there the first that comes within a slice.

    `consume(n, timeout)` alone would sit out the whole timeout whenever fewer than n are there.
    """
    first = consumer.poll(SLICE_S)
    return [] if first is None else [first, *consumer.consume(READ_RECORDS - 1, 0)]


def read_to_end(settings: Settings, topic: str, partitions: list[int]) -> Iterator[Message]:
    """Every committed record of a topic, from its first to the end of each partition."""
    consumer = reader(settings, positions({topic: partitions}, beginning=True))
    try:
        for records in follow(consumer, len(partitions), to_end=True):
            yield from records
    finally:
        consumer.close()


def send_all(settings: Settings, topic: str, records: Iterable[tuple[bytes, bytes | None]]) -> None:
    """Send key and value (None: tombstone) pairs and wait until each is delivered. Raises KafkaException."""
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(error)

    producer = Producer(client_config(settings, enable_idempotence=True, message_timeout_ms=30_000))
    for key, value in records:
        producer.produce(topic, value, key, on_delivery=delivered)
    while producer.flush(SLICE_S):
        pass
    if failures:
        raise KafkaException(failures[0])
