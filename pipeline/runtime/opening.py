"""Opens a partition: learn where the last owner stopped, bring local state up to date, assemble the parts.

Runs on a thread: it waits for the broker and for the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from confluent_kafka import TopicPartition
from rocksdict import Cache

from ..core.errors import ConfigError, Retryable
from ..core.outputs import Outputs
from ..core.resolver import Resolver
from ..core.segments.catalogue import Catalogue
from . import metrics
from .adoption import Adoption
from .changes import Changes
from .checkpoint import partition_of
from .crashpoints import reach
from .definitions import Definitions
from .environment import Environment, wall_ms
from .owner import committed_offsets, last_owner
from .restore import describe_topics, restore
from .rocks import wipe
from .sample import NOTED, Sample
from .store import SPLIT_KEY, Position, Store

log = structlog.get_logger()

DAMAGED: Final = ("Corruption", "No such file")
"""What RocksDB says of files that are not whole."""
STALE_STATE_MS: Final = 3 * 86_400_000
"""Older state is wiped: below delete.retention.ms (7 d) of `elo.state`, so no tombstone was missed."""


@dataclass(slots=True)
class Partition:
    """An open partition. `offsets`: topic → next offset to handle, as committed.

    `claim`: the offset of touches once more, with a note that names this worker. It is committed before
    anything is written: should the worker die in its first transaction here, the next owner knows whose.
    `belongs`: whether a record that is read is for this partition; None: all are.
    """

    store: Store
    position: Position
    offsets: dict[str, int]
    claim: TopicPartition
    outputs: Outputs
    resolver: Resolver
    changes: Changes
    sample: Sample
    belongs: Callable[[Any], bool] | None

    def close(self) -> None:
        """Drop what was not committed and close the files."""
        self.changes.close()
        self.store.close()


def open_partition(env: Environment, partition: int) -> Partition:
    """Open partition `partition`. Raises KafkaException or Retryable when the broker does not answer."""
    settings, topics = env.settings, env.topics
    described = describe_topics(settings, (topics.state, topics.touches, topics.sample))
    (incarnation, _), (_, found), (sample_id, _) = described
    if found != env.partitions:
        raise ConfigError(
            f"topic {topics.touches} has {found} partitions now and had {env.partitions} when this worker "
            "was started, start it again"
        )
    inputs = (topics.touches, topics.mail)
    owner = last_owner(settings, topics.touches, partition, env.transactional_id)
    offsets, note = committed_offsets(settings, inputs, partition, owner)
    reach("task.fenced")
    store, position = open_store(env, partition, incarnation)
    try:
        now_ms = wall_ms()
        restore(settings, store, (topics.state, topics.touches), partition, offsets[topics.touches], position,
                now_ms - env.history_ms, metrics.RESTORE_RECORDS.inc, owner.release)  # fmt: skip
        position.at_ms = now_ms
        key = settings.profile_key.get_secret_value().encode()
        outputs = Outputs(env.policy.policy, Catalogue(()), store, key, settings.profile_interval_ms)
        resolver = Resolver(
            env.policy.policy, store, outputs, lambda key: partition_of(key, env.partitions) == partition
        )
        definitions = Definitions(
            env.control, settings, topics.touches, partition, env.partitions, store, resolver, env.pace
        )
        adoption = Adoption(env.policies, env.policy, partition, env.partitions, store, resolver, env.pace)
        changes = Changes(adoption, definitions)
        store.extend_timers(now_ms)
        sample = Sample(store, sample_id, note.get(NOTED))
    except BaseException:
        store.close()
        raise
    mine = orjson.dumps({**note, "by": env.transactional_id}).decode()
    claim = TopicPartition(topics.touches, partition, offsets[topics.touches], mine)
    belongs = _filter(env, partition, int(store.get(SPLIT_KEY) or 0), offsets[topics.touches])
    return Partition(store, position, offsets, claim, outputs, resolver, changes, sample, belongs)


def _filter(env: Environment, partition: int, split: int, next_touch: int) -> Callable[[Any], bool] | None:
    """Keeps off the touches that went to a new partition when this one was split at offset `split`."""
    if next_touch >= split:
        return None
    touches, partitions = env.topics.touches, env.partitions

    def belongs(record: Any) -> bool:
        if record.topic() != touches or record.offset() >= split:
            return True
        return partition_of(record.key().decode(), partitions) == partition

    return belongs


def open_or_rebuild(path: Path, cache: Cache, nodes_bytes: int) -> Store:
    """The local state; an empty one if what lies there is damaged, for Kafka has it.

    A worker that is killed while it makes or deletes the files leaves such a thing behind. Raises Retryable
    if the files are whole but cannot be used: another process has them, or the disk refuses.
    """
    try:
        return Store(path, cache, nodes_bytes)
    except Exception as error:  # rocksdict has no class for it
        text = str(error)
        if "LOCK" in text or not any(sign in text for sign in DAMAGED):
            raise Retryable("local state cannot be opened, look at the disk", error=text) from error
        log.warning("local state is damaged, it is rebuilt from Kafka", path=str(path), error=text)
    wipe(path)
    return Store(path, cache, nodes_bytes)


def open_store(env: Environment, partition: int, incarnation: str) -> tuple[Store, Position]:
    """The local state; an empty one if it belongs to another incarnation of the topic, whose id that is, or
    if it is too old to be trusted.
    """
    path = env.data_dir / f"partition-{partition}"
    store = open_or_rebuild(path, env.cache, env.nodes_bytes)
    position = store.position()
    if (
        position is not None
        and position.topic_id == incarnation
        and wall_ms() - position.at_ms <= STALE_STATE_MS
    ):
        return store, position
    store.close()
    wipe(path)
    return Store(path, env.cache, env.nodes_bytes), Position(incarnation)
