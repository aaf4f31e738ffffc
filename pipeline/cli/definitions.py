"""What stands on `segments.definitions` and `segments.history`, and putting something there."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer

from ..core.errors import ConfigError
from ..core.segments.definition import Definition
from ..core.segments.parse import definition_from_json
from ..settings import Settings
from .kafka import client_config, connect, partitions_of, read_to_end
from .options import fail

TRANSACTION_S: Final = 30.0
FENCED: Final = (
    KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.CONCURRENT_TRANSACTIONS,
)  # fmt: skip
"""Another command has begun since this one has."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The newest record of one segment id. `applied_at` is the record's timestamp, in ms.

    `content_hash` None: another version of Elo wrote it, in a form that this one does not know.
    """

    id: str
    deleted: bool
    version: int
    document: Mapping[str, Any]
    content_hash: str | None
    applied_at: int

    @property
    def paused(self) -> bool:
        """Whether what was told of it stands still."""
        return self.document.get("paused") is True

    def to_json(self) -> dict[str, Any]:
        """The definition as it is on the topic, with `applied_at` in ms."""
        return {**self.document, "applied_at": self.applied_at}

    def applied_at_text(self) -> str:
        """The instant in UTC, to the second."""
        return datetime.fromtimestamp(self.applied_at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def read_stored(settings: Settings) -> dict[str, Stored]:
    """Segment id → its newest record, tombstones included as long as compaction leaves them."""
    topic = settings.topics().definitions
    partitions = partitions_of(connect(settings), [topic])[topic]
    found: dict[str, Stored] = {}
    for message in read_to_end(settings, topic, partitions):
        name = (message.key() or b"").decode("utf-8", "replace")
        found[name] = _read(name, message.value(), message.timestamp()[1])
    return found


def in_force(stored: Mapping[str, Stored]) -> dict[str, Definition]:
    """Segment id → the definition that is applied, those of another version of Elo left out."""
    return {
        name: definition_from_json(one.document)
        for name, one in stored.items()
        if not one.deleted and one.content_hash is not None
    }


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a definition, as it stands on `segments.history`. `at`: ms.

    `change`: created, updated, deleted, paused or resumed; `definition` None: it was deleted.
    """

    segment_id: str
    change: str
    version: int
    by: str
    at: int
    content_hash: str | None
    definition: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """The value on `segments.history`, and one line of `elo segments history --json`."""
        return {name: getattr(self, name) for name in self.__slots__}


def read_history(settings: Settings) -> list[Change]:
    """Every change that a command has made, oldest first."""
    topic = settings.topics().segment_history
    partitions = partitions_of(connect(settings), [topic])[topic]
    return [Change(**orjson.loads(message.value() or b"")) for message in
            read_to_end(settings, topic, partitions)]  # fmt: skip


class Edit:
    """The definitions as they stand, to be changed by one command at a time. Ids in `gone` were deleted.

    What is published takes effect as a whole, with its records of who did it and when. If another command
    has begun meanwhile, nothing is published.
    """

    def __init__(self, settings: Settings) -> None:
        self._topics = settings.topics()
        partitions_of(connect(settings), [self._topics.definitions, self._topics.segment_history])
        self._producer = Producer(client_config(settings, transactional_id=f"{settings.group}.segments"))
        self._producer.init_transactions(TRANSACTION_S)
        self.stored = read_stored(settings)
        newest = {one.segment_id: one.change for one in read_history(settings)}
        self.gone = {name for name, one in self.stored.items() if one.deleted}
        self.gone |= {name for name, change in newest.items() if change == "deleted"}

    def publish(self, changes: Iterable[tuple[str, str, Definition | None]], by: str) -> None:
        """Publish what has become of segments (id, change, definition), and wait until the broker has it."""
        records = [self._record(name, change, definition, by) for name, change, definition in changes]
        if not records:
            return
        try:
            self._producer.begin_transaction()
            for record, definition in records:
                key, topics = record.segment_id.encode(), self._topics
                value = None if definition is None else orjson.dumps(definition.to_json())
                self._producer.produce(topics.definitions, value, key)
                self._producer.produce(topics.segment_history, orjson.dumps(record.to_json()), key)
            self._producer.commit_transaction(TRANSACTION_S)
        except KafkaException as failure:
            if failure.args[0].code() not in FENCED:
                raise
            fail("another command changes segments at this moment, nothing was done: try again")

    def _record(
        self, name: str, change: str, definition: Definition | None, by: str
    ) -> tuple[Change, Definition | None]:
        at_ms = time.time_ns() // 1_000_000
        if definition is None:
            return Change(name, change, self.stored[name].version, by, at_ms, None, None), None
        hashed = definition.content_hash()
        return Change(name, change, definition.version, by, at_ms, hashed, definition.to_json()), definition


def _read(name: str, value: bytes | None, applied_at: int) -> Stored:
    if value is None:
        return Stored(name, True, 0, {}, None, applied_at)
    document = _loads(value)
    try:
        definition = definition_from_json(document)
    except ConfigError:
        known = document if isinstance(document, dict) else {"id": name}
        version = known.get("version")
        return Stored(name, False, version if isinstance(version, int) else 1, known, None, applied_at)
    return Stored(name, False, definition.version, document, definition.content_hash(), applied_at)


def _loads(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
