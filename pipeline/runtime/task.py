"""One partition's resolver: takes what the transport brings, lets the core decide, and commits.

All of its Python runs on the event loop; waiting for the broker and for the disk happens on threads, so other
partitions compute meanwhile. A task lives from assignment to revocation.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

import orjson
import structlog

from ..core.errors import InvariantViolation
from ..core.facet import NEVER
from ..core.messages import decode_message
from ..core.outbox import Outbox
from ..core.touch import EVENT_HASH, decode_touch
from . import metrics
from .checkpoint import Fenced, MustAbort, partition_of, within_limit
from .crashpoints import reach
from .environment import Environment, wall_ms
from .flusher import Flusher
from .inbox import Inbox, Stretch
from .measures import Measures
from .opening import Partition, open_partition
from .store import MEMBERS_KEY, history_key
from .work import Rejected, Work, next_offsets, reject

log = structlog.get_logger()

SLICE_RECORDS: Final = 250  # records handled before the loop may turn to others: about 10 ms
REST_S: Final = 0.1  # a partition without records for so long is at rest: its profiles are published
TIMERS_BATCH_MAX: Final = 1_000
TIMER_GRACE_MS: Final = 50  # a touch logged just before a due instant is still on its way to us
INBOX_RECORDS_MAX: Final = 20_000
ATTEMPTS_MAX: Final = 20  # a transaction that the broker aborts is run again so often


class Task:
    """The resolver of one partition."""

    def __init__(self, environment: Environment, partition: int) -> None:
        self.environment = environment
        self.partition = partition
        self.ready = False
        self._stopping = False
        self._early: list[Stretch] = []
        self._inbox: Inbox | None = None
        self._wake = asyncio.Event()
        self._now_ms = 0
        self._paused = False
        self._took_at = 0.0
        self._note = ""
        self._opened: Partition | None = None
        self.measures = Measures(partition, environment.topics)

    # -- called by the agent and the rebalance ---------------------------------------------------------

    def offer(self, batch: Stretch) -> None:
        """Take a batch from the agent. Never blocks: a full inbox pauses its partition in the transport."""
        inbox = self._inbox
        if inbox is None:
            self._early.append(batch)
        elif not inbox.offer(batch):
            metrics.REWINDS.inc()
            epoch = self.environment.rewind(batch.topic, self.partition, inbox.expected[batch.topic])
            inbox.epochs[batch.topic] = epoch
        elif len(inbox) > INBOX_RECORDS_MAX and not self._paused:
            self._pause(True)
        self._wake.set()

    def wake(self) -> None:
        """Something else than a record may need work: definitions have changed, or the task must stop."""
        self._wake.set()

    def stop(self) -> None:
        """Finish and commit the batch under way, then end."""
        self._stopping = True
        self._wake.set()

    def lag_seconds(self) -> float:
        """Age of the last record handled, s; 0 once everything was handled."""
        inbox = self._inbox
        if inbox is None or not self._now_ms or self._caught_up():
            return 0.0
        return max(0.0, (wall_ms() - self._now_ms) / 1000)

    def is_resting(self, seconds: float) -> bool:
        """Whether no record was handled for so long."""
        return time.monotonic() - self._took_at >= seconds

    def measure(self) -> None:
        """Bring the gauges of the partition up to date."""
        if self.ready:
            self.measures.timers_due(self.store.timers.count_due(wall_ms() - TIMER_GRACE_MS))

    # -- life ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open, work until stopped, close.

        Raises Fenced when another owner took over, else only what is fatal.
        """
        try:
            self._use(await self._in_thread(self._open))
            if self._stopping:
                return
            self._start_reading()
            while True:
                records = await self._take()
                if self._stopping:
                    break
                await self._handle(records)
            await self.flusher.all(self._offsets)
        finally:
            await self._in_thread(self._close)

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.environment.executor, work, *arguments)

    def _open(self) -> Partition:
        """Runs on a thread."""
        env, started = self.environment, time.monotonic()
        opened = self._opened = open_partition(env, self.partition, self._is_local)
        members = opened.store.get(MEMBERS_KEY)
        self.measures.restored(opened.store, {} if members is None else orjson.loads(members))
        log.info("partition restored", partition=self.partition, seconds=round(time.monotonic() - started, 2))
        return opened

    def _use(self, opened: Partition) -> None:
        settings, topics = self.environment.settings, self.environment.topics
        self.store, self.outputs, self.resolver = opened.store, opened.outputs, opened.resolver
        self.checkpoint, self.definitions, self._offsets = (
            opened.checkpoint,
            opened.definitions,
            opened.offsets,
        )
        self.flusher = Flusher(opened, self.partition, topics.touches, settings.flush_interval_ms,
                               self._in_thread, self.measures)  # fmt: skip

    def _start_reading(self) -> None:
        env = self.environment
        self._inbox = Inbox(self._offsets)
        for topic, offset in self._offsets.items():
            env.begin(topic, self.partition, offset)
        early, self._early = self._early, []
        for batch in early:
            self.offer(batch)
        self.ready = True

    def _close(self) -> None:
        self.ready = False
        if self._opened is not None:
            self._opened.close()
        self.measures.forget()

    def _is_local(self, key: str) -> bool:
        return partition_of(key, self.environment.partitions) == self.partition

    # -- taking work -----------------------------------------------------------------------------------

    def _caught_up(self) -> bool:
        """Whether everything that both inputs hold at this moment was handled."""
        inbox = self._inbox
        if inbox is None or len(inbox):
            return False
        at_end = self.environment.at_end
        return all(at_end(topic, self.partition, offset) for topic, offset in inbox.expected.items())

    def _stream_ms(self, caught_up: bool) -> int:
        """Now: the wall clock once both inputs are read to their end, else the last record's time."""
        if caught_up:
            return max(self._now_ms, wall_ms() - TIMER_GRACE_MS)
        return self._now_ms

    async def _take(self) -> list[Any]:
        """Wait for records, a due timer, profiles to publish or definitions.

        Returns the records, maybe none.
        """
        inbox, settings = self._inbox, self.environment.settings
        assert inbox is not None
        while not self._stopping:
            if len(inbox):
                early_s = self._took_at + settings.commit_interval_ms / 1000 - time.monotonic()
                if early_s > 0 and len(inbox) < settings.batch_records_max:
                    await asyncio.sleep(early_s)
                self._took_at = time.monotonic()
                records = inbox.take(settings.batch_records_max)
                if self._paused and len(inbox) < INBOX_RECORDS_MAX // 2:
                    self._pause(False)
                return records
            if self._has_own_work():
                return []
            self.flusher.maybe(self._offsets)
            await self._wait()
        return []

    def _has_own_work(self) -> bool:
        """Whether something is to be done although there is no record to handle."""
        if not self._caught_up():
            return False
        now_ms = self._stream_ms(caught_up=True)
        if self.store.timers.next_ms() <= now_ms or self.definitions.waiting():
            return True
        return bool(self.outputs.unpublished) and time.monotonic() - self._took_at >= REST_S

    async def _wait(self) -> None:
        """Wait until the next timer is due or something wakes the task, a second at most."""
        self._wake.clear()
        due_s = (self.store.timers.next_ms() - wall_ms() + TIMER_GRACE_MS) / 1000
        most_s = REST_S if self.outputs.unpublished else 1.0
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), min(max(due_s, 0.01), most_s))

    def _pause(self, pause: bool) -> None:
        self._paused = pause
        for topic in self._offsets:
            self.environment.pause(topic, self.partition, pause)

    # -- a batch ---------------------------------------------------------------------------------------

    async def _handle(self, records: list[Any]) -> None:
        """Handle records in one transaction; a touch that raises is isolated and rejected alone."""
        rejections: list[Rejected] = []
        for _ in range(ATTEMPTS_MAX):
            work = self._begin_work(records)
            try:
                if not rejections:
                    await self._take_in(records, work)
            except InvariantViolation:
                raise
            except Exception as error:  # The one place: whatever the core raises for a touch.
                self._rollback(work)
                if len(records) > 1:
                    middle = len(records) // 2
                    await self._handle(records[:middle])
                    await self._handle(records[middle:])
                    return
                if records[0].topic() != self.environment.topics.touches:
                    raise
                offset = records[0].offset()
                log.error("a touch raised", partition=self.partition, offset=offset, error=repr(error))
                rejections.append(reject(records[0], error))
                continue
            await self._finish(work)
            try:
                await self._commit(work, rejections)
                return
            except MustAbort as error:
                log.warning("transaction aborted, running the batch again", partition=self.partition,
                            error=str(error.__cause__))  # fmt: skip
                metrics.TRANSACTIONS.labels("aborted").inc()
                await within_limit(self._in_thread(self.checkpoint.abort))
                self._rollback(work)
        raise InvariantViolation(
            "the broker aborts every transaction of this partition", partition=self.partition
        )

    def _begin_work(self, records: list[Any]) -> Work:
        outbox = self.outputs.outbox = Outbox()
        return Work(next_offsets(records, self._offsets), outbox, self._now_ms, [], [], len(records))

    def _rollback(self, work: Work) -> None:
        """The batch is void: nothing of it may stay in memory, neither nodes nor messages nor definitions."""
        self.store.rollback()
        self.resolver.queue.clear()
        self.outputs.unpublished.update(work.outbox.published)
        self.definitions.rollback()
        for due_ms, root in work.fired:
            self.store.timers.add(due_ms, root)

    async def _take_in(self, records: list[Any], work: Work) -> None:
        """Let the core see the records. What it raises here is the fault of one of them."""
        self.definitions.begin(self._offsets[self.environment.topics.touches])
        for start in range(0, len(records), SLICE_RECORDS):
            if start:
                await asyncio.sleep(0)
            self._handle_slice(records[start : start + SLICE_RECORDS], work)

    async def _finish(self, work: Work) -> None:
        """Timers, definitions, snapshots. What raises here is nobody's record: it ends the worker."""
        inbox = self._inbox
        assert inbox is not None
        caught_up = self._caught_up()
        self._now_ms = now_ms = max(self._now_ms, self._stream_ms(caught_up))
        self._fire_timers(now_ms, work)
        if caught_up:
            await self.definitions.step(now_ms, lambda: self.flusher.all(self._offsets))
        self.outputs.publish_all(now_ms, at_rest=caught_up and not work.size)
        self._arm(work)
        work.now_ms = now_ms

    def _handle_slice(self, records: list[Any], work: Work) -> None:
        touches = self.environment.topics.touches
        store, resolver = self.store, self.resolver
        keys: dict[int, bytes] = {}
        for record in records:
            if record.topic() == touches:
                keys[record.offset()] = history_key(record.key(), record.value()[EVENT_HASH])
        known = (
            store.known(list(keys.values()), self._now_ms - self.environment.policy.history_ms)
            if keys
            else set()
        )
        for record in records:
            now_ms = record.timestamp()[1]
            if now_ms < self._now_ms:
                now_ms = self._now_ms
            else:
                self._now_ms = now_ms
            if record.topic() != touches:
                resolver.receive(record.key().decode(), decode_message(record.value()), now_ms)
                continue
            offset = record.offset()
            key = keys[offset]
            if key in known or key in store.seen:
                work.duplicates += 1
                continue
            store.see(key, offset, now_ms)
            resolver.touch(decode_touch(record.value()), now_ms)

    def _fire_timers(self, now_ms: int, work: Work) -> None:
        timers = self.store.timers
        if timers.wants_more(now_ms):
            self.store.extend_timers(now_ms)
        work.fired = timers.due(now_ms, TIMERS_BATCH_MAX)
        for _, root in work.fired:
            self.resolver.tick(root, now_ms)

    def _arm(self, work: Work) -> None:
        """Set the next timer of every changed component, if it is earlier than the one that is set."""
        next_due = self.resolver.next_due
        for root, component in self.store.changed_components.items():
            due_ms = next_due(component)
            if due_ms < component.armed:
                component.armed = due_ms
                work.armed.append((due_ms, root))

    # -- committing ------------------------------------------------------------------------------------

    async def _commit(self, work: Work, rejections: list[Rejected]) -> None:
        if work.outbox.changes:
            self.store.put(MEMBERS_KEY, orjson.dumps(self.measures.members_after(work.outbox)))
        records = self.store.encode()
        note = self._make_note()
        if (
            not records
            and work.next_offsets == self._offsets
            and note == self._note
            and not work.outbox.snapshots
        ):
            self._applied(work, records)
            return
        started = time.monotonic()
        reach("batch.computed")
        reach("transaction.begun")
        self.checkpoint.write(records, work.outbox)
        for value, key, headers in rejections:
            self.checkpoint.reject(value, key, headers)
        reach("transaction.written")
        await within_limit(self._in_thread(self.checkpoint.commit, work.next_offsets, note))
        reach("transaction.committed")
        metrics.COMMIT_SECONDS.observe(time.monotonic() - started)
        self._note = note
        self._offsets = work.next_offsets
        self._applied(work, records)
        self.measures.committed(work.outbox, work.duplicates, wall_ms())

    def _applied(self, work: Work, records: dict[bytes, bytes | None]) -> None:
        store = self.store
        store.applied(records)
        for due_ms, root in work.fired:
            store.clear_timer(due_ms, root)
        for due_ms, root in work.armed:
            store.set_timer(due_ms, root)
        if work.fired:
            metrics.TIMERS.inc(len(work.fired))
        reach("batch.applied")
        self.flusher.maybe(self._offsets)

    def _make_note(self) -> str:
        """What `elo wait` must know beside the offsets: next timer, open work, definitions applied."""
        next_ms = self.store.timers.next_ms()
        due_ms = next_ms if next_ms < min(self.store.timers.horizon_ms, NEVER) else None
        open_count = len(self.outputs.unpublished) + self.definitions.open_steps()
        return orjson.dumps(
            {"due": due_ms, "open": open_count, "defs": self.definitions.next_offset}
        ).decode()


__all__ = ["Environment", "Fenced", "Task"]
