"""The resolver of a worker: computes a batch over all its partitions and commits it in one transaction.

A batch is computed on the event loop; waiting for the broker happens on a thread, and the intake works
meanwhile. While the worker has all partitions there is nobody to send mail to: a message goes to its node
within the batch, so a log-in that joins components on three partitions is one transaction.
Source: docs/architecture.md, "Exactly once"; docs/decisions/0011.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import structlog
from confluent_kafka import TopicPartition

from ..core.errors import InvariantViolation
from ..core.messages import Message
from . import metrics
from .alone import Alone
from .checkpoint import Checkpoint, Fenced, MustAbort, partition_of, within_limit
from .crashpoints import reach
from .environment import Environment
from .task import Task
from .work import Rejected, Work, reject

log = structlog.get_logger()

ATTEMPTS_S: Final = 120.0  # a batch that the broker aborts is computed again for so long
PAUSE_S: Final = 0.05  # before another attempt, or another look at the group
IDLE_S: Final = 1.0
DRAIN_LOOK_S: Final = 0.01

Batch = dict[Task, list[Any]]
Works = dict[Task, Work]


class Processor:
    """Serves the tasks of one worker. All methods run on the event loop."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.tasks: dict[int, Task] = {}
        self.checkpoint = Checkpoint(
            environment.settings,
            environment.topics,
            environment.partitions,
            environment.policy.version,
            environment.transactional_id,
        )
        self._work_is_there = asyncio.Event()
        self._stopping = False
        self._took_at = 0.0
        self._alone = Alone(environment)

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
                if batch := await self._take():
                    await self._handle(batch)
        finally:
            self.checkpoint.close()
            for task in self.tasks.values():
                task.released.set()

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.environment.executor, work, *arguments)

    def _release_stopped(self) -> None:
        for partition, task in list(self.tasks.items()):
            if task.stopping:
                del self.tasks[partition]
                self._alone.end()
                task.released.set()

    # -- taking work -----------------------------------------------------------------------------------

    async def _take(self) -> Batch:
        """Wait for records, a due timer, profiles to publish or definitions. Empty when it must stop."""
        settings = self.environment.settings
        while not self._stopping:
            self._work_is_there.clear()
            self._release_stopped()
            tasks = list(self.tasks.values())
            only_mail = await self._alone.is_coming(tasks)
            waiting = sum(task.waiting(only_mail) for task in tasks)
            early_s = self._took_at + settings.commit_interval_ms / 1000 - time.monotonic()
            if waiting and early_s > 0 and waiting < settings.batch_records_max:
                await asyncio.sleep(early_s)
                continue
            self._took_at = time.monotonic() if waiting else self._took_at
            full = [task for task in tasks if task.waiting(only_mail)]
            most = max(1, settings.batch_records_max // max(1, len(full)))
            batch: Batch = {task: task.take(most, only_mail) for task in full}
            batch.update((task, []) for task in tasks if task not in batch and task.has_own_work())
            if batch:
                return batch
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
        """Compute and commit a batch; a touch that raises is isolated and rejected alone."""
        rejections: list[Rejected] = []
        deadline = time.monotonic() + ATTEMPTS_S
        while time.monotonic() < deadline:
            batch = {task: records for task, records in batch.items() if not task.stopping}
            membership = self.environment.membership()
            if not batch or self._stopping:
                return
            if membership is None:  # The group will say soon who has what.
                await asyncio.sleep(PAUSE_S)
                continue
            mail: list[tuple[str, Message]] = []
            works = {task: task.begin_work(records, mail) for task, records in batch.items()}
            try:
                if not rejections:
                    await self._take_in(batch, works, mail)
            except InvariantViolation:
                raise
            except Exception as error:  # noqa: BLE001 - the one place: whatever the core raises for a touch
                self._rollback(works)
                halves = _halve(batch)
                if len(halves) > 1:
                    for half in halves:
                        await self._handle(half)
                    return
                rejections.append(self._reject(batch, error))
                continue
            try:
                await self._finish(works, mail, rejections, membership)
                return
            except MustAbort as error:
                await self._start_over(works, error)
        raise InvariantViolation("the broker aborts every transaction of this worker")

    async def _take_in(self, batch: Batch, works: Works, mail: list[tuple[str, Message]]) -> None:
        for task, records in batch.items():
            await task.take_in(records, works[task])
        self._deliver(works, mail)

    async def _finish(
        self, works: Works, mail: list[tuple[str, Message]], rejections: list[Rejected], membership: Any
    ) -> None:
        """Decide the rest and commit. Raises MustAbort."""
        for task, work in list(works.items()):
            await task.finish(work)
        self._deliver(works, mail)
        changed = {task: records for task, work in works.items()
                   if task.has_changed(work, records := task.conclude(work))}  # fmt: skip
        if changed or rejections:
            started = time.monotonic()
            reach("batch.computed")
            reach("transaction.begun")
            for task, records in changed.items():
                self.checkpoint.write(task.partition, records, works[task].outbox)
            self.checkpoint.send(mail)
            for value, key, headers in rejections:
                self.checkpoint.reject(value, key, headers)
            reach("transaction.written")
            offsets = [one for task in works for one in self._offsets(task, works[task])]
            await within_limit(self._in_thread(self.checkpoint.commit, offsets, membership))
            reach("transaction.committed")
            metrics.COMMIT_SECONDS.observe(time.monotonic() - started)
            metrics.TRANSACTIONS.labels("committed").inc()
            if mail:
                _count(mail)
                self._alone.end()
        for task, work in works.items():
            task.applied(work, changed.get(task, {}))

    def _offsets(self, task: Task, work: Work) -> list[TopicPartition]:
        touches = self.environment.topics.touches
        return [
            TopicPartition(topic, task.partition, offset, work.note if topic == touches else "")
            for topic, offset in work.next_offsets.items()
        ]

    def _rollback(self, works: Works) -> None:
        for task, work in works.items():
            task.rollback(work)

    async def _start_over(self, works: Works, error: MustAbort) -> None:
        """Nothing of the batch has happened. The producer is made anew if it was fenced."""
        log.warning("transaction aborted, computing the batch again", error=str(error.__cause__))
        metrics.TRANSACTIONS.labels("aborted").inc()
        self._rollback(works)
        try:
            if isinstance(error, Fenced):
                raise error
            await within_limit(self._in_thread(self.checkpoint.abort))
        except Fenced:
            await within_limit(self._in_thread(self.checkpoint.open))
        await asyncio.sleep(PAUSE_S)

    def _reject(self, batch: Batch, error: Exception) -> Rejected:
        """The dead letter for the only record of a batch, which raised `error`; raises it if it is mail."""
        ((task, (record,)),) = ((task, records) for task, records in batch.items() if records)
        if record.topic() != self.environment.topics.touches:
            raise error
        log.error("a touch raised", partition=task.partition, offset=record.offset(), error=repr(error))
        return reject(record, error)

    # -- mail within the worker ------------------------------------------------------------------------

    def _deliver(self, works: Works, mail: list[tuple[str, Message]]) -> None:
        """Hand messages over within the batch, in the order in which they were sent, if that may be done."""
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
                works[task] = task.begin_work([], mail)
            task.receive(to, message, now_ms)
        _count(mail)
        mail.clear()


def _halve(batch: Batch) -> list[Batch]:
    """Two batches with half of the records each; one if there is no more than one record."""
    pairs = [(task, record) for task, records in batch.items() for record in records]
    middle = (len(pairs) + 1) // 2
    halves: list[Batch] = []
    for part in (pairs[:middle], pairs[middle:]):
        half: Batch = {}
        for task, record in part:
            half.setdefault(task, []).append(record)
        if half:
            halves.append(half)
    return halves


def _count(mail: list[tuple[str, Message]]) -> None:
    for kind, number in Counter(type(message).__name__.lower() for _, message in mail).items():
        metrics.MAIL.labels(kind).inc(number)
