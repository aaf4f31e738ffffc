"""For consumers of membership changes in Python, by webhook or from Kafka: nothing twice, nothing missed.

`Checker` says of each change whether it is new, repeated, late, or the first after a gap.
`MembershipConsumer` reads `segments.membership` with it. Neither needs anything else of Elo to run.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from pipeline.core.errors import InvariantViolation, Rejection
from pipeline.wire.avro import decode_record

POLL_S: Final = 0.2
COMMIT_RECORDS: Final = 500  # positions are committed so often, and whenever nothing is there
MISSING_MAX: Final = 1_000  # of one profile and segment; older gaps are forgotten, their changes are repeated
LASTING: Final = frozenset((
    KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
))  # fmt: skip
"""What no waiting mends; of anything else librdkafka recovers by itself."""


class Arrival(StrEnum):
    """What a change is to somebody who has seen those before it."""

    NEW = "new"
    GAP = "new after a gap"  # new, and changes before it are missing; they may come later
    LATE = "late"  # was missing: take note of it, but it is not the state of now
    REPEATED = "repeated"

    @property
    def is_current(self) -> bool:
        """Whether it says where the profile is now: act on these."""
        return self in (Arrival.NEW, Arrival.GAP)


class Seen(msgspec.Struct, frozen=True):
    """What is remembered of one profile and segment. `missing`: sequences below `sequence`, ascending."""

    sequence: int
    change_id: str
    occurred_at: int
    missing: tuple[int, ...] = ()


Store = MutableMapping[str, Seen]
"""Key → what was seen: a dict, or `SqliteStore` where it must outlive the process."""


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks changes given as mappings with the field names of a MembershipChange.

    The first change that is ever seen of a profile and segment is new, whatever its sequence.
    """

    store: Store

    def check(self, change: Mapping[str, Any]) -> Arrival:
        """Say what a change is, and remember it. Call it once a change, and act before the store is saved."""
        key = key_of(change)
        sequence, change_id, at = change["sequence"], change["change_id"], change["occurred_at"]
        seen = self.store.get(key)
        if seen is None or _is_restart(seen, change):
            self.store[key] = Seen(sequence, change_id, at)
            return Arrival.NEW
        if sequence > seen.sequence:
            missing = (*seen.missing, *range(seen.sequence + 1, sequence))[-MISSING_MAX:]
            self.store[key] = Seen(sequence, change_id, at, missing)
            return Arrival.NEW if sequence == seen.sequence + 1 else Arrival.GAP
        if sequence in seen.missing:
            left = tuple(number for number in seen.missing if number != sequence)
            self.store[key] = Seen(seen.sequence, seen.change_id, seen.occurred_at, left)
            return Arrival.LATE
        return Arrival.REPEATED

    def missing(self) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """Profile, segment and sequences of all that has not arrived yet."""
        for key, seen in self.store.items():
            if seen.missing:
                profile_id, _, segment_id = key.partition("|")
                yield profile_id, segment_id, seen.missing


def key_of(change: Mapping[str, Any]) -> str:
    """The key under which a store remembers a change."""
    return f"{change['profile_id']}|{change['segment_id']}"


def _is_restart(seen: Seen, change: Mapping[str, Any]) -> bool:
    """A profile that expired and came back counts from 1 anew, later than all that was seen of it."""
    return (
        change["sequence"] == 1
        and change["change_id"] != seen.change_id
        and change["occurred_at"] > seen.occurred_at
    )


class SqliteStore(MutableMapping[str, Seen]):
    """A store in a file. `save` makes durable what was checked; a crash before repeats it."""

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(path)
        self._file.execute("CREATE TABLE IF NOT EXISTS seen (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")

    def __getitem__(self, key: str) -> Seen:
        row = self._file.execute("SELECT value FROM seen WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return msgspec.msgpack.decode(row[0], type=Seen)

    def __setitem__(self, key: str, value: Seen) -> None:
        self._file.execute("REPLACE INTO seen VALUES (?, ?)", (key, msgspec.msgpack.encode(value)))

    def __delitem__(self, key: str) -> None:
        if not self._file.execute("DELETE FROM seen WHERE key = ?", (key,)).rowcount:
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        for (key,) in self._file.execute("SELECT key FROM seen ORDER BY key").fetchall():
            yield key

    def __len__(self) -> int:
        return int(self._file.execute("SELECT count(*) FROM seen").fetchone()[0])

    def save(self) -> None:
        """Commit."""
        self._file.commit()

    def close(self) -> None:
        """Close the file; what was not saved is gone."""
        self._file.close()


class MembershipConsumer:
    """Reads `segments.membership` in a consumer group. Iterate over it: pairs of change and Arrival.

    A change counts as done when the next one is asked for. What is done is saved in the store and then
    committed, so a crash repeats only changes, never leaves one out. It has no end: stop with `break`, and
    `close`; the change at hand then comes again.

    Args:
        kafka: settings of librdkafka, at least `bootstrap.servers` and `group.id`.
        store: what was seen. A dict forgets with the process: repetitions after a restart are new to it.
    """

    def __init__(
        self, kafka: Mapping[str, Any], store: Store | None = None, topic: str = "segments.membership"
    ) -> None:
        self.checker = Checker({} if store is None else store)
        self._consumer = Consumer(
            {
                "auto.offset.reset": "earliest",
                **kafka,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
            }
        )
        self._consumer.subscribe([topic])
        self._done = 0
        self._at_hand: tuple[str, Seen | None] | None = None

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Arrival]]:
        while True:
            message = self._consumer.poll(POLL_S)
            if message is None:
                self._commit()
            elif message.error() is None:
                change = _decode(message)
                key = key_of(change)
                self._at_hand = key, self.checker.store.get(key)
                yield change, self.checker.check(change)
                self._at_hand = None
                self._consumer.store_offsets(message)
                self._done += 1
                if self._done >= COMMIT_RECORDS:
                    self._commit()
            elif message.error().fatal() or message.error().code() in LASTING:
                raise KafkaException(message.error())

    def close(self) -> None:
        """Save, commit what is done, and leave the group."""
        if self._at_hand is not None:
            key, before = self._at_hand
            if before is None:
                self.checker.store.pop(key, None)
            else:
                self.checker.store[key] = before
        self._commit()
        self._consumer.close()

    def _commit(self) -> None:
        if self._done:
            if isinstance(self.checker.store, SqliteStore):
                self.checker.store.save()
            self._consumer.commit(asynchronous=False)
            self._done = 0


def _decode(message: Message) -> dict[str, Any]:
    record = decode_record(message.value() or b"")
    if isinstance(record, Rejection):
        raise InvariantViolation("a record is no membership change", offset=message.offset())
    return record
