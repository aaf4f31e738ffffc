"""When offsets are committed, and how the consumer ends.

An offset is committed when every batch below it was acknowledged and `before_commit` has returned; offsets of
topics in `own_offsets` never. Faust's own books of acknowledged offsets are not used: they cannot hold
batches.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException
from faust.types.tuples import TP

from .base import ConsumerBase, logger
from .partition import Partition

COMMIT_TIMEOUT_S: Final = 60.0  # librdkafka gives up before
COMMIT_STOP_S: Final = 5.0  # the same while stopping: what is not committed is read again
COMMIT_POLL_S: Final = 0.005
LEAVE_S: Final = 5.0  # with a broker that does not answer the session ends by itself


class OffsetCommitter(ConsumerBase):
    """Commits, drains, closes."""

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self._partitions) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        """Return the position below which all is acknowledged, None if there is nothing new to commit."""
        self._acked.pop(tp, None)  # Faust's own books, which only grow
        self._acked_index.pop(tp, None)
        partition = self._partitions.get(tp)
        if partition is None:
            return None
        partition.settle()
        if tp.topic in self.options.own_offsets or self._failed or partition.acked <= partition.committed:
            return None
        self._offered[tp] = partition
        return partition.acked

    def _should_commit(self, tp: TP, offset: int) -> bool:
        return True

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit after `before_commit`. A failure that passes is tried again at the next interval.

        The request is asynchronous: a synchronous one, even on a thread, makes polling wait for its answer.
        """
        if self._failed or self._closed:
            return False
        if self.options.before_commit is not None:
            await self.options.before_commit()
        # A partition lost and gained again meanwhile starts anew: its old offset may be behind.
        assigned, offered = self._partitions, self._offered
        wanted = {tp: assigned[tp] for tp in offsets if tp in assigned and assigned[tp] is offered.get(tp)}
        if not wanted or self._closed:
            return False
        if not await self._try_commit(
            [ck.TopicPartition(tp.topic, tp.partition, offsets[tp]) for tp in wanted], wanted
        ):
            return False
        for tp, partition in wanted.items():
            partition.committed = max(partition.committed, offsets[tp])
        return True

    async def commit_noted(self, part: ck.TopicPartition) -> bool:
        """Commit the offset of a partition of `own_offsets` by hand, with the note in its metadata.

        Returns False for a failure that passes, and when the partition is not, or no longer, assigned here.
        """
        tp = TP(part.topic, part.partition)
        partition = self._partitions.get(tp)
        return partition is not None and await self._try_commit([part], {tp: partition})

    async def _try_commit(self, parts: list[ck.TopicPartition], wanted: Mapping[TP, Partition]) -> bool:
        """Commit when it is its turn, unless one of the partitions was lost until then."""
        async with self._committing:
            if self._closed or any(self._partitions.get(tp) is not wanted[tp] for tp in wanted):
                return False
            try:
                await self._request_commit(parts)
            except KafkaException as failure:
                self.stats.commit_failures += 1
                self._on_error(failure.args[0])
                return False
        self.stats.commits += 1
        return True

    async def _request_commit(self, parts: list[Any]) -> None:
        """Send one commit and wait for the answer, which the pump, or this function when it rests, polls for.

        Raises: KafkaException if the group, or any partition, refuses; or if no answer comes.
        """
        self._commit_answer = answer = asyncio.get_running_loop().create_future()
        self._commit_parts = {(part.topic, part.partition, part.offset) for part in parts}
        self._client.commit(offsets=parts, asynchronous=True)
        limit, resting = time.monotonic() + COMMIT_TIMEOUT_S, False
        while not answer.done():
            if self.should_stop and not resting:
                limit, resting = min(limit, time.monotonic() + COMMIT_STOP_S), True
            if time.monotonic() > limit or self._closed:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            if resting:
                self._client.poll(0)  # the pump has ended; a record that comes here is read again later
            await asyncio.wait([answer], timeout=COMMIT_POLL_S)
        error, committed = answer.result()
        refused = error or next((part.error for part in committed if part.error is not None), None)
        if refused is not None:
            raise KafkaException(refused)

    def _on_commit(self, error: KafkaError | None, parts: list[Any]) -> None:
        """Called by the client, inside a poll, with the answer to a commit."""
        answer = self._commit_answer
        answered = {(part.topic, part.partition, part.offset) for part in parts}
        if answer is not None and not answer.done() and answered == self._commit_parts:
            answer.set_result((error, parts))

    async def on_stop(self) -> None:
        """Commit what was acknowledged, then leave the group, so that others take over at once."""
        try:
            await self.maybe_wait_for_commit_to_finish()
            await super().on_stop()
        finally:
            self.close()

    async def drain(self) -> None:
        """Wait until agents have finished what they have, at most `drain_s`; then freeze.

        Faust stops agents by cancelling them, and acknowledges the batch of a cancelled agent as if it were
        done.
        """
        limit = time.monotonic() + self.options.drain_s
        partitions = self._partitions.values()
        while any(partition.busy() for partition in partitions) and not self._failed:
            if time.monotonic() > limit:
                busy = sorted(str(partition.tp) for partition in partitions if partition.busy())
                logger.warning("stopping with unfinished batches, to be read again: %s", ", ".join(busy))
                break
            await asyncio.sleep(0.005)
        for partition in partitions:
            partition.freeze()

    def close(self) -> None:
        """Leave the group and close the client. `on_revoked` is called. May be called twice."""
        if self._closed or self._client is None:
            self._closed = True
            return
        self._closed = True
        if self.options.leave_on_close and "group.instance.id" in self.options.consumer_config:
            self._leave()
        self._client.close()

    def _leave(self) -> None:
        """Leave the group as a static member: closing alone keeps its place for the length of a session.

        The member id is lost when the request to leave goes out, which `close` waits for.
        """
        self._client.unsubscribe()
        limit = time.monotonic() + LEAVE_S
        while self._client.memberid() and time.monotonic() < limit:
            self._client.poll(COMMIT_POLL_S)
