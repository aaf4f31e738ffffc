"""A partition of a cluster in memory whose nodes, history and timers lie in the real store: RocksDB on a
disk.

The changelog is a list. A crash comes in three kinds: the batch is rolled back in the same worker (the broker
aborted the transaction), the next worker finds the disk as it was at the last flush, or an empty one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from rocksdict import Cache

from pipeline.core.touch import EVENT_HASH, decode_touch
from pipeline.runtime.rocks import wipe
from pipeline.runtime.store import Position, Store, history_key, pack_seen
from tests.support.memory import Partition

NODES_BYTES: Final = 1
"""The caches then have their least size."""
CHANGELOG: Final = "memory"


class RocksPartition(Partition):
    """See above. `cluster.directory` is set by `on_disk`."""

    directory: Path
    cache: Cache

    def open_store(self) -> Any:
        """The store as the disk has it, after the replay of what it lacks."""
        path = self.directory / str(self.number)
        store = Store(path, self.cache, NODES_BYTES)
        position = store.position() or Position(CHANGELOG)
        changelog = self.logs.changelog
        store.restore(dict(changelog[position.state_next :]).items(), position)
        position.state_next = len(changelog)
        history = []
        for offset in range(position.touches_next, self.logs.touches_next):
            at_ms, value = self.logs.touches[offset]
            key = history_key(decode_touch(value).identifiers[0].encode(), value[EVENT_HASH])
            history.append((key, pack_seen(offset, at_ms)))
        position.touches_next = self.logs.touches_next
        store.restore_history(history, position)
        store.extend_timers(self.cluster.now_ms)
        self.position, self.fired = position, list[tuple[int, str]]()
        self.committed = position.state_next, position.touches_next
        self.unheard: tuple[()] | tuple[list[tuple[int, str]], list[tuple[int, str]]] = ()
        return store

    def knows(self, key: bytes) -> bool:
        """Whether a touch was seen."""
        return bool(self.store.known([key], 0))

    def timers_due(self, now_ms: int) -> list[tuple[int, str]]:
        """Timers that fire now, out of the store's heap."""
        if self.store.timers.wants_more(now_ms):
            self.store.extend_timers(now_ms)
        self.fired = self.store.timers.due(now_ms, 1_000)
        return list(self.fired)

    def next_timer_ms(self) -> int:
        """The next timer, or the horizon at which the store must be asked again."""
        self.hear()
        return int(self.store.timers.next_ms())

    def commit(self, fired: list[tuple[int, str]], armed: list[tuple[int, str]]) -> None:
        """The changelog gets the records; now and then so does the disk.

        As often as not memory hears of it only when the next batch is computed, as in `Processor._settle`.
        """
        rng, store, logs = self.cluster.rng, self.store, self.logs
        self.hear()
        records = store.stage()
        logs.changelog.extend(records.items())
        for key, value in records.items():
            if value is None:
                logs.values.pop(key, None)
            else:
                logs.values[key] = value
        self.unheard = fired, armed
        self.committed = len(logs.changelog), logs.touches_next
        if rng.random() < 0.5:
            self.hear()
        store.begin()
        if rng.random() < self.cluster.chaos.forget:
            store.components.clear()
            store.identifiers.clear()
        if not self.unheard and rng.random() < 0.3:
            self.flush()

    def flush(self) -> None:
        """The disk gets what is committed."""
        self.hear()
        self.position.state_next, self.position.touches_next = self.committed
        self.store.begin_flush(self.outputs.unpublished)
        self.store.flush(self.position)
        self.store.end_flush()

    def hear(self) -> None:
        """The last commit was answered."""
        if self.unheard:
            fired, armed = self.unheard
            self.unheard = ()
            self.store.applied()
            for due_ms, root in fired:
                self.store.clear_timer(due_ms, root)
            for due_ms, root in armed:
                self.store.set_timer(due_ms, root)

    def crash(self) -> Partition:
        """Roll back and go on, or start again, one time in three with an empty disk."""
        kind = self.cluster.rng.choice(["abort", "restart", "wipe"])
        if kind == "abort":  # As in Task._rollback.
            self.store.rollback()
            self.resolver.queue.clear()
            self.definitions.rollback(self.before)
            self.outputs.unpublished.update(self.outputs.outbox.published)
            for due_ms, root in self.fired:
                self.store.timers.add(due_ms, root)
            return self
        self.store.close()
        if kind == "wipe":
            wipe(self.directory / str(self.number))
        return super().crash()


def on_disk(directory: Path) -> type[RocksPartition]:
    """The class of partitions that keep their stores below `directory`."""
    return type("OnDisk", (RocksPartition,), {"directory": directory, "cache": Cache(8 * 1024 * 1024)})
