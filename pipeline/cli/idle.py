"""Has everything been consumed? Judged from outside, from offsets and what the workers wrote beside them.

A look reads the group's committed offsets *before* the ends of the partitions. What a worker sends it sends
before or together with the commit of what it read, so a look in which every end equals the commit had nothing
in flight. Transaction markers take offsets too: where a commit is below the end, a read_committed consumer
started at the commit tells whether a record is there or only the end.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from ..settings import Settings
from .kafka import client_config, connect, partitions_of, reader, take

LOOK_S: Final = 0.1  # time between two looks
REQUEST_S: Final = 10.0
GRACE_S: Final = 5.0  # a leader that moves, a broker that starts again: no answer for a moment is no verdict
PROBE_S: Final = 3.0  # an idle partition answers a probe within the fetch wait, 50 ms
PROBE_RECORDS_MAX: Final = 1_000
"""More than so many offsets below the end, and still moving: behind, no probe is needed to know it."""
NO_OFFSET: Final = -1

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Behind:
    """One thing that is not finished. `kind`: records, timer, open, definitions, policy or transaction.

    `amount` counts records, profiles with outputs to come, or definitions; for a timer: when it is due (ms).
    """

    topic: str
    partition: int
    kind: str
    amount: int = 0

    def sentence(self, now_ms: int) -> str:
        """Say it for people, e.g. `elo.touches[3] by 120 records`."""
        where = f"{self.topic}[{self.partition}]"
        match self.kind:
            case "records":
                return f"{where} by {self.amount} record{'s' if self.amount != 1 else ''}"
            case "timer":
                return f"{where} with a timer due {max(0, now_ms - self.amount)} ms ago"
            case "open":
                return f"{where} with {self.amount} open, their outputs to come"
            case "definitions":
                return f"{where} by {self.amount} segment definition{'s' if self.amount != 1 else ''}"
            case "policy":
                return f"{where} without the published identity policy"
            case _:
                return f"{where} with an open transaction"

    def to_json(self) -> dict[str, object]:
        """Topic, partition, and `records`, `due_ms`, `open`, `definitions`, `policy` or `transaction`."""
        name = "due_ms" if self.kind == "timer" else self.kind
        return {"topic": self.topic, "partition": self.partition, name: self.amount or True}


@dataclass(frozen=True, slots=True)
class Offsets:
    """What one look read. An absent key of `committed`: the group never committed there."""

    committed: Mapping[Partition, int]
    notes: Mapping[Partition, Mapping[str, Any]]  # the JSON beside a committed offset
    starts: Mapping[Partition, int]
    ends: Mapping[Partition, int]

    def lagging(self) -> dict[Partition, int]:
        """Partition → next offset to read, where that is below the end."""
        positions = {
            partition: max(self.committed.get(partition, NO_OFFSET), self.starts.get(partition, 0))
            for partition in self.ends
        }
        return {partition: at for partition, at in positions.items() if at < self.ends[partition]}


def judge(
    offsets: Offsets,
    consumed: Iterable[Partition],
    definitions_end: int,
    now_ms: int,
    policy_end: int = 0,
) -> tuple[Behind, ...]:
    """Return what is not finished, in order of topic and partition; empty when all is.

    Args:
        offsets: one look; its `ends` holds exactly the partitions that have to be consumed.
        consumed: those that lag by transaction markers only.
        definitions_end: the offset behind the last record of `segments.definitions`.
        now_ms: wall clock; a timer due at this very instant is open.
        policy_end: as `definitions_end`, of `identity.policy`.
    """
    behind = []
    done = frozenset(consumed)
    for (topic, partition), at in offsets.lagging().items():
        if (topic, partition) not in done:
            behind.append(Behind(topic, partition, "records", offsets.ends[topic, partition] - at))
    for (topic, partition), note in offsets.notes.items():
        due, unfinished, applied, policy = (
            _whole(note.get(name)) for name in ("due", "open", "defs", "policy")
        )
        if due is not None and due <= now_ms:
            behind.append(Behind(topic, partition, "timer", due))
        if unfinished:
            behind.append(Behind(topic, partition, "open", unfinished))
        if applied is not None and applied < definitions_end:
            behind.append(Behind(topic, partition, "definitions", definitions_end - applied))
        if policy is not None and policy < policy_end:
            behind.append(Behind(topic, partition, "policy", policy_end - policy))
    return tuple(sorted(behind, key=lambda entry: (entry.topic, entry.partition, entry.kind)))


def open_transactions(stable: Mapping[Partition, int], ends: Mapping[Partition, int]) -> tuple[Behind, ...]:
    """Partitions whose last stable offset is below their end.

    Offsets become visible a moment before the records of the same transaction do, so a reader that starts
    right after the wait would miss the last ones.
    """
    return tuple(Behind(*key, "transaction") for key in sorted(stable) if stable[key] < ends[key])


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class Watcher:
    """Looks at one deployment again and again, with clients that are made once. Close it after use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.topics = settings.topics()
        self.admin: AdminClient = connect(settings)
        topics = self.topics
        inputs = (*topics.touchpoints, topics.decisions, topics.touches, topics.mail)
        names = self.topics
        outputs = (
            names.membership, names.current, names.profiles, names.merges, names.review, names.state,
            names.sample,
        )  # fmt: skip
        found = partitions_of(self.admin, (*inputs, *outputs, self.topics.definitions, self.topics.policy))
        self.inputs = [(topic, number) for topic in inputs for number in found[topic]]
        transactional = (*outputs, self.topics.mail)
        self.transactional = [(topic, number) for topic in transactional for number in found[topic]]
        self.definitions = [(self.topics.definitions, number) for number in found[self.topics.definitions]]
        self.policy = [(self.topics.policy, number) for number in found[self.topics.policy]]
        self.group = Consumer(
            client_config(
                settings,
                group_id=settings.group,
                enable_auto_commit=False,
                # Not waiting for a pending transaction: what it consumed does not count as committed.
                isolation_level="read_uncommitted",
            )
        )
        # One record is enough to know, so as little as the broker allows is fetched.
        self.probe = reader(settings, [], max_partition_fetch_bytes=4096)
        self.known: dict[Partition, tuple[int, int, bool]] = {}
        self.last: dict[Partition, tuple[int, int]] = {}

    def close(self) -> None:
        """Leave Kafka. The group was only asked, never joined."""
        self.group.close()
        self.probe.close()

    def look(self) -> tuple[tuple[Behind, ...], object]:
        """One look: what is not finished, and a value that changes whenever anything moved.

        Raises: KafkaException when the broker does not answer.
        """
        committed, notes = self.committed()
        stable = self._list(self.transactional, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)
        every = [*self.inputs, *self.transactional, *self.definitions, *self.policy]
        ends = self._list(every, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED)
        starts = self._list(self.inputs, OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED)
        offsets = Offsets(committed, notes, starts, {key: ends[key] for key in self.inputs})
        consumed = self._only_markers(offsets)
        now_ms = time.time_ns() // 1_000_000
        definitions_end = max(ends[key] for key in self.definitions)
        policy_end = max(ends[key] for key in self.policy)
        behind = judge(offsets, consumed, definitions_end, now_ms, policy_end) + open_transactions(
            stable, ends
        )
        return behind, (committed, ends)

    def committed(self) -> tuple[dict[Partition, int], dict[Partition, Mapping[str, Any]]]:
        """Partition → committed offset, and the note beside it."""
        asked = [TopicPartition(topic, number) for topic, number in self.inputs]
        committed, notes = {}, {}
        for entry in self.group.committed(asked, timeout=REQUEST_S):
            if entry.error is not None:
                raise KafkaException(entry.error)
            if entry.offset >= 0:
                committed[entry.topic, entry.partition] = entry.offset
                notes[entry.topic, entry.partition] = _parse_note(entry.metadata)
        return committed, notes

    def _list(
        self, partitions: Sequence[Partition], spec: OffsetSpec, isolation: IsolationLevel
    ) -> dict[Partition, int]:
        asked = {TopicPartition(topic, number): spec for topic, number in partitions}
        futures = self.admin.list_offsets(asked, isolation_level=isolation, request_timeout=REQUEST_S)
        return {(key.topic, key.partition): future.result().offset for key, future in futures.items()}

    def _only_markers(self, offsets: Offsets) -> list[Partition]:
        """Which lagging partitions hold no further record. An answer is kept while nothing moves there."""
        asked = []
        for partition, at in offsets.lagging().items():
            position = at, offsets.ends[partition]
            moving = self.last.get(partition) != position
            self.last[partition] = position
            if self.known.get(partition, ())[:2] != position and not (
                moving and position[1] - at > PROBE_RECORDS_MAX
            ):
                asked.append((partition, position))
        if asked:
            found = self._probe([(partition, position[0]) for partition, position in asked])
            for partition, position in asked:
                if partition in found:
                    self.known[partition] = (*position, found[partition])
        return [
            partition
            for partition, at in offsets.lagging().items()
            if self.known.get(partition) == (at, offsets.ends[partition], True)
        ]

    def _probe(self, positions: Sequence[tuple[Partition, int]]) -> dict[Partition, bool]:
        """Partition → True when its end comes before any record. One that does not answer is left out."""
        found: dict[Partition, bool] = {}
        self.probe.assign([TopicPartition(topic, number, at) for (topic, number), at in positions])
        deadline = time.monotonic() + PROBE_S
        try:
            while len(found) < len(positions) and time.monotonic() < deadline:
                for message in take(self.probe):
                    error = message.error()
                    partition = str(message.topic()), int(message.partition() or 0)
                    if error is None:
                        found.setdefault(partition, False)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        found.setdefault(partition, True)
        finally:
            self.probe.unassign()
        return found


def _parse_note(metadata: str | None) -> Mapping[str, Any]:
    try:
        note = orjson.loads(metadata or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return note if isinstance(note, dict) else {}


def wait_until_idle(settings: Settings, timeout_s: float) -> tuple[Behind, ...]:
    """Look until two looks in a row find nothing open and nothing moved; return () then.

    At the timeout return what the last look found. A broker that does not answer is asked again, at the
    timeout for `GRACE_S` more.
    Raises: Retryable when it did not answer at first, KafkaException when it did not at the end.
    """
    deadline = time.monotonic() + timeout_s
    watcher = Watcher(settings)
    try:
        before: object = None
        while True:
            failure: KafkaException | None = None
            behind: tuple[Behind, ...] = ()
            try:
                behind, now = watcher.look()
                if not behind and now == before:
                    return ()
                before = None if behind else now
            except KafkaException as error:
                before, failure = None, error
            late_s = time.monotonic() - deadline
            if failure is None and before is None and late_s >= 0:
                return behind
            if failure is not None and late_s >= GRACE_S:
                raise failure
            time.sleep(LOOK_S)
    finally:
        watcher.close()
