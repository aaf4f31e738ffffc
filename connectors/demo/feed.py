"""From the shop to the topics: what is due is written down as Avro or JSON and sent."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from connectors.shop import Emission, Shop
from connectors.shop.malformed import as_json
from pipeline.cli.kafka import client_config
from pipeline.settings import Settings
from pipeline.topics import INPUT_BYTES_MAX
from pipeline.wire.avro import encode_touchpoint

from .diary import Diary

JSON_SOURCES: Final = ("crm",)  # its exports are JSON, everything else is Avro: Elo takes both
FLUSH_S: Final = 30.0


class Feed:
    """Sends a shop's emissions when they are due, and keeps the diary. Used by one thread."""

    def __init__(self, settings: Settings, shop: Shop, diary: Diary) -> None:
        self.shop = shop
        self.diary = diary
        self.sent = 0
        self._prefix = settings.topic_prefix
        self._failure: KafkaError | None = None
        config = client_config(
            settings, enable_idempotence=True, linger_ms=2, message_max_bytes=INPUT_BYTES_MAX
        )
        self._producer = Producer(config)

    def pump(self, now_ms: int) -> None:
        """Send everything that is due. Raises KafkaException when the broker refused one."""
        for emission in self.shop.until(now_ms):
            self._send(emission, now_ms)
        self._producer.poll(0)
        if self._failure is not None:
            raise KafkaException(self._failure)

    def close(self) -> None:
        """Wait until the broker has everything. Raises KafkaException when it has not."""
        left = self._producer.flush(FLUSH_S)
        if self._failure is not None or left:
            raise KafkaException(self._failure or KafkaError(KafkaError._TIMED_OUT))

    def _send(self, emission: Emission, now_ms: int) -> None:
        value = encode(emission)
        while True:
            try:
                self._producer.produce(
                    f"{self._prefix}touchpoints.{emission.source}", value, on_delivery=self._delivered
                )
                break
            except BufferError:
                self._producer.poll(0.05)
        self.sent += 1
        if emission.identifier and isinstance(emission.value, dict):
            self.diary.note(emission.value, emission.identifier, now_ms)

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._failure = error


def encode(emission: Emission) -> bytes:
    """The bytes of an emission."""
    if isinstance(emission.value, bytes):
        return emission.value
    return as_json(emission.value) if emission.source in JSON_SOURCES else encode_touchpoint(emission.value)
