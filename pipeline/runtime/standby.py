"""Warm copies of the partitions that other workers have, so that a takeover restores only the last moments.

A copy is what a restore would leave behind, kept fresh: the changelog is followed as it is committed, and the
history up to the offset that the owner has committed, for a touch that was not handled may not count as seen.
Where a copy stands is stored beside it, so whoever opens the partition goes on from there, as after a
restart. One thread does it all, a little at a time, and rests while the worker's own partitions have work.
Source: docs/decisions/0032-life-of-a-worker.md
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ..core.facet import NEVER
from ..core.node import COMPONENT_KEY, armed_of
from ..transport import HOPELESS
from . import metrics
from .environment import Environment, wall_ms
from .opening import open_store
from .restore import apply_history, topic_id
from .store import Position, Store
from .timers import timer_key

log = structlog.get_logger()

STEADY_S: Final = 3.0  # partitions that have just moved may move again: no copy is begun before
STEP_RECORDS: Final = 500  # about 5 ms, of which the interpreter is taken for 3
LOOK_S: Final = 0.1  # between two looks when there is nothing to follow
REST_FACTOR: Final = 4  # while touches come, a step is followed by a rest of so many times its duration
COMMITTED_EVERY_S: Final = 1.0  # how often is asked how far the owners are with the history
MARK_EVERY_S: Final = 30.0  # how often a copy in which nothing changes is marked as fresh
ASK_S: Final = 5.0
AGAIN_S: Final = 1.0  # after the broker did not answer
EARLY_MAX: Final = 10_000  # touches that wait for their owner; more are not fetched


class Copy:
    """The copy of one partition. `early`: touches of the history that its owner may not have handled yet."""

    def __init__(self, partition: int, store: Store, position: Position) -> None:
        self.partition = partition
        self.store = store
        self.position = position
        self.early: deque[Any] = deque()
        self.bound = position.touches_next
        self.paused = False
        self.marked_at = 0.0

    def follow(self, records: Iterable[Any]) -> None:
        """Apply changelog records. A timer that they take the place of is forgotten: over months they would
        gather.
        """
        latest = {}
        for record in records:
            latest[record.key()] = record.value()
            self.position.state_next = record.offset() + 1
            self.position.at_ms = max(self.position.at_ms, record.timestamp()[1])
        keys = [key for key in latest if key[:1] == COMPONENT_KEY]
        known = self.store.db.get(keys) if keys else []
        stale = [
            timer_key(due_ms, key[1:].decode())
            for key, value in zip(keys, known, strict=True)
            if value is not None and (due_ms := armed_of(value)) != NEVER
        ]
        self.store.restore([*((key, None) for key in stale), *latest.items()], self.position)

    def remember(self, history_since_ms: int) -> None:
        """Apply the history as far as the owner has committed it."""
        ready = []
        while self.early and self.early[0].offset() < self.bound:
            ready.append(self.early.popleft())
        if ready:
            apply_history(self.store, ready, self.position, self.bound, history_since_ms)

    def mark(self) -> None:
        """Everything there is was applied: this copy is as young as now, not as its last record."""
        if time.monotonic() - self.marked_at > MARK_EVERY_S:
            self.marked_at = time.monotonic()
            self.position.at_ms = wall_ms()
            self.store.restore((), self.position)


class Standby:
    """The copies of one worker. `fail`: told of what ends it, on the event loop's thread."""

    def __init__(self, environment: Environment, fail: Callable[[BaseException], None]) -> None:
        self._environment = environment
        self._fail = fail
        self._lock = threading.Lock()
        self._wanted: frozenset[int] = frozenset()
        self._steady_since = time.monotonic()
        self._copies: dict[int, Copy] = {}
        self._consumer: Consumer | None = None
        self._asker: Consumer | None = None
        self._topic_id = ""
        self._asked_at = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # -- called on the event loop ----------------------------------------------------------------------

    def want(self, owned: Collection[int]) -> None:
        """Follow every partition but those of this worker. Called every second."""
        wanted = frozenset(range(self._environment.partitions)).difference(owned)
        if wanted != self._wanted:
            self._wanted, self._steady_since = wanted, time.monotonic()
        if wanted and self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, args=(loop,), name="standby", daemon=True)
            self._thread.start()

    async def release(self, partition: int) -> None:
        """Give a copy up; its files are closed when this returns."""
        self._wanted -= {partition}
        if self._thread is not None:
            executor = self._environment.executor
            await asyncio.get_running_loop().run_in_executor(executor, self._let_go, {partition})

    def stop(self) -> None:
        """End, and close all files."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    # -- on its own thread -----------------------------------------------------------------------------

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while not self._stopping.is_set():
                started = time.monotonic()
                moved = self._turn()
                took_s = time.monotonic() - started
                rest_s = took_s * (REST_FACTOR if self._environment.pace.is_busy() else 1)
                self._stopping.wait(rest_s if moved else LOOK_S)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the process must end
            loop.call_soon_threadsafe(self._fail, error)
        finally:
            self._let_go(set(self._copies))

    def _turn(self) -> bool:
        """Ask and follow; a broker that is away is asked again. Returns whether there was something to do."""
        env = self._environment
        try:
            if not self._topic_id:
                self._topic_id = topic_id(env.settings, env.topics.state)
            self._ask()
            with self._lock:
                return self._step()
        except KafkaException as failure:
            if failure.args[0].code() in HOPELESS:
                raise
            log.warning("stand-by copies wait for the broker", error=str(failure))
            self._stopping.wait(AGAIN_S)
            return False

    def _let_go(self, partitions: set[int]) -> None:
        with self._lock:
            for partition in partitions & self._copies.keys():
                copy = self._copies.pop(partition)
                assert self._consumer is not None
                self._consumer.incremental_unassign(self._places(copy))
                copy.store.close()
                metrics.STANDBY_LAG.remove_by_labels({"partition": str(partition)})
            if not self._copies and self._consumer is not None:
                self._consumer.close()
                self._consumer = None

    def _step(self) -> bool:
        """Begin a copy that is missing, or apply some records. Returns whether there was something to do."""
        missing = sorted(self._wanted - self._copies.keys())
        if missing and time.monotonic() - self._steady_since > STEADY_S:
            self._begin(missing[0])
            return True
        if self._consumer is None:
            return False
        messages = self._consumer.consume(STEP_RECORDS, 0)
        found: dict[tuple[str, int], list[Any]] = {}
        for message in messages:
            error = message.error()
            if error is None:
                found.setdefault((message.topic(), message.partition()), []).append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ended(message)
            elif error.fatal():
                raise KafkaException(error)
        for (topic, partition), records in found.items():
            copy = self._copies.get(partition)
            if copy is None:
                continue
            if topic == self._environment.topics.state:
                copy.follow(records)
                self._measure(copy)
            else:
                copy.early.extend(records)
        since_ms = wall_ms() - self._environment.history_ms
        for copy in self._copies.values():
            copy.remember(since_ms)
            if copy.paused != (len(copy.early) > (EARLY_MAX // 2 if copy.paused else EARLY_MAX)):
                copy.paused = not copy.paused
                change = self._consumer.pause if copy.paused else self._consumer.resume
                change(self._places(copy)[1:])
        return bool(messages)

    def _ended(self, message: Any) -> None:
        copy = self._copies.get(message.partition())
        if copy is not None and message.topic() == self._environment.topics.state:
            self._measure(copy)
            copy.mark()

    def _begin(self, partition: int) -> None:
        copy = Copy(partition, *open_store(self._environment, partition, self._topic_id))
        self._copies[partition] = copy
        if self._consumer is None:
            self._consumer = self._make_consumer()
        self._consumer.incremental_assign(self._places(copy))

    def _places(self, copy: Copy) -> list[TopicPartition]:
        topics, position = self._environment.topics, copy.position
        return [
            TopicPartition(topics.state, copy.partition, position.state_next),
            TopicPartition(topics.touches, copy.partition, position.touches_next),
        ]

    def _make_consumer(self) -> Consumer:
        settings = self._environment.settings
        return Consumer(
            settings.reader_config(
                f"{settings.group}-restore",
                fetch_wait_max_ms=500,
                queued_min_messages=5_000,
                queued_max_messages_kbytes=8 * 1024,
                check_crcs=False,
            )
        )

    def _measure(self, copy: Copy) -> None:
        assert self._consumer is not None
        place = TopicPartition(self._environment.topics.state, copy.partition)
        end = self._consumer.get_watermark_offsets(place, cached=True)[1]
        metrics.STANDBY_LAG.labels(copy.partition).set(max(end - copy.position.state_next, 0))

    def _ask(self) -> None:
        """Ask how far the owners have committed the history."""
        copies = dict(self._copies)
        if not copies or time.monotonic() - self._asked_at < COMMITTED_EVERY_S:
            return
        self._asked_at = time.monotonic()
        settings, touches = self._environment.settings, self._environment.topics.touches
        if self._asker is None:
            # What a transaction that is open has consumed does not count, and is not waited for.
            self._asker = Consumer(
                settings.kafka_config(
                    group_id=settings.group, enable_auto_commit=False, isolation_level="read_uncommitted"
                )
            )
        asked = [TopicPartition(touches, partition) for partition in copies]
        for entry in self._asker.committed(asked, timeout=ASK_S):
            if entry.error is None and entry.offset >= 0:
                copies[entry.partition].bound = entry.offset
