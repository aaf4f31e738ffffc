"""From topics of Debezium to touchpoints: reads in a consumer group, sends, and commits what has arrived.

At least once: what a kill repeats has the same event ids. A change that cannot be read is kept on
`touchpoints.rejected` with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from pipeline.core.errors import Rejection, Retryable
from pipeline.runtime.schema_registry import RegistryClient
from pipeline.settings import Settings
from pipeline.wire.avro import RecordDecoder, encode_touchpoint

from .debezium import Order, read_change
from .mapping import RowMapping

BATCH_RECORDS: Final = 2_000
WAIT_S: Final = 0.2
FLUSH_S: Final = 60.0
FALLBACK_SOURCE: Final = "crm"


class Changes:
    """Follows topics of change events by one mapping. `group`: names how far this mapping has come."""

    def __init__(self, settings: Settings, topics: list[str], mapping: RowMapping, group: str) -> None:
        names = settings.topics()
        by_source = {names.source_of(name): name for name in names.touchpoints}
        self.topic = by_source.get(mapping.source, by_source[FALLBACK_SOURCE])
        self.rejected_topic = names.rejected
        self.mapping = mapping
        self.sent = self.refused = 0
        self._order = Order()
        self._decode: RecordDecoder | None = None
        if settings.schema_registry:
            # When it does not answer the command ends: a change must not be refused for that.
            registry = RegistryClient(settings.schema_registry.get_secret_value())
            self._decode = RecordDecoder(registry.schema_of)
        self._failures: list[KafkaError] = []
        self._ended: set[tuple[str | None, int | None]] = set()
        self._producer = Producer({
            **settings.kafka_config(enable_idempotence=True, linger_ms=settings.linger_ms,
                                    compression_type="lz4", message_max_bytes=9 * 1024 * 1024),
            "on_delivery": self._delivered,
            "delivery.report.only.error": True,
        })  # fmt: skip
        self._consumer = Consumer(settings.reader_config(f"{settings.group}.cdc.{group}"))
        self._consumer.subscribe(topics)

    def follow(self, goes_on: Callable[[], bool], *, exit_at_end: bool) -> None:
        """Read until `goes_on` says no, or with `exit_at_end` until all assigned partitions have ended."""
        try:
            while goes_on():
                records = self._consumer.consume(BATCH_RECORDS, WAIT_S)
                self._take(records)
                owned = {(part.topic, part.partition) for part in self._consumer.assignment()}
                if exit_at_end and owned and owned <= self._ended:
                    return
        finally:
            self._consumer.close()

    def _take(self, records: list[Message]) -> None:
        taken = 0
        for record in records:
            error = record.error()
            place = (record.topic(), record.partition())
            if error is None:
                self._ended.discard(place)
                self._send(record)
                taken += 1
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ended.add(place)
            elif error.fatal() or not error.retriable():
                raise KafkaException(error)
        if taken:
            if self._producer.flush(FLUSH_S) or self._failures:
                raise Retryable("the broker does not take touchpoints, start again: it goes on where it was")
            self._consumer.commit(asynchronous=False)

    def _send(self, record: Message) -> None:
        found = read_change(record.value(), self.mapping, self._decode)
        if isinstance(found, dict):
            self.sent += 1
            found["occurred_at"] = self._order.instant((record.topic(), record.key()), found["occurred_at"])
            first = found["identifiers"][0] if found["identifiers"] else None
            key = f"{first['type']}:{first['value']}" if first else None
            self._produce(self.topic, encode_touchpoint(found), key)
        elif found is not None:
            self.refused += 1
            self._produce(self.rejected_topic, record.value(), record.key(), headers=_headers(record, found))

    def _produce(self, topic: str, value: Any, key: Any, **more: Any) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, **more)
                return
            except BufferError:
                self._producer.poll(WAIT_S)

    def _delivered(self, error: KafkaError | None, _record: Message) -> None:
        if error is not None:
            self._failures.append(error)


def _headers(record: Message, found: Rejection) -> list[tuple[str, str]]:
    return [
        ("elo.reason", found.reason.value), ("elo.field", found.field), ("elo.detail", found.detail),
        ("elo.topic", str(record.topic())), ("elo.partition", str(record.partition())),
        ("elo.offset", str(record.offset())),
    ]  # fmt: skip
