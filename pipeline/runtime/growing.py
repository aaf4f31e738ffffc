"""Gives a deployment more partitions: the same people, spread over more of them. No worker may run meanwhile.

The new count is a multiple of the old one, so each old partition is split: node k lies on crc32(k) mod the
count, and what belongs to a new partition q comes from the old one p = q mod the old count, and from no
other. Everything is copied in transactions, and what is left to do is seen from Kafka itself, so a growth
that was killed goes on where it was. `elo.touches` grows first and the touchpoint topics last: in between
the counts differ, and no worker starts.
Source: docs/decisions/0031-partitions-are-split.md
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)
from rocksdict import Cache, Rdict, WriteBatch

from ..core.errors import ConfigError
from ..core.node import PAGE_KEY
from ..settings import Settings
from . import adoption, definitions
from .checkpoint import partition_of
from .crashpoints import reach
from .inspect import live_components
from .moving import Letter, Log
from .restore import log_ends, read_log
from .rocks import options
from .store import DEFINITION_KEY, MEMBERS_KEY, SPLIT_KEY

CHUNK_RECORDS: Final = 20_000  # of one transaction
REQUEST_S: Final = 30.0
LEADERS_S: Final = 60.0
SETTLE_S: Final = 5.0  # a worker that was about to start has joined, and ended, after this time
CACHE_BYTES: Final = 16 * 1024 * 1024
TIMESTAMP_TYPE: Final = "message.timestamp.type"


class Growth:
    """One growth of one deployment. `tell`: told of each step, for people."""

    def __init__(self, settings: Settings, wanted: int, tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._topics = settings.topics()
        self._wanted = wanted
        self._tell = tell
        self._admin = AdminClient(settings.kafka_config())
        self._old = 0
        self._log = Log(settings)
        self._times: dict[tuple[int, bytes], int] = {}

    # -- the steps -------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Grow; False if nothing was to be done. Raises ConfigError when it cannot be done now."""
        topics = self._topics
        counts = self._counts()
        self._old = min(counts.values())
        self._check_counts(counts)
        if self._old == self._wanted:
            return False
        self._check_stopped()
        with tempfile.TemporaryDirectory(prefix="elo-grow-") as directory:
            self._tell("reading the state")
            ends = self._state_ends()
            states = self._read_states(Path(directory, "before"))
            self._add_partitions(topics.touches)
            time.sleep(0 if counts[topics.touches] == self._wanted else SETTLE_S)
            self._check_stopped()
            if self._state_ends() != ends:  # A worker ran until the counts kept it away.
                states = self._read_states(Path(directory, "after"))
            for topic in (*topics.of_nodes, topics.mail):
                self._add_partitions(topic)
            self._stamp_by("CreateTime")  # What is copied keeps its time.
            self._log.open()
            for partition, state in enumerate(states):
                self._tell(f"splitting partition {partition}")
                self._split_touches(partition)
                self._split_nodes(state, partition, topics.state)
                self._split_changes(state, partition)
                state.close()
                for topic in topics.of_nodes[1:]:
                    self._split_nodes(self._read(Path(directory), topic, partition), partition, topic)
        self._count_members()
        self._stamp_by("LogAppendTime")
        for topic in topics.touchpoints:
            self._add_partitions(topic)
        return True

    def _check_counts(self, counts: dict[str, int]) -> None:
        begun = counts[self._topics.touches]
        if begun > self._old and begun != self._wanted:
            raise ConfigError(f"a growth to {begun} partitions was begun, finish it: --partitions {begun}")
        if self._wanted < self._old or self._wanted % self._old:
            raise ConfigError(
                f"there are {self._old} partitions, and {self._wanted} is no multiple of that; "
                f"write --partitions {self._old * 2} or {self._old * 4}, for example"
            )

    def _check_stopped(self) -> None:
        group = self._settings.group
        described = self._admin.describe_consumer_groups([group], request_timeout=REQUEST_S)
        try:
            members = len(described[group].result().members)
        except KafkaException as failure:
            if failure.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise
            members = 0
        if members:
            raise ConfigError(
                f"{members} worker{'s are' if members > 1 else ' is'} in the group, stop them first; "
                "one that was killed stays for the session timeout"
            )

    def _check_settled(self, states: list[Rdict]) -> None:
        """No change of definitions or policy may be under way: its parts count partitions."""
        places = set()
        for state in states:
            work, policy = works_of(state)
            if not (work.done and work.told >= work.offset and policy.done and policy.told):
                raise ConfigError(
                    "a change of segments or of the identity policy is being worked off: start the workers, "
                    "wait for it with `elo wait`, and stop them again"
                )
            places.add((work.offset, policy.offset))
        if len(places) > 1:
            raise ConfigError(
                "not every partition has taken the newest segments and policy: start the workers, wait for "
                "it with `elo wait`, and stop them again"
            )

    # -- topics ----------------------------------------------------------------------------------------

    def _counts(self) -> dict[str, int]:
        names = self._topics.together
        found = self._admin.list_topics(timeout=REQUEST_S).topics
        for name in names:
            if name not in found:
                raise ConfigError(f"topic {name} does not exist, run `elo topics create`")
        return {name: len(found[name].partitions) for name in names}

    def _add_partitions(self, topic: str) -> None:
        if self._counts()[topic] < self._wanted:
            request = NewPartitions(topic, self._wanted)
            self._admin.create_partitions([request], request_timeout=REQUEST_S)[topic].result()
            self._tell(f"{topic} has {self._wanted} partitions now")
        deadline = time.monotonic() + LEADERS_S
        while True:
            partitions = self._admin.list_topics(topic, timeout=REQUEST_S).topics[topic].partitions
            if len(partitions) == self._wanted and all(one.leader >= 0 for one in partitions.values()):
                return
            if time.monotonic() > deadline:
                raise ConfigError(f"new partitions of {topic} have no leader, look at the brokers")
            time.sleep(0.1)

    def _stamp_by(self, kind: str) -> None:
        entry = ConfigEntry(TIMESTAMP_TYPE, kind, incremental_operation=AlterConfigOpType.SET)
        resources = [
            ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
            for topic in (self._topics.touches, self._topics.mail)
        ]
        for future in self._admin.incremental_alter_configs(resources, request_timeout=REQUEST_S).values():
            future.result()

    # -- where things go -------------------------------------------------------------------------------

    def _children(self, partition: int) -> range:
        return range(partition + self._old, self._wanted, self._old)

    def _home(self, key: bytes) -> int:
        return partition_of(key.decode(), self._wanted)

    # -- touches and mail ------------------------------------------------------------------------------

    def _split_touches(self, partition: int) -> None:
        """Copy the history of the new partitions, handled touches first, and say between where they begin."""
        topics, group = self._topics, self._settings.group
        known = self._log.committed(group, [topics.touches, topics.mail], partition)
        handled = max(known[topics.touches].offset, 0)
        end = log_ends(self._settings, topics.touches, (partition,))[partition]
        self._copy_touches(partition, handled)
        if (
            self._log.committed(group, [topics.touches], self._children(partition)[0])[topics.touches].offset
            < 0
        ):
            self._hand_over(partition, known)
        self._copy_touches(partition, end)

    def _copy_touches(self, partition: int, end: int) -> None:
        topic, progress = self._topics.touches, f"{self._settings.group}.grow"
        start = max(self._log.committed(progress, [topic], partition)[topic].offset, 0)
        if start >= end:
            return
        chunk: list[Any] = []
        for records in read_log(self._settings, topic, partition, start):
            chunk += [record for record in records if record.offset() < end]
            if len(chunk) >= CHUNK_RECORDS:
                self._send_touches(chunk, partition, chunk[-1].offset() + 1)
                chunk = []
            if records[-1].offset() >= end:
                break
        self._send_touches(chunk, partition, end)

    def _send_touches(self, chunk: list[Any], partition: int, reached: int) -> None:
        topic = self._topics.touches
        moved = [
            (topic, home, one.key(), one.value(), one.timestamp()[1], one.headers() or [])
            for one in chunk
            if (home := self._home(one.key())) != partition
        ]
        place = TopicPartition(topic, partition, reached)
        self._log.send(moved, [(f"{self._settings.group}.grow", [place])])
        reach("grow.touches")

    def _hand_over(self, partition: int, known: dict[str, TopicPartition]) -> None:
        """The mail that waits goes to where its nodes will be; the new partitions begin behind what their
        old one has handled. What it has not handled comes behind that.
        """
        topics, children = self._topics, self._children(partition)
        mail_end = log_ends(self._settings, topics.mail, (partition,))[partition]
        waiting = read_log(self._settings, topics.mail, partition, max(known[topics.mail].offset, 0))
        letters = [
            (topics.mail, self._home(one.key()), one.key(), one.value(), one.timestamp()[1], [])
            for records in waiting
            for one in records
            if b":" in one.key()  # What is sent to a partition itself is news of changes: there is none left.
        ]
        note = known[topics.touches].metadata or ""
        ends = log_ends(self._settings, topics.touches, children)
        places = [TopicPartition(topics.touches, child, ends[child], note) for child in children]
        places.append(TopicPartition(topics.mail, partition, mail_end))
        self._log.send(letters, [(self._settings.group, places)])
        reach("grow.handed")

    # -- state -----------------------------------------------------------------------------------------

    def _state_ends(self) -> dict[int, int]:
        return log_ends(self._settings, self._topics.state, range(self._old))

    def _read_states(self, directory: Path) -> list[Rdict]:
        """Those of all old partitions. No change of segments or policy may be under way in them."""
        directory.mkdir()
        topic = self._topics.state
        states = [self._read(directory, topic, partition) for partition in range(self._old)]
        self._check_settled(states)
        return states

    def _read(self, directory: Path, topic: str, partition: int) -> Rdict:
        """The newest value of each key of an old partition, on disk."""
        state = Rdict(str(directory / f"{topic}-{partition}"), options(Cache(CACHE_BYTES)))
        for records in read_log(self._settings, topic, partition, 0):
            batch = WriteBatch(raw_mode=True)
            for record in records:
                key, value = record.key(), record.value()
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)
                if is_of_partition(key):  # When a definition was taken explains what was told by it.
                    self._times[partition, key] = record.timestamp()[1]
            state.write(batch)
        return state

    def _split_nodes(self, state: Rdict, partition: int, topic: str) -> None:
        """Move the nodes. A node that was moved has a tombstone where it was, so it is moved once."""
        chunk: list[Letter] = []
        for key, value in items(state):
            home = partition if is_of_partition(key) else self._home(node_of(key))
            if home != partition:
                chunk += [(topic, home, key, value, 0, []), (topic, partition, key, None, 0, [])]
            if len(chunk) >= CHUNK_RECORDS:
                self._log.send(chunk)
                reach("grow.state")
                chunk = []
        self._log.send(chunk)
        reach("grow.state")

    def _split_changes(self, state: Rdict, partition: int) -> None:
        """Definitions and policy are those of the old partition, done by every new one."""
        work, policy = works_of(state)
        everybody = [str(number) for number in range(self._wanted)]
        work.filled = dict.fromkeys(everybody, work.offset)
        policy.taken = dict.fromkeys(everybody, version_in(state, policy))
        records = {key: value for key, value in items(state) if is_of_partition(key) and key != SPLIT_KEY}
        changed = {}
        if definitions.WORK_KEY in records:
            changed[definitions.WORK_KEY] = msgspec.json.encode(work)
        if adoption.WORK_KEY in records:
            changed[adoption.WORK_KEY] = msgspec.json.encode(policy)
        end = log_ends(self._settings, self._topics.touches, (partition,))[partition]
        own, topic = {**changed, SPLIT_KEY: b"%d" % end}, self._topics.state
        self._log.send(
            (topic, home, key, value, 0 if key in own else self._times[partition, key], [])
            for home in (partition, *self._children(partition))
            for key, value in (own if home == partition else {**records, **changed}).items()
        )
        reach("grow.changes")

    def _count_members(self) -> None:
        """Who is inside a segment is counted by partition, for a metric."""
        for partition in range(self._wanted):
            members: dict[str, int] = {}
            for component in live_components(self._settings, partition):
                for entry in component.entries.values():
                    for segment, membership in entry.memberships.items():
                        if membership[0]:
                            members[segment] = members.get(segment, 0) + 1
            self._log.send([(self._topics.state, partition, MEMBERS_KEY, orjson.dumps(members), 0, [])])


def items(state: Rdict) -> Iterator[tuple[bytes, bytes]]:
    """Everything, ascending."""
    iterator = state.iter()
    iterator.seek_to_first()
    while iterator.valid():
        yield iterator.key(), iterator.value()
        iterator.next()


def is_of_partition(key: bytes) -> bool:
    """Whether a key of the state belongs to the partition, and not to a node."""
    return key[:1] in (DEFINITION_KEY, adoption.WORK_KEY)


def node_of(key: bytes) -> bytes:
    """The node that a key of the state belongs to."""
    return key[1:-3] if key[:1] == PAGE_KEY else key[1:]


def version_in(state: Rdict, work: adoption.Work) -> int:
    """The version of the policy in force; 0 if none was taken yet."""
    if not work.text:
        return 0
    model = state.get(adoption.model_key(work.model)) if work.model else b""
    return adoption.parse(work.text, model or b"").version


def works_of(state: Rdict) -> tuple[definitions.Work, adoption.Work]:
    """Where a partition is with definitions and with the policy."""
    work, policy = state.get(definitions.WORK_KEY), state.get(adoption.WORK_KEY)
    return (
        definitions.Work() if work is None else msgspec.json.decode(work, type=definitions.Work),
        adoption.Work() if policy is None else msgspec.json.decode(policy, type=adoption.Work),
    )
