"""Moves records between partitions, in transactions: what `elo topics grow` does to Kafka.

It must not know what the records mean.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from confluent_kafka import TIMESTAMP_CREATE_TIME, Consumer, KafkaException, TopicPartition

from ..core.errors import ConfigError
from ..settings import Settings
from .checkpoint import make_producer
from .crashpoints import reach

REQUEST_S: Final = 30.0
TRIES_MAX: Final = 100

Letter = tuple[str, int, bytes, bytes | None, int, Any]
"""Topic, partition, key, value, time (ms; 0: now) and headers of a record."""


class Log:
    """Transactions of one growth, and where groups are."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stamped = (settings.topics().touches, settings.topics().mail)
        self._producer: Any = None

    def open(self) -> None:
        """Begin; it ends the transaction that a growth which was killed has left open."""
        self._producer = make_producer(self._settings, f"{self._settings.group}-grow")
        self._producer.init_transactions(REQUEST_S)

    def send(
        self, records: Iterable[Letter], offsets: Iterable[tuple[str, list[TopicPartition]]] = ()
    ) -> None:
        """One transaction: records, and offsets of groups that have no members.

        Touches and mail keep their times: it is done again until the broker has heard that they do.
        """
        records, offsets = list(records), list(offsets)
        if not records and not offsets:
            return
        for _ in range(TRIES_MAX):
            if self._try(records, offsets):
                return
            time.sleep(0.1)
        raise ConfigError(f"the broker puts its own time on {self._stamped[0]}, look at its log")

    def _try(self, records: list[Letter], offsets: list[tuple[str, list[TopicPartition]]]) -> bool:
        """Returns whether it was committed; if not, times were not kept."""
        producer, wrong = self._producer, 0

        def delivered(error: Any, message: Any) -> None:
            nonlocal wrong
            if error is None and message.topic() in self._stamped:
                wrong += message.timestamp()[0] != TIMESTAMP_CREATE_TIME

        producer.begin_transaction()
        for topic, partition, key, value, at_ms, headers in records:
            producer.produce(
                topic, value, key, partition, on_delivery=delivered, timestamp=at_ms, headers=headers
            )
            producer.poll(0)
        producer.flush()
        if wrong:
            producer.abort_transaction(REQUEST_S)
            return False
        reach("grow.sent")
        for group, places in offsets:
            producer.send_offsets_to_transaction(places, self._membership(group))
        producer.commit_transaction(REQUEST_S)
        return True

    def committed(self, group: str, topics: list[str], partition: int) -> dict[str, TopicPartition]:
        """Topic → where a group is; an offset below 0 where it is nowhere yet."""
        consumer = self._asker(group)
        try:
            asked = [TopicPartition(topic, partition) for topic in topics]
            answered = consumer.committed(asked, timeout=REQUEST_S)
        finally:
            consumer.close()
        for entry in answered:
            if entry.error is not None:
                raise KafkaException(entry.error)
        return {entry.topic: entry for entry in answered}

    def _membership(self, group: str) -> Any:
        """What a transaction shows of a group that has no members."""
        consumer = self._asker(group)
        try:
            return consumer.consumer_group_metadata()
        finally:
            consumer.close()

    def _asker(self, group: str) -> Consumer:
        return Consumer(
            self._settings.kafka_config(
                group_id=group, enable_auto_commit=False, isolation_level="read_committed"
            )
        )
