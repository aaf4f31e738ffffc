"""One partition of the resolver: what it has been handed, its state, and its part of a batch.

The processor decides when a batch is computed and commits it. A task lives from assignment to revocation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import orjson
import structlog
from confluent_kafka import KafkaException

from ..core.facet import NEVER
from ..core.messages import Absorb, Adopted, Filled, Message, Taken, decode_message
from ..core.outbox import Outbox, Output
from ..core.touch import EVENT_HASH, decode_touch
from ..transport import HOPELESS
from . import metrics
from .crashpoints import reach
from .environment import Environment, wall_ms
from .flusher import Flusher
from .inbox import Inbox, Stretch
from .measures import Measures
from .opening import Partition, open_partition
from .sample import NOTED
from .store import MEMBERS_KEY, history_key
from .work import SKEW_MS, Work, next_offsets

log = structlog.get_logger()

SLICE_RECORDS: Final = 250  # records handled before the loop may turn to others: about 10 ms
REST_S: Final = 0.1  # a partition without records for so long is at rest: its profiles are published
PAUSE_S: Final = 0.05  # before another look at the group
TIMER_GRACE_MS: Final = 50  # a touch logged just before a due instant is still on its way to us
INBOX_RECORDS_MAX: Final = 4_000
BEHIND_RECORDS: Final = 250  # more wait than come in the course of a batch
OPENING_S: Final = 120.0


class Task:
    """One partition. Its methods run on the event loop; waiting for the disk happens on threads."""

    def __init__(self, environment: Environment, partition: int) -> None:
        self.environment = environment
        self.partition = partition
        self.ready = False
        self.stopping = False
        self.released = asyncio.Event()
        """Set by the processor when the partition is in no batch any more."""
        self.offsets: dict[str, int] = {}
        """Topic → next offset to handle, as committed."""
        self.ahead: dict[str, int] = {}
        """The same, with batches that are not committed yet."""
        self.now_ms = 0
        """Time of the last record handled, or of the last look when nothing was left."""
        self.note = self.noted = ""
        """What is kept beside the committed offset; `noted` with batches that are not committed yet."""
        self._early: list[Stretch] = []
        self._inbox: Inbox | None = None
        self._paused = False
        self._took_at = 0.0
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
        self.environment.wake()

    def stop(self) -> None:
        """Take no part in further batches. One that is under way is committed if the group still takes it."""
        self.stopping = True
        self.environment.wake()

    def abandon(self) -> None:
        """End at once: what is in memory may not be what was committed, so the disk must not get it."""
        self.ready = False
        self.stop()

    def lag_seconds(self) -> float:
        """Age of the last record handled, s; 0 once everything was handled."""
        inbox = self._inbox
        if inbox is None or not self.now_ms or self._caught_up():
            return 0.0
        return max(0.0, (wall_ms() - self.now_ms) / 1000)

    def is_resting(self, seconds: float) -> bool:
        """Whether no record was handled for so long."""
        return time.monotonic() - self._took_at >= seconds

    def measure(self) -> None:
        """Bring the gauges of the partition up to date."""
        if self.ready:
            self.measures.timers_due(self.store.timers.count_due(wall_ms() - TIMER_GRACE_MS))

    # -- life ------------------------------------------------------------------------------------------

    async def open(self, changelog_next: Callable[[], int]) -> None:
        """Bring the state up to date, claim it, start reading. Raises what the broker or the disk raises."""
        self._use(await self._in_thread(self._open), changelog_next)
        assert self._opened is not None
        while not (self.stopping or await self.environment.claim(self._opened.claim)):  # noqa: ASYNC110
            await asyncio.sleep(PAUSE_S)  # The group will say soon who has what.
        if not self.stopping:
            reach("task.known")
            self._start_reading()

    async def close(self) -> None:
        """Write what is committed to the disk and close the files. Does nothing if it was never open."""
        if self.ready:
            await self.flusher.all(self.offsets)
        await self._in_thread(self._close)

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.environment.executor, work, *arguments)

    def _open(self) -> Partition:
        """Runs on a thread. A broker that is down may come back: it is tried again for OPENING_S."""
        env, started = self.environment, time.monotonic()
        while True:
            try:
                opened = self._opened = open_partition(env, self.partition)
                break
            except KafkaException as failure:
                if time.monotonic() - started > OPENING_S or failure.args[0].code() in HOPELESS:
                    raise
                log.warning("opening a partition again", partition=self.partition, error=str(failure))
                time.sleep(REST_S)
        members = opened.store.get(MEMBERS_KEY)
        self.measures.restored(opened.store, {} if members is None else orjson.loads(members))
        log.info("partition restored", partition=self.partition, seconds=round(time.monotonic() - started, 2))
        return opened

    def _use(self, opened: Partition, changelog_next: Callable[[], int]) -> None:
        env = self.environment
        self.store, self.outputs, self.resolver = opened.store, opened.outputs, opened.resolver
        self.changes, self.sample = opened.changes, opened.sample
        env.understood(self.changes.adoption.for_intake())
        self.offsets = self.ahead = opened.offsets
        self.flusher = Flusher(opened, self.partition, env.topics.touches, env.settings.flush_interval_ms,
                               self._in_thread, self.measures, changelog_next, env.watchdog)  # fmt: skip

    def _start_reading(self) -> None:
        env = self.environment
        self._inbox = Inbox(self.offsets, self._opened.belongs if self._opened else None)
        for topic, offset in self.offsets.items():
            self._inbox.epochs[topic] = env.start(topic, self.partition, offset)
        early, self._early = self._early, []
        for batch in early:
            self.offer(batch)
        self.ready = True

    def _close(self) -> None:
        self.ready = False
        if self._opened is not None:
            self._opened.close()
        self.measures.forget()

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
            return max(self.now_ms, wall_ms() - TIMER_GRACE_MS)
        return self.now_ms

    def waiting(self, only_mail: bool = False) -> int:
        """Records that wait to be handled."""
        inbox = self._inbox
        if inbox is None:
            return 0
        return len(inbox.waiting[self.environment.topics.mail]) if only_mail else len(inbox)

    def take(self, most: int, only_mail: bool = False) -> list[Any]:
        """Up to `most` records, in the order of broker time."""
        inbox = self._inbox
        assert inbox is not None
        self._took_at = time.monotonic()
        records = inbox.take(most, self.environment.topics.mail if only_mail else None)
        if self._paused and len(inbox) < INBOX_RECORDS_MAX // 2:
            self._pause(False)
        return records

    def has_mail_up_to(self, end: int) -> bool:
        """Whether all mail below offset `end` of its topic was handled."""
        inbox, topic = self._inbox, self.environment.topics.mail
        if inbox is None or inbox.waiting[topic]:
            return False
        return self.environment.has_read(topic, self.partition, inbox.expected[topic], end)

    def has_own_work(self) -> bool:
        """Whether something is to be done although there is no record to handle."""
        if not self.noted:
            return True  # The group is to know who has the partition now.
        if not self._caught_up():
            return False
        now_ms = self._stream_ms(caught_up=True)
        if self.store.timers.next_ms() <= now_ms or self.changes.waiting(caught_up=True):
            return True
        return bool(self.outputs.unpublished) and time.monotonic() - self._took_at >= REST_S

    def rest_s(self) -> float:
        """How long nothing is to be done unless a record comes, s."""
        due_s = (self.store.timers.next_ms() - wall_ms() + TIMER_GRACE_MS) / 1000
        soon = self.outputs.unpublished or self.changes.open_steps()
        return min(due_s, REST_S if soon else 1.0)

    def _pause(self, pause: bool) -> None:
        self._paused = pause
        for topic in self.offsets:
            self.environment.pause(topic, self.partition, pause)

    # -- a batch ---------------------------------------------------------------------------------------

    def begin_work(self, records: list[Any], mail: list[tuple[str, Message]], told: list[Output]) -> Work:
        """Begin the partition's part of a batch. `mail` and `told` take the effects of all partitions."""
        self.store.begin()
        outbox = self.outputs.outbox = Outbox(mail=mail, told=told)
        self.outputs.present_ms = wall_ms()
        before = self.changes.begin(self.ahead[self.environment.topics.touches])
        offsets = next_offsets(records, self.ahead)
        return Work(offsets, outbox, [], [], len(records), before, self.measures.ahead)

    def rollback(self, work: Work) -> None:
        """The batch is void: nothing of it may stay in memory, neither nodes nor messages nor definitions.

        What was staged last goes with it if it is this one.
        """
        if self.ahead is work.next_offsets:
            self.store.discard()
            self.ahead, self.noted = self.offsets, self.note
        else:
            self.store.rollback()
        self.resolver.queue.clear()
        self.outputs.unpublished.update(work.outbox.published)
        self.changes.rollback(work.before)
        self.measures.ahead = work.members_before
        for due_ms, root in work.fired:
            self.store.timers.add(due_ms, root)

    async def take_in(self, records: list[Any], work: Work) -> None:
        """Let the core see the records. What it raises here is the fault of one of them."""
        if records:
            self.environment.pace.busy()
        for start in range(0, len(records), SLICE_RECORDS):
            if start:
                await asyncio.sleep(0)
            self._handle_slice(records[start : start + SLICE_RECORDS], work)

    def receive(self, to: str, message: Message, now_ms: int) -> None:
        """A message from another partition of this worker, as part of the batch under way."""
        self.now_ms = max(self.now_ms, now_ms)
        self._receive(to, message)

    def _receive(self, to: str, message: Message) -> None:
        if isinstance(message, Filled | Taken | Adopted):
            self.changes.take(message)
        else:
            if isinstance(message, Absorb) and message.touch.traceparent:
                self.environment.traces.keep(message.touch)
            self.resolver.receive(to, message, self.now_ms)

    def wants_step(self) -> bool:
        """Whether a step of a change is to be done in the batch under way: not before a time is known."""
        caught_up, behind = self._caught_up(), self.waiting() > BEHIND_RECORDS
        return (caught_up or self.now_ms > 0) and self.changes.waiting(caught_up, behind)

    async def finish(self, work: Work, timers_max: int, step: bool) -> None:
        """Timers, up to so many, and a step of a change. What raises here is nobody's record: it ends the
        worker.
        """
        work.caught_up = self._caught_up()
        self.now_ms = max(self.now_ms, self._stream_ms(work.caught_up))
        self._fire_timers(self.now_ms, work, timers_max)
        if step:
            await self.changes.step(self.now_ms, lambda: self.flusher.all(self.offsets))

    def acknowledge(self, work: Work) -> None:
        """Answer what asks for an answer from the partition itself."""
        if work.outbox.taken:
            self.changes.acknowledge(work.outbox)

    def conclude(self, work: Work, publish_max: int) -> int:
        """Profiles to publish, up to so many, and timers to set. The batch before must have been applied.

        Returns: how many profiles had their turn. Raises if a touch is neither a new one nor a repetition.
        """
        work.check(self.partition, len(self.store.seen))
        published = self.outputs.publish_all(self.now_ms, work.caught_up and not work.size, publish_max)
        self._arm(work)
        if work.outbox.changes:
            work.members = self.measures.count_members(work.outbox)
            self.store.put(MEMBERS_KEY, orjson.dumps(work.members))
        work.note, work.records = self._make_note(work), self.store.stage()
        work.copies = self.sample.copies(work.records)
        moved = work.next_offsets != self.ahead or work.note != self.noted
        work.changed = bool(work.records or work.outbox.snapshots or moved)
        self.ahead, self.noted = work.next_offsets, work.note
        return published

    def _handle_slice(self, records: list[Any], work: Work) -> None:
        touches = self.environment.topics.touches
        store, resolver = self.store, self.resolver
        keys: dict[int, bytes] = {}
        for record in records:
            if record.topic() == touches:
                keys[record.offset()] = history_key(record.key(), record.value()[EVENT_HASH])
        work.touches += len(keys)
        known = store.known(list(keys.values()), self.now_ms - self.environment.history_ms) if keys else set()
        for record in records:
            now_ms = logged_ms = record.timestamp()[1]
            if now_ms < self.now_ms:
                now_ms = self.now_ms
            else:
                self.now_ms = now_ms
            if record.topic() != touches:
                self._receive(record.key().decode(), decode_message(record.value()))
                continue
            offset = record.offset()
            key = keys[offset]
            if key in known or key in store.seen:
                work.duplicates += 1
                continue
            store.see(key, offset, now_ms)
            touch = decode_touch(record.value())
            if now_ms > logged_ms + SKEW_MS:
                work.outbox.logged[touch.event_id] = logged_ms
            if touch.traceparent:
                self.environment.traces.keep(touch)
            resolver.touch(touch, now_ms)

    def _fire_timers(self, now_ms: int, work: Work, most: int) -> None:
        timers = self.store.timers
        if timers.wants_more(now_ms):
            self.store.extend_timers(now_ms)
        work.fired = timers.due(now_ms, most)
        for _, root in work.fired:
            later_ms = self.resolver.tick(root, now_ms)
            if later_ms != NEVER:  # After a restart it may be in the component only, with an earlier one set.
                work.armed.append((later_ms, root))

    def _arm(self, work: Work) -> None:
        """Set the next timer of every changed component, if it is earlier than the one that is set."""
        next_due = self.resolver.next_due
        for root, component in self.store.changed_components.items():
            due_ms = next_due(component)
            if due_ms < component.armed:
                component.armed = due_ms
                work.armed.append((due_ms, root))

    # -- committed -------------------------------------------------------------------------------------

    def applied(self, work: Work) -> None:
        """The batch is committed: memory follows."""
        self.note, self.offsets = work.note, work.next_offsets
        store = self.store
        store.applied()
        self.sample.copied()
        for due_ms, root in work.fired:
            store.clear_timer(due_ms, root)
        for due_ms, root in work.armed:
            store.set_timer(due_ms, root)
        self.measures.committed(work, wall_ms(), self.environment.traces)
        self.environment.understood(self.changes.adoption.for_intake())
        reach("batch.applied")
        self.flusher.maybe(self.offsets)

    def _make_note(self, work: Work) -> str:
        """What `elo wait` must know beside the offsets: next timer, open work, definitions applied."""
        next_ms = min([self.store.timers.next_ms(), *(due_ms for due_ms, _ in work.armed)])
        due_ms = next_ms if next_ms < min(self.store.timers.horizon_ms, NEVER) else None
        open_count = len(self.outputs.unpublished) + self.changes.open_steps()
        note = {"due": due_ms, "open": open_count, **self.changes.note()}
        note |= {NOTED: self.sample.topic_id, "by": self.environment.transactional_id}
        return orjson.dumps(note).decode()
