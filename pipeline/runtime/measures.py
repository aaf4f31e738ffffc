"""What one partition adds to the metrics, and takes away when it is given up."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from ..core.outbox import Cause, MembershipChange, Outbox
from ..topics import Topics
from . import metrics
from .rocks import internals
from .store import Store
from .traces import Traces
from .work import Work

_LIVE_CAUSES = frozenset((Cause.EVENT, Cause.MERGE, Cause.CONSENT))


class Measures:
    """Series of one partition. `members`: segment → profiles inside, of this partition's components."""

    def __init__(self, partition: int, topics: Topics) -> None:
        self.partition = partition
        self.members: dict[str, int] = {}
        self.ahead: dict[str, int] = {}
        """`members`, with batches that are not committed yet."""
        self._topics = (topics.touches, topics.mail)

    def restored(self, store: Store, members: dict[str, int]) -> None:
        """The partition is about to serve."""
        self.members = self.ahead = members
        for segment, count in members.items():
            metrics.SEGMENT_PROFILES.labels(segment).inc(count)
        self.flushed(store)

    def count_members(self, outbox: Outbox) -> dict[str, int]:
        """Profiles inside each segment once the batch is committed."""
        after = dict(self.ahead)
        for change in outbox.changes:
            after[change.segment_id] = after.get(change.segment_id, 0) + (
                1 if change.change == "entered" else -1
            )
        self.ahead = after
        return after

    def committed(self, work: Work, now_ms: int, traces: Traces) -> None:
        """A batch is committed at wall clock `now_ms`."""
        outbox = work.outbox
        metrics.APPLIED.inc(outbox.touches)
        if work.duplicates:
            metrics.DUPLICATES.inc(work.duplicates)
        if work.size > work.touches:
            metrics.MAIL_HANDLED.inc(work.size - work.touches)
        if work.fired:
            metrics.TIMERS.inc(len(work.fired))
            for due_ms, _ in work.fired:
                metrics.TIMER_LATE.observe(max(now_ms - due_ms, 0) / 1000)
        if outbox.joins:
            metrics.JOINS.inc(outbox.joins)
        if outbox.judged:
            metrics.POLICY_COMPONENTS.inc(outbox.judged)
        if outbox.filled:
            metrics.BACKFILL_TOUCHES.inc(outbox.filled)
        if outbox.scanned:
            metrics.BACKFILL_COMPONENTS.inc(outbox.scanned)
        if outbox.compared:
            metrics.COMPARED.inc(outbox.compared)
        if outbox.closed_blocks:
            metrics.CLOSED_BLOCKS.inc(outbox.closed_blocks)
        for review in outbox.reviews:
            metrics.REVIEWS.labels(review.kind).inc()
        for reason in outbox.refused:
            metrics.REFUSED_LINKS.labels(reason).inc()
        for size in outbox.sizes:
            metrics.COMPONENT_IDENTIFIERS.observe(size)
        metrics.ALIASES.inc(len(outbox.aliases))
        metrics.PROFILES.inc(len(outbox.snapshots))
        if outbox.changes:
            self._changes(outbox, work.members, now_ms, traces)

    def _changes(self, outbox: Outbox, members: dict[str, int], now_ms: int, traces: Traces) -> None:
        for change in outbox.changes:
            if change.silent:
                continue
            metrics.CHANGES.labels(change.segment_id, change.change, change.cause).inc()
            if change.cause in _LIVE_CAUSES:
                metrics.TOUCH_TO_CHANGE.observe(
                    max(now_ms - begun_ms(change, outbox.logged), 0) / 1000,
                    exemplar_of(change, traces),
                )
        for segment, count in members.items():
            difference = count - self.members.get(segment, 0)
            if difference:
                metrics.SEGMENT_PROFILES.labels(segment).inc(difference)
        self.members = members

    def flushed(self, store: Store) -> None:
        """The local state has changed on disk."""
        metrics.STATE_BYTES.labels(self.partition).set(store.size_bytes())
        metrics.DISK_FREE.set(shutil.disk_usage(store.path).free)
        told = internals(store.db)
        metrics.BLOCK_CACHE_BYTES.set(told.block_cache_bytes)
        for gauge, value in (
            (metrics.MEMTABLE_BYTES, told.memtable_bytes),
            (metrics.LEVEL0_FILES, told.level0_files),
            (metrics.COMPACTION_BYTES, told.pending_compaction_bytes),
            (metrics.WRITE_STOPPED, told.write_stopped),
        ):
            gauge.labels(self.partition).set(value)

    def timers_due(self, count: int) -> None:
        """How many timers are due and have not fired."""
        metrics.TIMERS_DUE.labels(self.partition).set(count)

    def forget(self) -> None:
        """The partition was given up: remove its series."""
        for segment, count in self.members.items():
            metrics.SEGMENT_PROFILES.labels(segment).dec(count)
        self.members = {}
        for gauge in metrics.PER_PARTITION:
            gauge.remove_by_labels({"partition": str(self.partition)})
        for topic in self._topics:
            for gauge in (metrics.LAG_RECORDS, metrics.LAG_SECONDS):
                gauge.remove_by_labels({"topic": topic, "partition": str(self.partition)})


def exemplar_of(change: MembershipChange, traces: Traces) -> dict[str, str] | None:
    """The trace of a touch that decided a change, if one carries a trace."""
    for _, parent in traces.headers(change.event_ids):
        return metrics.exemplar(bytes(parent).decode())
    return None


def begun_ms(change: MembershipChange, logged: Mapping[str, int]) -> int:
    """When the touch that decided a change was logged: a worker that stood still judges it later."""
    if not logged:
        return change.decided_at
    return max((logged[one] for one in change.event_ids if one in logged), default=change.decided_at)
