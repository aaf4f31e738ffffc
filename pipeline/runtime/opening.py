"""Opens a partition: learn where the last owner stopped, bring local state up to date, assemble the parts.

Runs on a thread: it waits for the broker and for the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..core.outputs import Outputs
from ..core.resolver import Resolver
from ..core.segments.catalogue import Catalogue
from . import metrics
from .adoption import Adoption
from .changes import Changes
from .crashpoints import reach
from .definitions import Definitions
from .environment import Environment, wall_ms
from .owner import committed_offsets, last_owner
from .restore import restore, topic_id
from .rocks import wipe
from .store import Position, Store

STALE_STATE_MS: Final = 3 * 86_400_000
"""Older state is wiped: below delete.retention.ms (7 d) of `elo.state`, so no tombstone was missed."""


@dataclass(slots=True)
class Partition:
    """An open partition. `offsets`: topic → next offset to handle, as committed."""

    store: Store
    position: Position
    offsets: dict[str, int]
    outputs: Outputs
    resolver: Resolver
    changes: Changes

    def close(self) -> None:
        """Drop what was not committed and close the files."""
        self.changes.close()
        self.store.close()


def open_partition(env: Environment, partition: int, is_local: Callable[[str], bool]) -> Partition:
    """Open partition `partition`. Raises KafkaException or Retryable when the broker does not answer."""
    settings, topics = env.settings, env.topics
    inputs = (topics.touches, topics.mail)
    owner = last_owner(settings, topics.touches, partition, env.transactional_id)
    offsets = committed_offsets(settings, inputs, partition, owner)
    reach("task.fenced")
    store, position = _open_store(env, partition)
    try:
        now_ms = wall_ms()
        restore(settings, store, (topics.state, topics.touches), partition, offsets[topics.touches], position,
                now_ms - env.history_ms, metrics.RESTORE_RECORDS.inc, owner.release)  # fmt: skip
        position.at_ms = now_ms
        key = settings.profile_key.get_secret_value().encode()
        outputs = Outputs(env.policy.policy, Catalogue(()), store, key, settings.profile_interval_ms)
        resolver = Resolver(env.policy.policy, store, outputs, is_local)
        definitions = Definitions(
            env.control, settings, topics.touches, partition, env.partitions, store, resolver
        )
        adoption = Adoption(env.policies, env.policy, partition, env.partitions, store, resolver, env.pace)
        changes = Changes(adoption, definitions)
        store.extend_timers(now_ms)
    except BaseException:
        store.close()
        raise
    return Partition(store, position, offsets, outputs, resolver, changes)


def _open_store(env: Environment, partition: int) -> tuple[Store, Position]:
    """The local state; an empty one if it belongs to another topic or is too old to be trusted."""
    path = env.data_dir / f"partition-{partition}"
    incarnation = topic_id(env.settings, env.topics.state)
    store = Store(path, env.cache, env.nodes_bytes)
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
