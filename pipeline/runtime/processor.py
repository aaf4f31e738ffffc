"""The resolver of a worker: computes a batch over all its partitions and commits it in one transaction.

A batch is computed on the event loop; waiting for the broker happens on a thread, and the intake works
meanwhile. While the worker has all partitions there is nobody to send mail to: a message goes to its node
within the batch, so a log-in that joins components on three partitions is one transaction.
Source: docs/architecture.md, "Exactly once"; docs/decisions/0012.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import structlog
from confluent_kafka import TopicPartition

from ..core.errors import InvariantViolation
from ..core.messages import Message
from ..core.outbox import Output
from ..core.outputs import PUBLISH_BATCH_MAX
from . import metrics
from .alone import Alone
from .checkpoint import Checkpoint, Fenced, MustAbort, partition_of, within_limit
from .crashpoints import reach
from .environment import Environment
from .task import Task
from .traces import Traced
from .work import Rejected, Work, halve, reject, trace_of

log = structlog.get_logger()

FAILING_S: Final = 120.0  # a batch that the broker aborts is computed again for so long
PAUSE_S: Final = 0.05  # before another attempt, or another look at the group
IDLE_S: Final = 1.0
DRAIN_LOOK_S: Final = 0.01
MAIL_HASTE: Final = 8
TIMERS_BATCH_MAX: Final = 1_000  # of all partitions together: about 100 ms, so that touches do not wait

Batch = dict[Task, list[Any]]
Works = dict[Task, Work]


class Effects(NamedTuple):
    """What all partitions of a batch send and tell, in the order of decision."""

    mail: list[tuple[str, Message]]
    told: list[Output]
    kinds: Counter[str]
    """What was handed over within the batch, by kind."""
    traced: Traced


@dataclass(slots=True)
class Commit:
    """A batch whose commit is under way. `begun_at`: monotonic clock, s. `mail`: what it sends, by kind.

    `sends`: some of it leaves through Kafka.
    """

    batch: Batch
    works: Works
    future: asyncio.Future[None]
    begun_at: float
    mail: Counter[str]
    sends: bool
    traced: Traced


class Void(Exception):
    """A commit has failed: its batch, and the one that was computed on top of it, have not happened."""

    def __init__(self, commit: Commit, error: MustAbort) -> None:
        super().__init__(commit, error)
        self.commit = commit
        self.error = error


class Processor:
    """Serves the tasks of one worker. All methods run on the event loop."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.tasks: dict[int, Task] = {}
        self.checkpoint = Checkpoint(
            environment.settings,
            environment.topics,
            environment.partitions,
            environment.transactional_id,
            environment.traces,
        )
        self._work_is_there = asyncio.Event()
        self._stopping = False
        self._took_at = 0.0
        self._alone = Alone(environment)
        self._commit: Commit | None = None
        self._failing_since = 0.0

    # -- called by the worker ---------------------------------------------------------------------------

    def wake(self) -> None:
        """Something is to be done: records have come, definitions have changed, a task must stop."""
        self._work_is_there.set()

    def stop(self) -> None:
        """End after the batch under way."""
        self._stopping = True
        self.wake()

    async def serve(self, task: Task) -> None:
        """Let a task that is open take part until it is stopped, and until no batch holds it any more."""
        self.tasks[task.partition] = task
        self._alone.end()
        self.wake()
        await task.released.wait()

    async def run(self) -> None:
        """Work until stopped. Raises what is fatal."""
        try:
            await self._in_thread(self.checkpoint.open)
            while not self._stopping:
                try:
                    if batch := await self._take():
                        await self._handle(batch)
                except Void as void:
                    await self._redo(void)
            await self._settle()
        finally:
            self.checkpoint.close()
            for task in self.tasks.values():
                task.released.set()

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.environment.executor, work, *arguments)

    async def _release_stopped(self) -> None:
        stopped = [task for task in self.tasks.values() if task.stopping]
        if stopped:
            await self._settle()
        for task in stopped:
            self._alone.end()
            del self.tasks[task.partition]
            task.released.set()

    # -- taking work -----------------------------------------------------------------------------------

    async def _take(self) -> Batch:
        """Wait for records, a due timer, profiles to publish or definitions. Empty when it must stop."""
        settings = self.environment.settings
        while not self._stopping:
            self._work_is_there.clear()
            await self._release_stopped()
            tasks = list(self.tasks.values())
            only_mail = await self._alone.is_coming(tasks, self._commit is not None and self._commit.sends)
            waiting = sum(task.waiting(only_mail) for task in tasks)
            interval_s = settings.commit_interval_ms / 1000
            if any(task.waiting(only_mail=True) for task in tasks):
                interval_s /= MAIL_HASTE  # Somebody's outputs are held until it is answered.
            early_s = self._took_at + interval_s - time.monotonic()
            is_work = waiting or any(task.has_own_work() for task in tasks)
            if is_work and early_s > 0 and waiting < settings.batch_records_max:
                await asyncio.sleep(early_s)
                continue
            self._took_at = time.monotonic() if is_work else self._took_at
            full = [task for task in tasks if task.waiting(only_mail)]
            most = max(1, settings.batch_records_max // max(1, len(full)))
            batch: Batch = {task: task.take(most, only_mail) for task in full}
            batch.update((task, []) for task in tasks if task not in batch and task.has_own_work())
            if batch:
                return batch
            if self._commit is not None:
                await self._settle()
                continue
            for task in tasks:
                task.flusher.maybe(task.offsets)
            await self._wait(DRAIN_LOOK_S if only_mail else IDLE_S)
        return {}

    async def _wait(self, most_s: float) -> None:
        """Wait until the next timer is due or something wakes the processor."""
        rest_s = min((most_s, *(task.rest_s() for task in self.tasks.values())))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._work_is_there.wait(), max(rest_s, DRAIN_LOOK_S))

    # -- a batch ---------------------------------------------------------------------------------------

    async def _handle(self, batch: Batch) -> None:
        """Compute a batch and begin its commit; a touch that raises is isolated and rejected alone.

        Raises Void if the commit before fails.
        """
        rejections: list[Rejected] = []
        begun_at = time.monotonic()
        while True:
            batch = {task: records for task, records in batch.items() if not task.stopping}
            membership = self.environment.membership()
            if not batch or self._stopping:
                return
            if membership is None:  # The group will say soon who has what.
                await asyncio.sleep(PAUSE_S)
                continue
            effects = Effects([], [], Counter(), self.environment.traces.begin())
            works = {
                task: task.begin_work(records, effects.mail, effects.told) for task, records in batch.items()
            }
            try:
                if not rejections:
                    await self._take_in(batch, works, effects)
            except InvariantViolation:
                raise
            except Exception as error:  # noqa: BLE001 - the one place: whatever the core raises for a touch
                self._rollback(works)
                halves = halve(batch)
                if len(halves) > 1:
                    for half in halves:
                        await self._handle_surely(half)
                    return
                rejections.append(self._reject(batch, error))
                continue
            try:
                await self._finish(works, effects)
            except Void as void:
                self._rollback(works)
                await self._redo(void)
                continue
            metrics.BATCH_SECONDS.observe(time.monotonic() - begun_at)
            metrics.BATCH_RECORDS.observe(sum(work.size for work in works.values()))
            self._begin_commit(batch, works, effects, rejections, membership)
            self.environment.pace.end()
            return

    async def _take_in(self, batch: Batch, works: Works, effects: Effects) -> None:
        for task, records in batch.items():
            await task.take_in(records, works[task])
        self._deliver(works, effects)

    async def _finish(self, works: Works, effects: Effects) -> None:
        """Decide the rest. The batch before is committed when this returns; raises Void if it cannot be."""
        stepping = [task for task in works if task.wants_step()]
        if any(task.changes.flushes() for task in stepping):
            await self._settle()  # The disk must not get what is not committed.
        timers_max = max(1, TIMERS_BATCH_MAX // len(self.tasks))
        for task, work in list(works.items()):
            await task.finish(work, timers_max, step=task in stepping)
        self._deliver(works, effects)
        for task, work in works.items():
            task.acknowledge(work)
        self._deliver(works, effects)
        await self._settle()
        published = 0
        for done, (task, work) in enumerate(works.items()):
            share = (PUBLISH_BATCH_MAX - published) // (len(works) - done)
            published += task.conclude(work, max(1, share))

    def _rollback(self, works: Works) -> None:
        self.environment.pace.end()
        for task, work in works.items():
            task.rollback(work)

    def _reject(self, batch: Batch, error: Exception) -> Rejected:
        """The dead letter for the only record of a batch, which raised `error`; raises it if it is mail."""
        ((task, (record,)),) = ((task, records) for task, records in batch.items() if records)
        if record.topic() != self.environment.topics.touches:
            raise error
        log.error("a touch raised", partition=task.partition, offset=record.offset(), error=repr(error),
                  **trace_of(record.value()))  # fmt: skip
        return reject(record, error)

    # -- its commit ------------------------------------------------------------------------------------

    def _begin_commit(
        self, batch: Batch, works: Works, effects: Effects, rejections: list[Rejected], membership: Any
    ) -> None:
        """Write a batch and commit it on a thread; the next one may be computed meanwhile."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._commit = Commit(
            batch, works, future, time.monotonic(), effects.kinds, bool(effects.mail), effects.traced
        )
        if not (rejections or any(work.changed for work in works.values())):
            future.set_result(None)
            return
        reach("batch.computed")
        try:
            for task, work in works.items():
                self.checkpoint.write(task.partition, work.records)
                self.checkpoint.copy(task.partition, work.copies)
            self.checkpoint.tell(effects.told)
            self.checkpoint.send(effects.mail)
            for value, key, headers in rejections:
                self.checkpoint.reject(value, key, headers)
        except MustAbort as error:
            future.set_exception(error)
            return
        reach("transaction.written")
        if effects.mail:
            self._commit.mail.update(_kinds(effects.mail))
            self._alone.end()
        offsets = [one for task, work in works.items() for one in self._offsets(task, work)]
        self._commit.future = asyncio.ensure_future(
            within_limit(self._in_thread(self.checkpoint.commit, offsets, membership))
        )

    async def _settle(self) -> None:
        """Wait for the commit that is under way; memory follows it. Raises Void if it failed."""
        commit, self._commit = self._commit, None
        if commit is None:
            return
        try:
            await commit.future
        except MustAbort as error:
            raise Void(commit, error) from error
        self._failing_since = 0.0
        if any(work.changed for work in commit.works.values()):
            reach("transaction.committed")
            metrics.COMMIT_SECONDS.observe(time.monotonic() - commit.begun_at)
            metrics.TRANSACTIONS.labels("committed").inc()
        for kind, number in commit.mail.items():
            metrics.MAIL.labels(kind).inc(number)
        for task, work in commit.works.items():
            task.applied(work)
        if (spans := self.environment.spans) is not None:
            topic, group = self.environment.topics.touches, self.environment.settings.group
            touches = sum(work.touches for work in commit.works.values())
            spans.batch(topic, commit.traced, touches, group)

    async def _redo(self, void: Void) -> None:
        """Compute a batch again whose commit failed. Who has computed on top of it has rolled back."""
        commit, error = void.commit, void.error
        log.warning("transaction aborted, computing the batch again", error=str(error.__cause__))
        metrics.TRANSACTIONS.labels("aborted").inc()
        self._failing_since = self._failing_since or time.monotonic()
        if time.monotonic() - self._failing_since > FAILING_S:
            raise InvariantViolation("the broker aborts every transaction of this worker")
        self._rollback(commit.works)
        try:
            if isinstance(error, Fenced):
                raise error
            await within_limit(self._in_thread(self.checkpoint.abort))
            await asyncio.sleep(PAUSE_S)
        except Fenced:
            await self._abandon_all()
        await self._handle_surely(commit.batch)

    async def _handle_surely(self, batch: Batch) -> None:
        """Compute a batch and wait until it is committed."""
        try:
            await self._handle(batch)
            await self._settle()
        except Void as void:
            await self._redo(void)

    async def _abandon_all(self) -> None:
        """The producer was ended by somebody else, so nobody here knows whether its last transaction was
        committed: everything is opened again from what Kafka holds.
        """
        for task in self.tasks.values():
            task.abandon()
        await self._release_stopped()
        await within_limit(self._in_thread(self.checkpoint.open))
        self.environment.reopen()

    def _offsets(self, task: Task, work: Work) -> list[TopicPartition]:
        touches = self.environment.topics.touches
        return [
            TopicPartition(topic, task.partition, offset, work.note if topic == touches else "")
            for topic, offset in work.next_offsets.items()
        ]

    # -- mail within the worker ------------------------------------------------------------------------

    def _deliver(self, works: Works, effects: Effects) -> None:
        """Hand messages over within the batch, in the order in which they were sent, if that may be done."""
        mail = effects.mail
        if not mail or not self._alone.holds(self.tasks.values()):
            return
        partitions = self.environment.partitions
        now_ms = max(task.now_ms for task in works)
        done = 0
        while done < len(mail):
            to, message = mail[done]
            done += 1
            task = self.tasks[partition_of(to, partitions)]
            if task not in works:
                works[task] = task.begin_work([], effects.mail, effects.told)
            task.receive(to, message, now_ms)
        effects.kinds.update(_kinds(mail))
        mail.clear()


def _kinds(mail: list[tuple[str, Message]]) -> Counter[str]:
    return Counter(type(message).__name__.lower() for _, message in mail)
