"""The Kafka side of one destination: its consumer group, on a thread of its own.

Changes and the records of `elo.deliveries` come through one consumer. Both topics have the same partitions
and are assigned by range, so whoever has a partition has it of both. What `elo.deliveries` holds is always
read from its beginning; only positions on `segments.membership` are committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from pipeline.settings import Settings

log = structlog.get_logger()
RECORDS_MAX: Final = 500
POLL_S: Final = 0.1
KAFKA_S: Final = 30.0
REVOKE_S: Final = 40.0  # longer than what `Listener.revoked` waits for requests under way


class Listener(Protocol):
    """Who is told; all calls are made in the event loop."""

    def assigned(self, positions: Mapping[int, int]) -> None:
        """Partitions that are ours from now on, and the offset that each begins at."""

    async def revoked(self, partitions: Sequence[int]) -> dict[int, int]:
        """Partitions that are not. Returns the positions to be committed."""

    def received(self, messages: Sequence[Message]) -> None:
        """Records of both topics, each partition in order."""

    def ended(self, partition: int) -> None:
        """`elo.deliveries` was read to its end at least once."""


class Reading:
    """Reads for one destination from the moment that `run` is awaited until `stop`."""

    def __init__(self, settings: Settings, destination: str, start: str, listener: Listener) -> None:
        topics = settings.topics()
        self._changes, self._stored = topics.membership, topics.deliveries
        self._from_beginning = start == "beginning"
        self._listener = listener
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=destination)
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._consumer = Consumer(
            settings.reader_config(
                settings.deliver_group(destination),
                partition_assignment_strategy="range",
                session_timeout_ms=settings.session_timeout_ms,
                heartbeat_interval_ms=max(settings.session_timeout_ms // 4, 250),
                fetch_wait_max_ms=50,
                queued_max_messages_kbytes=16_384,
            )
        )

    async def run(self) -> None:
        """Read until `stop`. Raises KafkaException for what cannot be mended by waiting."""
        self._consumer.subscribe(
            [self._changes, self._stored],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )
        try:
            while not self._stopping:
                messages = await self._loop.run_in_executor(self._thread, self._take)
                self._dispatch(messages)
        finally:
            await self._loop.run_in_executor(self._thread, self._consumer.close)
            self._thread.shutdown(wait=False)

    def stop(self) -> None:
        """Make `run` give the partitions back and return."""
        self._stopping = True

    def pause(self, partition: int, pause: bool) -> None:
        """Let no more changes of a partition come, or let them come again."""
        change = self._consumer.pause if pause else self._consumer.resume
        change([TopicPartition(self._changes, partition)])

    def commit(self, positions: Mapping[int, int]) -> None:
        """Commit positions, without waiting. What a rebalance refuses is committed by the next owner."""
        self._consumer.commit(offsets=self._offsets(positions), asynchronous=True)

    def lag(self, partition: int, position: int) -> int:
        """Changes of a partition that lie behind a position, as far as the client knows."""
        try:
            _, end = self._consumer.get_watermark_offsets(
                TopicPartition(self._changes, partition), cached=True
            )
        except KafkaException:
            return 0
        return max(end - position, 0)

    def is_changes(self, message: Message) -> bool:
        """Whether a record is a membership change, and not one of `elo.deliveries`."""
        return message.topic() == self._changes

    # -- on the thread ----------------------------------------------------------------------------------

    def _take(self) -> list[Message]:
        first = self._consumer.poll(POLL_S)
        return [] if first is None else [first, *self._consumer.consume(RECORDS_MAX - 1, 0)]

    def _on_assign(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        partitions = [one.partition for one in given if one.topic == self._changes]
        positions = self._positions(consumer, partitions)
        consumer.assign(
            [
                *self._offsets(positions),
                *(TopicPartition(self._stored, number, OFFSET_BEGINNING) for number in partitions),
            ]
        )
        # A partition that was paused when it was given up may still be.
        consumer.resume(self._offsets(positions))
        self._loop.call_soon_threadsafe(self._listener.assigned, positions)

    def _positions(self, consumer: Consumer, partitions: list[int]) -> dict[int, int]:
        """Where each partition goes on. A first position is committed at once, so nothing is missed later."""
        asked = [TopicPartition(self._changes, number) for number in partitions]
        found, first = {}, {}
        for one in consumer.committed(asked, KAFKA_S) if asked else ():
            begin, end = consumer.get_watermark_offsets(TopicPartition(one.topic, one.partition), KAFKA_S)
            if one.offset == OFFSET_INVALID:
                first[one.partition] = begin if self._from_beginning else end
            elif one.offset < begin:
                log.error("changes were deleted before they were read", partition=one.partition,
                          missed=begin - one.offset, group=self._changes)  # fmt: skip
                found[one.partition] = begin
            else:
                found[one.partition] = one.offset
        if first:
            consumer.commit(offsets=self._offsets(first), asynchronous=False)
        return {**found, **first}

    def _on_revoke(self, consumer: Consumer, taken: list[TopicPartition]) -> None:
        positions = self._give_up(taken)
        if positions:
            try:
                consumer.commit(offsets=self._offsets(positions), asynchronous=False)
            except KafkaException as error:
                log.warning("positions were not committed, changes are sent once more", error=str(error))

    def _on_lost(self, consumer: Consumer, taken: list[TopicPartition]) -> None:
        self._give_up(taken)

    def _give_up(self, taken: list[TopicPartition]) -> dict[int, int]:
        partitions = [one.partition for one in taken if one.topic == self._changes]
        given_up = asyncio.run_coroutine_threadsafe(self._listener.revoked(partitions), self._loop)
        return given_up.result(REVOKE_S)

    def _offsets(self, positions: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._changes, number, offset) for number, offset in positions.items()]

    # -- in the loop ------------------------------------------------------------------------------------

    def _dispatch(self, messages: list[Message]) -> None:
        records: list[Any] = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                if message.topic() == self._stored:
                    self._listener.received(records)
                    records = []
                    self._listener.ended(message.partition() or 0)
            elif error.fatal() or (error.code() > 0 and not error.retriable()):
                raise KafkaException(error)
        if records:
            self._listener.received(records)
