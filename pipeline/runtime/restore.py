"""Replays a partition's changelog and history into its store, in bulk.

The changelog is read from the stored position to its end; the caller has fenced the old owner before, so
nothing is added meanwhile. The history (the de-dup table) is read from `elo.touches` up to the committed
offset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from ..core.errors import ConfigError, Retryable
from ..core.touch import EVENT_HASH
from ..settings import Settings
from . import metrics
from .crashpoints import reach
from .store import WRITE_RECORDS_MAX, Position, Store, history_key, pack_seen

POLL_S: Final = 0.05  # a poll sits it out whenever fewer records are there than it asked for
SILENCE_POLLS_MAX: Final = 1_200  # a minute: the broker may restart meanwhile
FETCH_WAIT_MS: Final = 20  # the broker tells the end of a partition only after this time


def read_log(settings: Settings, topic: str, partition: int, start: int) -> Iterator[list[Any]]:
    """Committed records of a partition from offset `start` to its present end, in lists.

    Raises: Retryable when the broker is silent for a minute.
    """
    consumer = Consumer(
        settings.kafka_config(
            group_id=f"{settings.group}-restore",
            enable_auto_commit=False,
            isolation_level="read_committed",
            enable_partition_eof=True,
            auto_offset_reset="earliest",
            fetch_wait_max_ms=FETCH_WAIT_MS,
            fetch_max_bytes=4 * 1024 * 1024,
            max_partition_fetch_bytes=4 * 1024 * 1024,
            queued_max_messages_kbytes=8 * 1024,
            check_crcs=False,
        )
    )
    silent = 0
    try:
        consumer.assign([TopicPartition(topic, partition, start)])
        while silent < SILENCE_POLLS_MAX:
            messages = consumer.consume(WRITE_RECORDS_MAX, POLL_S)
            silent = 0 if messages else silent + 1
            records = []
            ended = False
            for message in messages:
                error = message.error()
                if error is None:
                    records.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended = True
                elif not error.retriable() and error.code() != KafkaError._ALL_BROKERS_DOWN:
                    raise KafkaException(error)
            if records:
                yield records
            if ended:
                return
        raise Retryable(
            "the broker is silent while a partition is restored", topic=topic, partition=partition
        )
    finally:
        consumer.close()


def partitions_of(settings: Settings, topic: str) -> int:
    """Partition count of a topic. Raises ConfigError if it does not exist."""
    found = AdminClient(settings.kafka_config()).list_topics(topic, timeout=30).topics[topic]
    if found.error is not None:
        raise ConfigError(f"topic {topic} does not exist, run `elo topics create`")
    return len(found.partitions)


def log_end(settings: Settings, topic: str, partition: int) -> int:
    """The offset behind the last record of a partition, transaction markers included."""
    consumer = Consumer(settings.kafka_config(group_id=f"{settings.group}-restore", enable_auto_commit=False))
    try:
        return int(consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)[1])
    finally:
        consumer.close()


def topic_id(settings: Settings, topic: str) -> str:
    """The id of this incarnation of a topic. Raises KafkaException."""
    from confluent_kafka import TopicCollection

    admin = AdminClient(settings.kafka_config())
    described = admin.describe_topics(TopicCollection([topic]), request_timeout=30)[topic].result()
    return str(described.topic_id)


def restore(
    settings: Settings,
    store: Store,
    names: tuple[str, str],
    partition: int,
    touches_next: int,
    position: Position,
    history_since_ms: int,
    on_progress: Callable[[int], None],
) -> None:
    """Bring the store up to what Kafka holds.

    Args:
        names: the changelog topic and the touches topic.
        touches_next: committed offset of touches; the history goes no further.
        position: where the store stands; moved along.
        history_since_ms: older touches need not be remembered (broker time).
        on_progress: told the number of records replayed.
    """
    state, touches = names
    remaining = metrics.RESTORE_REMAINING.labels(partition)
    end = log_end(settings, state, partition)
    history_records = max(touches_next - position.touches_next, 0)
    for records in read_log(settings, state, partition, position.state_next):
        latest = {record.key(): record.value() for record in records}
        position.state_next = records[-1].offset() + 1
        position.at_ms = max(position.at_ms, records[-1].timestamp()[1])
        store.restore(latest.items(), position)
        on_progress(len(records))
        remaining.set(max(end - position.state_next, 0) + history_records)
        reach("restore.state")
    if history_records:
        for records in read_log(settings, touches, partition, position.touches_next):
            _restore_history(store, records, position, touches_next, history_since_ms)
            on_progress(len(records))
            remaining.set(touches_next - position.touches_next)
            reach("restore.history")
            if position.touches_next >= touches_next:
                break
    remaining.set(0)


def _restore_history(
    store: Store, records: list[Any], position: Position, touches_next: int, history_since_ms: int
) -> None:
    seen = []
    for record in records:
        if record.offset() >= touches_next:
            break
        at_ms = record.timestamp()[1]
        if at_ms >= history_since_ms:
            seen.append(
                (history_key(record.key(), record.value()[EVENT_HASH]), pack_seen(record.offset(), at_ms))
            )
    position.touches_next = min(records[-1].offset() + 1, touches_next)
    store.restore_history(seen, position)
