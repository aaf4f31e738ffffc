"""Carries out what a batch decided: one Kafka transaction per partition and batch.

The transaction holds changelog records, outputs, mail and the offsets of both inputs. Its id is that of the
partition, so the first act of a new owner fences the old one, whatever the consumer group believes.
Source: docs/architecture.md, "Exactly once".
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Mapping
from typing import Any, Final
from zlib import crc32

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from ..core.errors import Retryable
from ..core.messages import encode_message
from ..core.outbox import Outbox
from ..settings import Settings
from ..topics import INTERNAL_BYTES_MAX, REJECTED_BYTES_MAX, Topics
from ..wire.records import encode_membership_change, encode_profile_alias
from .crashpoints import reach
from .snapshots import profile_value, review_value

TRANSACTION_TIMEOUT_MS: Final = 60_000
OPERATION_TIMEOUT_S: Final = 30.0
BACKOFF_MS: Final = 5
"""While the broker still writes the last transaction's markers the next one must ask again; the default waits
100.
"""

HANG_S: Final = 100.0  # above what an operation and its repetitions may take
FENCED: Final = (
    KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError._FATAL
)  # fmt: skip
"""`_FATAL` is what later calls say of it. Another fatal error ends the worker too, a moment later."""

Headers = list[tuple[str, str | bytes | None]]


class Fenced(Exception):
    """Another owner of the partition has taken over. Nothing of the batch was committed."""


class MustAbort(Exception):
    """The transaction cannot be committed, but the producer is sound: abort and run the batch again."""


async def within_limit(call: Awaitable[None]) -> None:
    """Wait for a call of the producer on its thread, but not for ever: it may hang beyond its own timeout.

    Raises: Retryable; the thread is lost, so the process must end.
    """
    try:
        await asyncio.wait_for(call, HANG_S)
    except TimeoutError as error:
        raise Retryable("the Kafka client hangs in a transaction", limit_s=HANG_S) from error


def partition_of(key: str, partitions: int) -> int:
    """The partition on which a node lives: CRC-32 of its key."""
    return crc32(key.encode()) % partitions


def committed_offsets(settings: Settings, topics: tuple[str, ...], partition: int) -> dict[str, int]:
    """Topic → next offset to read, as the group has it; 0 where nothing was ever committed."""
    consumer = Consumer(settings.kafka_config(group_id=settings.group, enable_auto_commit=False))
    try:
        asked = [TopicPartition(topic, partition) for topic in topics]
        answered = consumer.committed(asked, timeout=OPERATION_TIMEOUT_S)
        for entry in answered:
            if entry.error is not None:
                raise KafkaException(entry.error)
        return {entry.topic: max(entry.offset, 0) for entry in answered}
    finally:
        consumer.close()


class Checkpoint:
    """The transactional producer of one partition.

    Methods that wait for the broker may run on another thread.
    """

    def __init__(
        self, settings: Settings, topics: Topics, partition: int, partitions: int, policy_version: int
    ) -> None:
        self.topics = topics
        self.policy_version = policy_version
        self.partition = partition
        self.partitions = partitions
        self.changelog_next = 0
        self._producer = Producer(
            settings.kafka_config(
                transactional_id=f"{settings.group}-resolver-{partition}",
                transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
                linger_ms=0,
                compression_type="lz4",
                partitioner="murmur2_random",
                retry_backoff_ms=BACKOFF_MS,
                retry_backoff_max_ms=20,
                socket_nagle_disable=True,
                queue_buffering_max_messages=2_000_000,
                message_max_bytes=max(REJECTED_BYTES_MAX, INTERNAL_BYTES_MAX),
                # Else offsets that are sent after the broker was killed and came back wait for ever for a
                # connection that was given up (confluentinc/librdkafka#5511).
                metadata_recovery_strategy="none",
            )
        )
        group = Consumer(settings.kafka_config(group_id=settings.group, enable_auto_commit=False))
        self._group = group.consumer_group_metadata()
        group.close()

    def fence(self) -> None:
        """Fence the previous owner and abort what it left open. Raises Fenced, or Retryable."""
        self._insist(self._producer.init_transactions)
        self._begin()

    def _begin(self) -> None:
        """Begin the next transaction ahead of its batch: it waits for the client, which the loop must not.

        The broker hears of a transaction only when something is written. Raises Fenced.
        """
        try:
            self._producer.begin_transaction()
        except KafkaException as failure:
            raise _meaning(failure) from failure

    def write(self, records: Mapping[bytes, bytes | None], outbox: Outbox) -> None:
        """Hand over the changelog records and effects of a batch, in an order that consumers may rely on.

        An alias comes before any change under the new id.
        """
        produce, topics = self._produce, self.topics
        last = len(records) - 1
        for index, (key, value) in enumerate(records.items()):
            if index < last:
                produce(topics.state, value, key, self.partition)
            else:
                produce(topics.state, value, key, self.partition, on_delivery=self._changelog_delivered)
        for to, message in outbox.mail:
            produce(topics.mail, encode_message(message), to.encode(), partition_of(to, self.partitions))
        for alias in outbox.aliases:
            produce(topics.merges, encode_profile_alias(alias), alias.old_profile_id.encode())
        for change in outbox.changes:
            value = encode_membership_change(change)
            produce(topics.membership, value, change.profile_id.encode())
            current = value if change.change == "entered" else None
            produce(topics.current, current, f"{change.profile_id}|{change.segment_id}".encode())
        for snapshot in outbox.snapshots:
            produce(
                topics.profiles, profile_value(snapshot, self.policy_version), snapshot.profile_id.encode()
            )
        for review in outbox.reviews:
            produce(topics.review, review_value(review, self.policy_version), review.component.encode())

    def reject(self, value: bytes | None, key: bytes | None, headers: Headers) -> None:
        """Keep a touch that could not be handled, as part of the transaction."""
        self._produce(self.topics.rejected, value, key, headers=headers)

    def commit(self, next_offsets: Mapping[str, int], note: str) -> None:
        """Commit the transaction with the offsets of the inputs.

        `note`: metadata beside the committed offset of `elo.touches`.
        Raises: Fenced, MustAbort, or Retryable when the broker does not answer for TRANSACTION_TIMEOUT_MS.
        """
        offsets = [
            TopicPartition(topic, self.partition, offset, note if topic == self.topics.touches else "")
            for topic, offset in next_offsets.items()
        ]
        self._insist(self._producer.send_offsets_to_transaction, offsets, self._group)
        reach("transaction.offsets")
        self._insist(self._producer.commit_transaction)
        self._begin()

    def abort(self) -> None:
        """Abort the transaction; nothing of the batch becomes visible."""
        self._producer.purge()
        self._insist(self._producer.abort_transaction)
        self._begin()

    def close(self) -> None:
        """Drop what was not committed. The producer is unusable afterwards."""
        with contextlib.suppress(KafkaException):  # A producer that was fenced says so again at every call.
            self._producer.purge()
            self._producer.poll(0)

    def _produce(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int = -1, **more: Any
    ) -> None:
        try:
            while True:
                try:
                    self._producer.produce(topic, value, key, partition, **more)
                    return
                except BufferError:  # The local queue is full: let deliveries make room.
                    self._producer.poll(0.05)
        except KafkaException as failure:
            raise _meaning(failure) from failure

    def _changelog_delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is None:
            self.changelog_next = message.offset() + 1

    def _insist(self, operation: Any, *arguments: Any) -> None:
        """Repeat an operation that may be retried, e.g. while the broker restarts."""
        deadline = time.monotonic() + TRANSACTION_TIMEOUT_MS / 1000
        while True:
            try:
                operation(*arguments, OPERATION_TIMEOUT_S)
                return
            except KafkaException as failure:
                if not failure.args[0].retriable() or time.monotonic() > deadline:
                    raise _meaning(failure) from failure
                time.sleep(0.05)


def _meaning(failure: KafkaException) -> Exception:
    """What a refusal of the transactional producer asks for: Fenced, MustAbort or Retryable."""
    error = failure.args[0]
    if error.code() in FENCED:
        return Fenced()
    if error.txn_requires_abort():
        return MustAbort()
    return Retryable("the broker did not commit a transaction", error=error.name())
