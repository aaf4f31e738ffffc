"""What every part of the consumer shares: state, errors, and the resting parts of Faust's interface.

Faust's own fetching, seeking and bookkeeping are switched off here; the pump, the group and the offsets
replace them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException
from faust.transport.consumer import Consumer as FaustConsumer
from faust.types.tuples import TP, ConsumerMessage
from mode.utils.logging import get_logger

from .errors import TransportError
from .options import TransportOptions
from .partition import Partition

logger = get_logger("faust.transport.batches")

HOPELESS: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.INVALID_SESSION_TIMEOUT,
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
        KafkaError.INVALID_GROUP_ID,
        KafkaError._AUTHENTICATION,
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError._FATAL,  # what the client says of itself: another member has its name, for example
    }
)
"""Errors that no waiting mends: the worker stops and says so."""
LOG_PAUSE_S: Final = 10.0  # the same transient error is logged at most this often
STUCK_S: Final = 60.0  # a batch that stays longer with an agent is worth a warning


class Sparingly(logging.Filter):
    """Let each kind of message of the client through once in LOG_PAUSE_S: an outage causes 20 a second."""

    def __init__(self) -> None:
        """Nothing has been said yet."""
        super().__init__()
        self._said_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether `record` is let through. The client gives the kind as the first argument."""
        kind = str(record.args[0]) if isinstance(record.args, tuple) and record.args else str(record.msg)
        if record.created - self._said_at.get(kind, -LOG_PAUSE_S) < LOG_PAUSE_S:
            return False
        self._said_at[kind] = record.created
        return True


client_logger = get_logger("faust.transport.batches.client")
client_logger.addFilter(Sparingly())


@dataclass(slots=True)
class TransportStats:
    """What the transport has done since its start, for metrics: numbers only go up."""

    polls: int = 0
    records: int = 0
    batches: int = 0
    batches_put_back: int = 0
    records_put_back: int = 0
    rebalances: int = 0
    rewinds: int = 0
    throttles: int = 0
    errors: int = 0
    commits: int = 0
    commit_failures: int = 0


class ConsumerBase(FaustConsumer):
    """State, errors, and the inert part of Faust's consumer interface."""

    logger = logger

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Made by Faust; the client is made with the first subscription."""
        super().__init__(*args, **kwargs)
        self.options: TransportOptions = cast(Any, self.transport).options
        self.stats = TransportStats()
        self._client: Any = None
        self._closed = False
        self._failed = False
        self._partitions: dict[TP, Partition] = {}
        self._news: dict[TP, Partition] = {}
        self._followers: dict[str, list[str]] = {}
        self._offered: dict[TP, Partition] = {}
        self._committing = asyncio.Lock()
        self._commit_answer: asyncio.Future[Any] | None = None
        self._commit_parts: set[tuple[str, int, int]] = set()
        self._seeking: set[TP] = set()
        self._revoked: set[TP] = set()
        self._rebalanced = asyncio.Event()
        self._generation = 0
        self._told_generation = -1
        self._callback_error: BaseException | None = None
        self._logged_at: dict[int, float] = {}

    # -- what the subclasses bring -------------------------------------------------------------------------

    def rewind(self, tp: TP, offset: int) -> int:
        """See `Consumer.rewind`."""
        raise NotImplementedError

    async def _pump(self) -> None:
        raise NotImplementedError

    # -- errors ------------------------------------------------------------------------------------------

    def _on_client_error(self, error: KafkaError) -> None:
        """Called by the client, inside a poll, for errors that belong to no record."""
        try:
            self._on_error(error)
        except TransportError as failure:
            self._callback_error = self._callback_error or failure

    def _on_error(self, error: KafkaError) -> None:
        """Log what the client mends by itself; stop for what it cannot.

        Raises: TransportError for a fatal or hopeless error.
        """
        self.stats.errors += 1
        code = error.code()
        if error.fatal() or code in HOPELESS:
            raise TransportError(f"{error.name()}: {error.str()}")
        now = time.monotonic()
        if now - self._logged_at.get(code, -LOG_PAUSE_S) >= LOG_PAUSE_S:
            self._logged_at[code] = now
            logger.warning("transient: %s: %s", error.name(), error.str())

    async def on_task_error(self, exc: BaseException) -> None:
        """Called by Faust when an agent raised: stop the worker, and commit nothing any more.

        Faust would acknowledge the batch and go on, which loses it silently.
        """
        self._failed = True
        await self.crash(exc)

    # -- Faust's interface -------------------------------------------------------------------------------

    def assignment(self) -> set[TP]:
        """Return the partitions assigned now, followers included."""
        return set(self._partitions)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Nothing to seek: the client starts at the committed offsets and goes on from where it is."""
        return {}

    async def perform_seek(self) -> None:
        """See `seek_to_committed`."""

    async def _seek(self, partition: TP, offset: int) -> None:
        self.rewind(partition, offset)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Rewind each partition to its offset."""
        for tp, offset in partitions.items():
            self.rewind(tp, offset)

    async def position(self, tp: TP) -> int | None:
        """Return the next offset that will be handed over, None if it is not known."""
        partition = self._partitions.get(tp)
        return partition.handed if partition is not None and partition.handed >= 0 else None

    def highwater(self, tp: TP) -> int:
        """Return the high watermark of the last fetch, -1 if there was none. No request is made."""
        if self._client is None or self._closed:
            return -1
        try:
            _, high = self._client.get_watermark_offsets(
                ck.TopicPartition(tp.topic, tp.partition), cached=True
            )
        except KafkaException:
            return -1
        return int(high) if high >= 0 else -1

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the cached high watermarks."""
        return {tp: self.highwater(tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the first offset of each partition. Asks the broker."""

        def ask(tp: TP) -> int:
            return int(self._client.get_watermark_offsets(ck.TopicPartition(*tp), timeout=10.0)[0])

        return {tp: await asyncio.to_thread(ask, tp) for tp in partitions}

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Called by Faust now and then: warn of a batch that no agent finishes."""
        partition = self._partitions.get(tp)
        if partition is None or not partition.settle() or not self.flow_active:
            return
        age_s = now - (partition.unacked[0].time_in or now)
        if age_s > STUCK_S:
            logger.warning("%s: a batch has been with its agent for %.0f s", tp, age_s)

    def topic_partitions(self, topic: str) -> int | None:
        """Not known to this consumer."""
        return None

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Return the given partition: partitioning is the producer's business."""
        return partition

    async def create_topic(self, *args: Any, **kwargs: Any) -> None:
        """Create a topic through the producer."""
        await self.app.producer.create_topic(*args, **kwargs)

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        raise NotImplementedError("the pump makes messages")

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109
        raise NotImplementedError("the pump reads")

    async def _drain_messages(self, fetcher: Any) -> None:
        """Keep Faust's fetcher quiet: the pump reads, from the first subscription on."""
        with contextlib.suppress(asyncio.CancelledError):
            while not (self.should_stop or fetcher.should_stop):  # noqa: ASYNC110  two flags, no event
                await asyncio.sleep(0.5)
