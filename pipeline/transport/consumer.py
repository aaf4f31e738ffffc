"""A Faust consumer on confluent-kafka that hands an agent one batch per poll and partition.

Here is the pump, which polls in the event loop, and what tasks may ask of it. It knows nothing of what is in
the records.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, cast

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException
from faust.transport.consumer import Fetcher as FaustFetcher
from faust.types.tuples import TP, ConsumerMessage

from .base import logger
from .batch import Batch
from .errors import TransportError
from .group import GroupMember
from .partition import Partition

EOF: Final = KafkaError._PARTITION_EOF


class Fetcher(FaustFetcher):
    """Stopped first when an app stops, with the flow stopped and the agents alive: the moment to drain."""

    async def on_stop(self) -> None:
        """Drain the consumer, if the whole app is stopping."""
        if self.app.should_stop and isinstance(self.app.consumer, Consumer):
            await self.app.consumer.drain()
        await super().on_stop()


class Consumer(GroupMember):
    """The consumer of `Transport`.

    Tasks use rewind, begin, pause, resume, caught_up, lag; Faust uses the rest.
    """

    def rewind(self, tp: TP, offset: int) -> int:
        """Read `tp` again from `offset`.

        What is buffered of it anywhere is dropped; the next batch starts there.

        A batch that an agent already has is not taken away from it: its `epoch` is below the one returned.
        Returns: the epoch of the batches to come, 0 if the partition is not (or no longer) assigned.
        """
        partition = self._partitions.get(tp)
        if partition is None:
            return 0
        if not partition.begun:
            raise TransportError(f"{tp} is held: begin() comes before rewind()")
        self.stats.rewinds += 1
        partition.epoch += 1
        partition.start_at(offset)
        partition.seek_to = offset
        self._unthrottle(partition)
        self._seeking.add(tp)
        self._carry_out_seek(partition)
        return partition.epoch

    def begin(self, tp: TP, offset: int) -> bool:
        """Start reading a partition of a held topic at `offset`, absolute or logical (OFFSET_BEGINNING).

        Returns: False if the partition is not (or no longer) assigned.
        Raises: TransportError if it has begun already.
        """
        partition = self._partitions.get(tp)
        if partition is None:
            return False
        if partition.begun:
            raise TransportError(f"{tp} has begun already")
        part = ck.TopicPartition(tp.topic, tp.partition, offset)
        self._client.incremental_assign([part])
        self._client.resume([part])
        partition.begun = True
        if offset >= 0:
            partition.start_at(offset)
        return True

    def begin_at(self, tp: TP, offset: int) -> int:
        """Start reading a partition of a held topic at `offset`, or start again there, paused or not.

        Returns: the epoch of the batches to come, 0 if it is the first time.
        """
        partition = self._partitions.get(tp)
        if partition is not None and partition.begun:
            partition.paused = False  # By whoever read before.
            return self.rewind(tp, offset)
        self.begin(tp, offset)
        return 0

    def pause(self, tp: TP) -> None:
        """Hand over no further batch of `tp`.

        Its records gather up to the backlog bounds, then fetching pauses.
        """
        partition = self._partitions.get(tp)
        if partition is not None:
            partition.paused = True

    def resume(self, tp: TP) -> None:
        """Undo `pause`. A partition gained in a rebalance is never paused."""
        partition = self._partitions.get(tp)
        if partition is not None:
            partition.paused = False

    def caught_up(self, tp: TP) -> float | None:
        """Wall clock (s) of the last end of partition, None if records have come since or none was seen yet.

        It says what was read, not what was handed over: a batch may still be on its way to the agent.
        """
        partition = self._partitions.get(tp)
        if partition is None or partition.ended_ms is None:
            return None
        return partition.ended_ms / 1000.0

    def is_read_to_end(self, tp: TP, position: int) -> bool:
        """Whether whoever has worked `tp` off up to `position` has everything that is there at this moment.

        Unlike `Batch.ended_ms` it is known at once, not only after a lull of `end_delay_ms`.
        """
        partition = self._partitions.get(tp)
        if partition is None or partition.ended_ms is None:
            return False
        return not partition.backlog_records and partition.handed <= position

    def has_read(self, tp: TP, position: int, end: int) -> bool:
        """Whether whoever has worked `tp` off up to `position` has everything below offset `end`."""
        partition = self._partitions.get(tp)
        if partition is None or partition.backlog_records or partition.position < end:
            return False
        return partition.handed <= position

    def group_metadata(self) -> Any:
        """What a transaction must show of this member for its offsets to be taken; None while it has no part
        in the group.

        Ask before a batch is computed, and use it for that batch only: a partition that is computed now and
        given to somebody else meanwhile belongs to a later generation, which this metadata does not name.
        """
        if self._client is None or self._closed:
            return None
        metadata = self._client.consumer_group_metadata()
        # Without a member id the broker would take offsets from anybody. Asked afterwards: it is lost in no
        # time, and won again only after a poll.
        return metadata if self._client.memberid() else None

    def lag(self, tp: TP) -> int | None:
        """Offsets between what was handed over and the cached high watermark; None if either is not known.

        Transaction markers count as offsets, so it can stay a little above zero behind an open transaction.
        """
        partition = self._partitions.get(tp)
        if partition is None or partition.handed < 0:
            return None
        high = self.highwater(tp)
        return max(high - partition.handed, 0) if high >= 0 else None

    def positions(self) -> dict[TP, int]:
        """Return, for every partition whose position is known, the end of the last batch handed over."""
        return {tp: partition.handed for tp, partition in self._partitions.items() if partition.handed >= 0}

    def backlog(self, tp: TP) -> int:
        """Records read and not yet handed over."""
        partition = self._partitions.get(tp)
        return partition.backlog_records if partition is not None else 0

    # -- the pump ----------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        """Poll as long as the consumer lives, also while the flow is stopped, to stay in the group."""
        shortest, longest = self.options.idle_sleep_ms_min / 1000.0, self.options.idle_sleep_ms_max / 1000.0
        records_max, idle = self.options.records_max, shortest
        while not (self._closed or self.should_stop):
            messages = self._client.consume(records_max, 0)
            if self._callback_error is not None:
                raise self._callback_error
            self.stats.polls += 1
            if messages:
                self._sort(messages)
            handed = await self._hand_over()
            if messages or handed:
                idle = shortest
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(idle)
                idle = min(idle * 2, longest)

    def _sort(self, messages: list[Any]) -> None:
        """Give the records of one poll to their partitions."""
        by_partition: dict[tuple[str, int], list[Any]] = {}
        ends: dict[tuple[str, int], int] = {}
        for message in messages:
            error = message.error()
            key = message.topic(), message.partition()
            if error is None:
                records = by_partition.get(key)
                if records is None:
                    records = by_partition[key] = []
                records.append(message)
                if ends:
                    ends.pop(key, None)
            elif error.code() == EOF:
                ends[key] = message.offset()
            else:
                self._on_error(error)
        now_ms = int(time.time() * 1000)
        for key, records in by_partition.items():
            self._add(cast(TP, key), records, now_ms)
        for key, offset in ends.items():
            partition = self._partitions.get(cast(TP, key))
            if partition is not None and partition.seek_to is None:
                partition.end(offset, now_ms)
                self._news[partition.tp] = partition

    def _add(self, key: TP, records: list[Any], now_ms: int) -> None:
        partition = self._partitions.get(key)
        if partition is None or partition.seek_to is not None:
            return  # revoked, or of the position before a rewind
        first = records[0].offset()
        if first < partition.position:
            logger.warning("%s went back from %d to %d: offset out of range", key, partition.position, first)
            partition.start_at(first)
        self.stats.records += len(records)
        partition.add(records, now_ms)
        self._news[partition.tp] = partition
        if not partition.throttled and self._is_full(partition, 1):
            self.stats.throttles += 1
            partition.throttled = True
            self._client.pause([ck.TopicPartition(*partition.tp)])

    def _is_full(self, partition: Partition, divisor: int) -> bool:
        options = self.options
        share = options.backlog_bytes_max // len(self._partitions)
        return bool(
            partition.backlog_records * divisor >= options.backlog_records_max
            or partition.backlog_bytes * divisor >= share
        )

    def _unthrottle(self, partition: Partition) -> None:
        """Fetch again once half of the backlog is gone."""
        if partition.throttled and not self._is_full(partition, 2):
            partition.throttled = False
            self._client.resume([ck.TopicPartition(*partition.tp)])

    def _flowing(self) -> bool:
        """True if Faust would take a message without waiting, and knows the present assignment."""
        told = self._told_generation == self._generation
        return bool(self.flow_active and told and self.app.flow_control.is_active())

    async def _hand_over(self) -> int:
        """Hand over at most one batch of each partition that may have one. Returns: how many.

        The callback must never wait here, or polling would stop: hence the check of the flow, and of the
        size of Faust's queue at each assignment.
        """
        for tp in tuple(self._seeking):
            self._carry_out_seek(self._partitions[tp])
        if not self._flowing():
            return 0
        if not self._news:
            return 0
        options = self.options
        end_before_ms = int(time.time() * 1000) - options.end_delay_ms
        handed = 0
        for tp, partition in tuple(self._news.items()):
            if not self._flowing():
                break
            if partition.paused or partition.settle() >= options.batches_unacked_max:
                continue
            batch = partition.take(options.records_max, end_before_ms)
            if not partition.has_news:
                self._news.pop(tp, None)
            if batch is None:
                continue
            self._unthrottle(partition)
            message = self._message(partition.tp, batch)
            partition.unacked.append(message)
            handed += 1
            await self.callback(message)
        self.stats.batches += handed
        return handed

    def _message(self, tp: TP, batch: Batch) -> ConsumerMessage:
        records = batch.records
        timestamp_s = records[-1].timestamp()[1] / 1000.0 if records else batch.received_ms / 1000.0
        return ConsumerMessage(
            batch.topic,
            batch.partition,
            batch.position_end - 1,
            timestamp_s,
            0,
            [],
            None,
            cast(Any, batch),
            None,
            0,
            0,
            tp,
            time_in=time.monotonic(),
            generation_id=self._generation,
        )

    def _carry_out_seek(self, partition: Partition) -> None:
        """Seek in the client. A partition that does not fetch yet is tried again at the next poll."""
        assert partition.seek_to is not None
        try:
            self._client.seek(
                ck.TopicPartition(partition.tp.topic, partition.tp.partition, partition.seek_to)
            )
        except KafkaException as error:
            if error.args[0].code() not in (
                KafkaError._STATE,
                KafkaError._PREV_IN_PROGRESS,
                KafkaError._TIMED_OUT,
            ):
                raise
            return
        partition.seek_to = None
        self._seeking.discard(partition.tp)
