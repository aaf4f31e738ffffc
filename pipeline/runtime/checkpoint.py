"""Carries out what a batch decided: one Kafka transaction for all partitions of a worker.

The transaction holds changelog records, outputs, mail and the offsets of all inputs. Offsets are taken only
from a member of the present generation of the consumer group, so who has lost a partition commits nothing.
Source: docs/architecture.md, "Exactly once"; docs/decisions/0012.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Iterable, Mapping
from functools import cache
from itertools import count
from typing import Any, Final
from zlib import crc32

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from ..core.errors import AccessDenied, Retryable
from ..core.messages import Message, encode_message
from ..core.outbox import MembershipChange, Output, ProfileAlias, Snapshot
from ..settings import Settings
from ..topics import INTERNAL_BYTES_MAX, REJECTED_BYTES_MAX, Topics
from ..wire.records import encode_membership_change, encode_profile_alias
from .connect import GRANTS
from .crashpoints import reach
from .snapshots import profile_value, review_value
from .traces import Traces
from .watchdog import stacks

log = structlog.get_logger()

TRANSACTION_TIMEOUT_MS: Final = 60_000
OPERATION_TIMEOUT_S: Final = 30.0
BACKOFF_MS: Final = 5
"""While the broker still writes the last transaction's markers the next one must ask again; the default waits
100.
"""

IDLE_MS: Final = 6_000
"""Offsets of a transaction wait for ever when their coordinator dies at the wrong moment, although the client
knows the next one: it looks again only when some connection comes or goes (confluentinc/librdkafka#5511). So
connections that rest for 4 to 6 s are closed, and opened again at once: 1 ms for a transaction after a rest.
"""
HANG_S: Final = 100.0  # above what an operation and its repetitions may take
FENCED: Final = (
    KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError._FATAL
)  # fmt: skip

Headers = list[tuple[str, str | bytes | None]]


class MustAbort(Exception):
    """The transaction cannot be committed, but the producer is sound: abort and run the batch again."""


class Fenced(MustAbort):
    """The producer is of no use any more: somebody has fenced it, or nobody can say what state it is in.

    Whether its last transaction was committed is not known here.
    """


async def within_limit(call: Awaitable[Any]) -> None:
    """Wait for a call of the producer on its thread, but not for ever: it may hang beyond its own timeout.

    Raises: Retryable; the thread is lost, so the process must end.
    """
    try:
        await asyncio.wait_for(call, HANG_S)
    except TimeoutError as error:
        log.error("the Kafka client hangs", stacks=stacks())
        raise Retryable("the Kafka client hangs in a transaction", limit_s=HANG_S) from error


def partition_of(key: str, partitions: int) -> int:
    """The partition on which a node lives: CRC-32 of its key."""
    return crc32(key.encode()) % partitions


@cache
def address_of(partition: int, partitions: int) -> str:
    """A key of mail that goes to a partition itself: no node has it, for it has no type."""
    return next(key for key in map(str, count()) if partition_of(key, partitions) == partition)


def make_producer(settings: Settings, transactional_id: str) -> Producer:
    """A transactional producer that has begun nothing yet."""
    return Producer(
        settings.kafka_config(
            transactional_id=transactional_id,
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
            connections_max_idle_ms=IDLE_MS,
        )
    )


def fence(settings: Settings, transactional_id: str) -> None:
    """End the transaction that a worker which is gone has left open. If it is not gone it gets over it."""
    producer = make_producer(settings, transactional_id)
    with contextlib.suppress(MustAbort):  # Somebody else was faster.
        _insist(producer.init_transactions)


class Checkpoint:
    """The transactional producer of a worker.

    Methods that wait for the broker may run on another thread. `changelog_next`: partition → offset behind
    the last changelog record that was committed here. What was aborted does not count: when a worker that has
    lost the partition writes it, records of the new owner lie below.
    """

    def __init__(
        self, settings: Settings, topics: Topics, partitions: int, transactional_id: str, traces: Traces
    ) -> None:
        self.settings = settings
        self.traces = traces
        self.topics = topics
        self.partitions = partitions
        self.transactional_id = transactional_id
        self.changelog_next: dict[int, int] = {}
        self._delivered: dict[int, int] = {}
        self._producer: Producer | None = None

    def open(self) -> None:
        """Make the producer, anew if there was one. An open transaction of its id is aborted.

        Raises: Retryable when the broker does not answer for TRANSACTION_TIMEOUT_MS.
        """
        self.close()
        self._producer = make_producer(self.settings, self.transactional_id)
        try:
            _insist(self._producer.init_transactions)
            self._begin()
        except MustAbort as error:
            raise Retryable("the broker admits no transactions", error=str(error.__cause__)) from error

    def _begin(self) -> None:
        """Begin the next transaction ahead of its batch: it waits for the client, which the loop must not.

        The broker hears of a transaction only when something is written.
        """
        assert self._producer is not None
        self._delivered = {}
        try:
            self._producer.begin_transaction()
        except KafkaException as failure:
            raise _meaning(failure) from failure

    def write(self, partition: int, records: Mapping[bytes, bytes | None]) -> None:
        """Hand over what a batch changed in one partition."""
        produce, state = self._produce, self.topics.state
        last = len(records) - 1
        for index, (key, value) in enumerate(records.items()):
            if index < last:
                produce(state, value, key, partition)
            else:
                produce(state, value, key, partition, on_delivery=self._changelog_delivered)

    def copy(self, partition: int, records: Mapping[bytes, bytes | None]) -> None:
        """Hand over what a batch changed in one partition's part of the sample."""
        for key, value in records.items():
            self._produce(self.topics.sample, value, key, partition)

    def tell(self, told: Iterable[Output]) -> None:
        """Hand over what consumers are told, in the order in which it was decided."""
        produce, topics = self._produce, self.topics
        for one in told:
            if isinstance(one, MembershipChange):
                value = encode_membership_change(one)
                if not one.silent:
                    headers = self.traces.headers(one.event_ids)
                    produce(topics.membership, value, one.profile_id.encode(), headers=headers)
                current = value if one.change == "entered" else None
                produce(topics.current, current, f"{one.profile_id}|{one.segment_id}".encode())
            elif isinstance(one, Snapshot):
                produce(topics.profiles, profile_value(one), one.profile_id.encode())
            elif isinstance(one, ProfileAlias):
                produce(topics.merges, encode_profile_alias(one), one.old_profile_id.encode())
            else:
                produce(topics.review, review_value(one), one.component.encode())

    def send(self, mail: Iterable[tuple[str, Message]]) -> None:
        """Send messages to nodes of other workers. In the order in which they were decided: the protocol
        relies on it.
        """
        for to, message in mail:
            self._produce(
                self.topics.mail, encode_message(message), to.encode(), partition_of(to, self.partitions)
            )

    def reject(self, value: bytes | None, key: bytes | None, headers: Headers) -> None:
        """Keep a touch that could not be handled, as part of the transaction."""
        self._produce(self.topics.rejected, value, key, headers=headers)

    def commit(self, offsets: list[TopicPartition], membership: Any) -> None:
        """Commit the transaction with the offsets of the inputs.

        Args:
            membership: of the group, as it was before the batch was computed.

        Raises: MustAbort or Fenced.
        """
        assert self._producer is not None
        _insist(self._producer.send_offsets_to_transaction, offsets, membership)
        reach("transaction.offsets")
        _insist(self._producer.commit_transaction)
        self.changelog_next.update(self._delivered)
        self._begin()

    def abort(self) -> None:
        """Abort the transaction; nothing of the batch becomes visible."""
        assert self._producer is not None
        _insist(self._producer.abort_transaction)
        self._begin()

    def close(self) -> None:
        """Drop what was not committed. The producer is unusable afterwards."""
        if self._producer is not None:
            with contextlib.suppress(KafkaException):  # One that was fenced says so again at every call.
                self._producer.purge()
                self._producer.poll(0)
            self._producer = None

    def _produce(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int = -1, **more: Any
    ) -> None:
        producer = self._producer
        assert producer is not None
        try:
            while True:
                try:
                    producer.produce(topic, value, key, partition, **more)
                    return
                except BufferError:  # The local queue is full: let deliveries make room.
                    producer.poll(0.05)
        except KafkaException as failure:
            raise _meaning(failure) from failure

    def _changelog_delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is None:
            self._delivered[message.partition()] = message.offset() + 1


def _insist(operation: Any, *arguments: Any) -> None:
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
    """What a refusal of the transactional producer asks for: MustAbort, or Fenced when in doubt; AccessDenied
    when Kafka does not let us write at all.
    """
    error = failure.args[0]
    if error.code() in GRANTS:
        return AccessDenied(
            f"Kafka does not let this worker write ({error.str()}), "
            "grant what `elo topics acls worker` prints"
        )
    return MustAbort() if error.txn_requires_abort() and error.code() not in FENCED else Fenced()
