"""The intake: decode, check, normalise and route touchpoints and decisions. Stateless and idempotent.

It delivers at least once; a repetition dies at the identifier's history. Offsets are committed after the
producer has been flushed, so nothing acknowledged is lost. One bad touchpoint never harms its batch.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from confluent_kafka import KafkaError, Producer

from ..core import cloudevent, contact
from ..core.decision_reader import DecisionReader
from ..core.decisions import STEWARD_LABEL, Decision
from ..core.errors import InvariantViolation, Reason, Rejection, Retryable
from ..core.policy import Policy
from ..core.touch import Touch, encode_marked, encode_touch, partition_origin
from ..core.touchpoint import TouchpointReader, with_trace
from ..settings import Settings
from ..topics import REJECTED_BYTES_MAX, Topics
from ..wire.avro import TouchpointDecoder
from . import metrics
from .crashpoints import reach
from .schema_registry import LOOKUP_S, RegistryClient, SchemaLookup
from .traces import LINKS_MAX, Traced

if TYPE_CHECKING:
    from .otel import Spans

SLICE_RECORDS: Final = 250  # records handled before the loop may turn to others: about 5 ms
OUTSTANDING_MAX: Final = 200_000  # records handed to the producer and not yet acknowledged
FLUSH_FREELY_S: Final = 1.0  # a flush lets more touches come meanwhile for so long
FLUSH_TIMEOUT_S: Final = 60.0


class Intake:
    """From `touchpoints.*` and `identity.decisions` to `elo.touches` and `touchpoints.rejected`."""

    def __init__(
        self, settings: Settings, topics: Topics, partitions: int, spans: Spans | None = None
    ) -> None:
        self.topics = topics
        self._group, self._spans = settings.group, spans
        self._traced: Traced | None = None
        """Traces of the batch under way, where spans are made."""
        self.partitions = partitions
        self._registered = settings.sources
        registry = settings.schema_registry
        self._lookup = (
            SchemaLookup(RegistryClient(registry.get_secret_value(), LOOKUP_S)) if registry else None
        )
        self._policy: Policy | None = None
        self._has_policy, self._may_send = asyncio.Event(), asyncio.Event()
        self._may_send.set()
        self._failure: KafkaError | None = None
        self._left_out = (0, 0)
        self.handled_ms: dict[tuple[str, int], int] = {}
        """Topic and partition → timestamp of the last record handled."""
        self._sources = {
            topic: metrics.TOUCHPOINTS.labels(topics.source_of(topic)) for topic in topics.touchpoints
        }
        self._rejected = {reason: metrics.REJECTED.labels(reason) for reason in Reason}
        self._producer = Producer(
            {
                **settings.kafka_config(
                    enable_idempotence=True,
                    linger_ms=settings.linger_ms,
                    compression_type="lz4",
                    queue_buffering_max_messages=2_000_000,
                    message_max_bytes=REJECTED_BYTES_MAX,
                    batch_size=256 * 1024,
                ),
                "delivery.report.only.error": True,
                "on_delivery": self._undelivered,
            }
        )

    def _undelivered(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._failure = error

    def use(self, policy: Policy) -> None:
        """Read touchpoints by this policy from now on, unless it is older than that in use.

        Every partition must understand it: what the intake lets through is routed there.
        """
        if self._policy is None or policy.version > self._policy.version:
            self._policy = policy
            self.reader = TouchpointReader(policy, self._registered, TouchpointDecoder(lookup=self._lookup))
            self.decisions, self.contacts = DecisionReader(policy), contact.Contacts(policy)
            self._left_out = (0, 0)
            self._has_policy.set()

    async def handle(self, records: list[Any]) -> None:
        """Handle the records of one batch. When it returns, all are with the producer.

        It waits for the first partition that is opened here: the policy in force is in its state.
        """
        await self._has_policy.wait()
        if self._spans is not None:
            self._traced = Traced(LINKS_MAX)
        for start in range(0, len(records), SLICE_RECORDS):
            while len(self._producer) > OUTSTANDING_MAX:
                self._producer.poll(0)
                await asyncio.sleep(0.005)
            await self._may_send.wait()
            self._handle_slice(records[start : start + SLICE_RECORDS])
            await asyncio.sleep(0)
        last = records[-1]
        self.handled_ms[last.topic(), last.partition()] = last.timestamp()[1]
        if self._spans is not None and self._traced is not None:
            self._spans.batch(last.topic(), self._traced, len(records), self._group)

    def lag_seconds(self, topic: str, partition: int, now_ms: int) -> float:
        """Age of the last record handled of a partition of which some wait, s."""
        return max(now_ms - self.handled_ms.get((topic, partition), now_ms), 0) / 1000

    def _handle_slice(self, records: list[Any]) -> None:
        if records[0].topic() == self.topics.decisions:
            self._handle_decisions(records)
        else:
            self._handle_touchpoints(records)
        self._producer.poll(0)
        self._check()

    def _handle_decisions(self, records: list[Any]) -> None:
        now_ms = time.time_ns() // 1_000_000
        for record in records:
            try:
                told = self.decisions.read(record.key(), record.value(), record.timestamp()[1], now_ms)
            except Exception as error:  # noqa: BLE001 - what no check foresaw is kept
                told = Rejection(Reason.INTERNAL_ERROR, detail=type(error).__name__)
            if isinstance(told, Rejection):
                self._reject(record, told)
            else:
                self._send_decision(told.decision, told.touches(), self._origin_of(record))

    def _origin_of(self, record: Any) -> int:
        number = self.topics.inputs.index(record.topic()) + 1
        return partition_origin(number, record.partition()) + int(record.offset())

    def _send_decision(self, decision: Decision, touches: list[Touch], origin: int = 0) -> None:
        metrics.DECISIONS.labels(decision.source or STEWARD_LABEL, decision.action.value).inc()
        metrics.SENT.inc(len(touches))
        for touch in touches:
            key, value = touch.identifiers[0].encode(), encode_marked(touch, origin)
            try:
                self._producer.produce(self.topics.touches, value, key, crc32(key) % self.partitions)
            except BufferError:
                self._wait_for_room()
                self._producer.produce(self.topics.touches, value, key, crc32(key) % self.partitions)

    def _send_contact(self, touch: Touch) -> Rejection | None:
        """Send what a source has decided about its contacts; or say why it cannot be. The touch itself, which
        has the origin, follows.
        """
        decision = self.contacts.decision_in(touch)
        if isinstance(decision, Decision):
            self._send_decision(decision, decision.touches())
            return None
        return decision

    def _handle_touchpoints(self, records: list[Any]) -> None:
        now_ms = time.time_ns() // 1_000_000
        read, produce, touches, partitions = (
            self.reader.read,
            self._producer.produce,
            self.topics.touches,
            self.partitions,
        )
        begin, rejected = self._origin_of(records[0]) - records[0].offset(), 0
        traced = self._traced
        for record in records:
            try:
                touch = read(record.value(), now_ms)
                if touch.__class__ is Rejection and touch.field == "event_id":
                    touch = self._read_cloudevent(record, now_ms) or touch
                if touch.__class__ is not Rejection and touch.type in contact.KINDS:
                    touch = self._send_contact(touch) or touch
            except Exception as error:  # noqa: BLE001 - what no check foresaw is kept
                touch = Rejection(Reason.INTERNAL_ERROR, detail=type(error).__name__)
            if touch.__class__ is Rejection:
                self._reject(record, touch)
                rejected += 1
                continue
            if headers := record.headers():
                touch = with_trace(touch, headers)
            if traced is not None and touch.traceparent:
                traced.add(touch.traceparent)
            key, value = touch.identifiers[0].encode(), encode_touch(touch, begin + record.offset())
            try:
                produce(touches, value, key, crc32(key) % partitions)
            except BufferError:
                self._wait_for_room()
                produce(touches, value, key, crc32(key) % partitions)
        self._sources[records[0].topic()].inc(len(records))
        metrics.SENT.inc(len(records) - rejected)
        self._count_left_out()

    def _read_cloudevent(self, record: Any, now_ms: int) -> Touch | Rejection | None:
        """What has no event id of its own may be a CloudEvent, with the id in its envelope."""
        source = self.topics.source_of(record.topic())
        found = cloudevent.touchpoint_of(record.value(), record.headers() or (), source)
        return None if found is None else self.reader.judge(found, now_ms)

    def _reject(self, record: Any, rejection: Rejection) -> None:
        told = [
            ("elo.reason", rejection.reason),
            ("elo.field", rejection.field),
            ("elo.detail", rejection.detail),
            ("elo.topic", record.topic()), ("elo.partition", str(record.partition())),
            ("elo.offset", str(record.offset())),
        ]  # fmt: skip
        # A letter that was sent again with its headers says only why it is rejected now.
        names = {name for name, _ in told}
        headers = [*(one for one in record.headers() or () if one[0] not in names), *told]
        try:
            self._producer.produce(self.topics.rejected, record.value(), record.key(), headers=headers)
        except BufferError:
            self._wait_for_room()
            self._producer.produce(self.topics.rejected, record.value(), record.key(), headers=headers)
        self._rejected[rejection.reason].inc()

    def _wait_for_room(self) -> None:
        """The local queue is full (large rejected values): wait until the broker has taken it."""
        if self._producer.flush(FLUSH_TIMEOUT_S):
            raise Retryable("the broker does not take touches")

    def _count_left_out(self) -> None:
        unknown, unusable = self.reader.left_out_unknown, self.reader.left_out_unusable
        if (unknown, unusable) != self._left_out:
            metrics.LEFT_OUT.labels("unknown_type").inc(unknown - self._left_out[0])
            metrics.LEFT_OUT.labels("unusable").inc(unusable - self._left_out[1])
            self._left_out = unknown, unusable

    def _check(self) -> None:
        if self._failure is not None:
            raise InvariantViolation("a touch could not be delivered", error=self._failure.name())

    async def flush(self) -> None:
        """Wait until the broker has everything.

        Flushed is an empty queue. Under load there may be none: touches come sooner than acknowledgements. So
        nothing is sent any more, after a while, until there is.
        Raises when it does not: offsets must not be committed then.
        """
        reach("intake.before_flush")
        left = await asyncio.to_thread(self._producer.flush, FLUSH_FREELY_S)
        if left:
            self._may_send.clear()
            try:
                left = await asyncio.to_thread(self._producer.flush, FLUSH_TIMEOUT_S)
            finally:
                self._may_send.set()
        self._check()
        if left:
            raise Retryable("the broker does not acknowledge touches", outstanding=left)
        reach("intake.after_flush")
