"""The way of records to Kafka: straight while the broker answers, over the disk while it does not.

A delivery returns when the broker has acknowledged all of its records, or when they are synced to the spool.
Once the broker is slow, everything goes over the spool, in order, until the spool is empty: so the order of
arrival is kept. What was under way when the broker went may arrive twice; its event ids say so.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import structlog
from confluent_kafka import KafkaException, Producer

from pipeline.settings import Settings

from . import metrics
from .spool import Record, Spool

SPOOL_AFTER_S: Final = 1.0  # a broker acknowledges within milliseconds
LOOK_S: Final = 0.1
WAITING_BYTES_MAX: Final = 64 * 1024 * 1024  # records not yet acknowledged, in memory
WAITING_RECORDS_MAX: Final = 100_000
DRAIN_RECORDS: Final = 1_000
NEAR_BYTES: Final = 4 * 1024 * 1024
"""Drained within a second: who comes meanwhile waits for it, or the end would never be reached under load."""
DRAIN_TIMEOUT_S: Final = 10.0
DRAIN_PAUSE_S: Final = 0.5  # before the next try while the broker is away
RETRY_AFTER_S: Final = 1

log = structlog.get_logger()


class Busy(Exception):
    """There is no room now. The sender should come again after RETRY_AFTER_S."""


class _Delivery:
    """Records of one request, or of one step of draining, until all are acknowledged."""

    __slots__ = ("begun_s", "done", "failed", "left", "outlet", "records", "size")

    def __init__(self, outlet: Outlet, records: Sequence[Record]) -> None:
        self.outlet, self.records = outlet, records
        self.left, self.failed = len(records), False
        self.size = sum(record.size for record in records)
        self.begun_s = time.monotonic()
        self.done: asyncio.Future[bool] = outlet.loop.create_future()

    def acknowledged(self, error: Any, _message: Any) -> None:
        """Called on the thread that polls, once for each record."""
        self.left -= 1
        self.failed = self.failed or error is not None
        if self.left == 0:
            self.outlet.tell(self)


class Outlet:
    """Takes records for Kafka. Made and used on one event loop."""

    def __init__(self, settings: Settings, spool: Spool, spool_bytes_max: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.spool, self.spool_bytes_max = spool, spool_bytes_max
        self.is_live = spool.bytes == 0
        self.waiting_bytes = self.waiting_records = 0
        self._settings = settings
        self._producer = self._make_producer()
        self._waiting: dict[_Delivery, None] = {}  # in order of arrival
        self._queue: deque[_Delivery] = deque()  # for the spool, in order of arrival
        self._writing: asyncio.Task[None] | None = None
        self._holds_writes = False  # the end of the spool is near: what waits may soon go straight
        self._settled: deque[_Delivery] = deque()
        self._is_told = False
        self._closing = False
        self._poller = threading.Thread(target=self._poll, name="collect-poll", daemon=True)
        self._poller.start()
        self._watcher = asyncio.create_task(self._watch())
        self._drainer = None if self.is_live else asyncio.create_task(self._drain())
        metrics.SPOOL_BYTES.set_function(lambda: spool.bytes)
        metrics.WAITING.set_function(lambda: self.waiting_records)

    @property
    def has_room(self) -> bool:
        """Whether the next requests would be taken: the spool is not needed, or has a twentieth left."""
        return self.is_live or self.spool.bytes + self.waiting_bytes < self.spool_bytes_max * 0.95

    async def deliver(self, records: Sequence[Record]) -> None:
        """Return when the broker or the disk has the records. Raises Busy when neither can take them."""
        if not records:
            return
        delivery = _Delivery(self, records)
        if (
            self.waiting_bytes + delivery.size > WAITING_BYTES_MAX
            or self.waiting_records + len(records) > WAITING_RECORDS_MAX
        ):
            raise Busy
        self.waiting_bytes += delivery.size
        self.waiting_records += len(records)
        try:
            if self.is_live:
                self._send(delivery)
            else:
                self._put_on_disk(delivery)
            if not await delivery.done:
                raise Busy
        finally:
            self.waiting_bytes -= delivery.size
            self.waiting_records -= len(records)

    async def close(self) -> None:
        """Wait for what is under way (after SPOOL_AFTER_S it goes to the disk), then stop."""
        await _ended(self._drainer)
        while self._waiting or self._queue:  # noqa: ASYNC110  once in a process's life
            await asyncio.sleep(LOOK_S / 10)
        await _ended(self._drainer, self._watcher)
        self._closing = True
        await asyncio.to_thread(self._poller.join)
        self.spool.close()

    # -- straight ------------------------------------------------------------------------------------------

    def _send(self, delivery: _Delivery) -> None:
        self._waiting[delivery] = None
        try:
            self._produce(delivery)
        except (BufferError, KafkaException):
            self._go_over_disk("the producer takes no more")

    def _produce(self, delivery: _Delivery) -> None:
        produce, acknowledged = self._producer.produce, delivery.acknowledged
        for record in delivery.records:
            if record.headers:
                produce(record.topic, record.value, record.key, headers=list(record.headers),
                        on_delivery=acknowledged)  # fmt: skip
            else:
                produce(record.topic, record.value, record.key, on_delivery=acknowledged)

    def _make_producer(self) -> Producer:
        return Producer(
            {
                **self._settings.kafka_config(
                    enable_idempotence=True,
                    linger_ms=self._settings.linger_ms,
                    compression_type="lz4",
                    queue_buffering_max_messages=2 * WAITING_RECORDS_MAX,
                    message_max_bytes=9 * 1024 * 1024,
                    message_timeout_ms=30_000,
                    reconnect_backoff_max_ms=1_000,
                    batch_size=256 * 1024,
                ),
                "log_level": 0,
            }
        )

    def _poll(self) -> None:
        while not self._closing:
            self._producer.poll(0.1)

    def tell(self, delivery: _Delivery) -> None:
        """On the polling thread: a delivery is settled. The loop is woken once for several."""
        self._settled.append(delivery)
        if not self._is_told:
            self._is_told = True
            self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._is_told = False
        while self._settled:
            delivery = self._settled.popleft()
            if delivery not in self._waiting:
                continue  # it went to the disk meanwhile
            if delivery.failed and self.is_live:
                self._go_over_disk("the broker refuses records")
                continue
            del self._waiting[delivery]
            _finish(delivery, not delivery.failed)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            oldest = next(iter(self._waiting), None)
            if self.is_live and oldest and time.monotonic() - oldest.begun_s > SPOOL_AFTER_S:
                self._go_over_disk("the broker does not answer")

    # -- over the disk -------------------------------------------------------------------------------------

    def _go_over_disk(self, why: str) -> None:
        """From now on everything goes to the spool, first what is under way, in its order."""
        self.is_live = False
        log.warning("records go to the disk", why=why)
        moved = list(self._waiting)
        self._waiting.clear()
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        for delivery in moved:
            self._put_on_disk(delivery)
        self._drainer = asyncio.create_task(self._drain())

    def _put_on_disk(self, delivery: _Delivery) -> None:
        if self.spool.bytes + self.waiting_bytes > self.spool_bytes_max:
            _finish(delivery, False)
            return
        self._queue.append(delivery)
        self._begin_write()

    def _begin_write(self) -> None:
        if self._queue and self._writing is None and not self._holds_writes:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        """Write what waits for the disk, all that is there at once: one sync serves many."""
        taken = list(self._queue)
        records = [record for delivery in taken for record in delivery.records]
        try:
            await asyncio.to_thread(self.spool.append, records)
        except OSError as error:
            log.error("the disk takes no records", error=error.strerror)
            is_written = False
        else:
            is_written = True
            metrics.SPOOLED.inc(len(records))
        for delivery in taken:
            self._queue.popleft()
            _finish(delivery, is_written)
        self._writing = None
        self._begin_write()

    async def _drain(self) -> None:
        """Send what is on the disk, in order, until nothing is left there; then go straight again."""
        try:
            while True:
                records = await asyncio.to_thread(self.spool.read, DRAIN_RECORDS)
                if records:
                    if await self._send_again(records):
                        self._holds_writes = self.spool.unread_bytes < NEAR_BYTES
                        self._begin_write()
                        continue
                    self.spool.again()
                    self._holds_writes = False
                    self._begin_write()
                    await asyncio.sleep(DRAIN_PAUSE_S)
                elif self._writing is not None:
                    await asyncio.wait([self._writing])  # it is read next
                else:
                    self._go_straight()
                    return
        finally:
            self._holds_writes = False
            self._begin_write()

    async def _send_again(self, records: list[Record]) -> bool:
        delivery = _Delivery(self, records)
        self._waiting[delivery] = None
        try:
            self._produce(delivery)
            return await asyncio.wait_for(delivery.done, DRAIN_TIMEOUT_S)
        except (TimeoutError, BufferError, KafkaException) as error:
            if isinstance(error, KafkaException) and error.args[0].fatal():
                self._producer = self._make_producer()
            else:
                self._producer.purge(in_queue=True, in_flight=True, blocking=False)
            return False
        finally:
            self._waiting.pop(delivery, None)

    def _go_straight(self) -> None:
        """The spool is empty and nothing is being written: what waits for it need not go there."""
        unreadable = self.spool.unreadable_bytes  # the end of a write that a kill has cut, or a bad disk
        log.info("the disk is drained, records go straight to the broker", unreadable_bytes=unreadable)
        self.spool.clear()
        self.is_live = True
        waiting, self._queue = self._queue, deque()
        for delivery in waiting:
            delivery.begun_s = time.monotonic()
            if self.is_live:
                self._send(delivery)
            else:
                self._put_on_disk(delivery)


async def _ended(*tasks: asyncio.Task[None] | None) -> None:
    """Cancel tasks and wait for their end."""
    there = [task for task in tasks if task is not None]
    for task in there:
        task.cancel()
    await asyncio.gather(*there, return_exceptions=True)


def _finish(delivery: _Delivery, is_safe: bool) -> None:
    """Answer whoever waits; they may have gone."""
    if not delivery.done.done():
        delivery.done.set_result(is_safe)
