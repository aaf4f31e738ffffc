"""Writing to `elo.deliveries`: one idempotent producer for all destinations of a process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from pipeline.core.errors import Retryable
from pipeline.settings import Settings

from .lane import Pending
from .records import FORMAT, LetterReason, Status, Stored, encode_stored, key_of

FLUSH_S: Final = 20.0
POLL_S: Final = 0.005
ROOM_S: Final = 0.1


class Ledger:
    """`keep` and `forget` return at once; `failed` is called when the broker does not take a record."""

    def __init__(self, settings: Settings, failed: Callable[[BaseException], None]) -> None:
        self._topic = settings.topics().deliveries
        self._failed = failed
        self._producer = Producer(
            settings.kafka_config(
                enable_idempotence=True, linger_ms=settings.linger_ms, compression_type="lz4",
                message_timeout_ms=300_000,
            )
        )  # fmt: skip

    def keep(
        self, destination: str, pending: Pending, partition: int, arrived: Callable[[], None],
        reason: LetterReason | None = None, detail: str = "",
    ) -> None:  # fmt: skip
        """Write a change that waits, or with a `reason` a letter. `arrived` is called in the event loop."""
        stored = Stored(
            FORMAT, Status.LETTER if reason else Status.WAITING, destination, pending.value, pending.offset,
            time.time_ns() // 1_000_000, pending.attempts, pending.failed_at, pending.due_at, pending.alone,
            reason or "", detail, pending.redriven, pending.traceparent,
        )  # fmt: skip

        def done(error: KafkaError | None, message: Message) -> None:
            if error is None:
                arrived()
            else:
                self._failed(Retryable("the broker does not take a record of delivery", error=error.name()))

        self._produce(key_of(destination, pending.change_id), encode_stored(stored), partition, done)

    def forget(self, destination: str, change_id: str, partition: int) -> None:
        """It was delivered: write a tombstone."""
        self._produce(key_of(destination, change_id), None, partition, self._check)

    def say(self, topic: str, key: str, value: bytes) -> None:
        """Write a command to `elo.destinations`."""
        self._producer.produce(topic, value, key.encode(), on_delivery=self._check)

    async def serve(self) -> None:
        """Hear from the broker, until cancelled."""
        while True:
            self._producer.poll(0)
            await asyncio.sleep(POLL_S)

    async def flush(self) -> None:
        """Wait until the broker has all that was written so far, for a while."""
        deadline = time.monotonic() + FLUSH_S
        while len(self._producer) and time.monotonic() < deadline:
            self._producer.poll(0)
            await asyncio.sleep(POLL_S)

    def _produce(
        self, key: bytes, value: bytes | None, partition: int,
        done: Callable[[KafkaError | None, Message], None],
    ) -> None:  # fmt: skip
        while True:
            try:
                self._producer.produce(self._topic, value, key, partition, on_delivery=done)
                return
            except BufferError:  # the local queue is full: the broker is slower than the failures come
                self._producer.poll(ROOM_S)

    def _check(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed(Retryable("the broker does not take a record of delivery", error=error.name()))
