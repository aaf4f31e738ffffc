"""Replays a partition's changelog and history into its store, in bulk.

The changelog is read from the stored position to its end. The group takes no more offsets from the old
owner, so nothing that it may still add will ever be committed; what it has left open is waited for, and ended
when it does not end by itself. The history (the de-dup table) is read from `elo.touches` up to the committed
offset.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
SILENCE_POLLS_MAX: Final = 1_800  # 90 s: it may restart, or wait 70 s until it ends a transaction
FETCH_WAIT_MS: Final = 20  # the broker tells the end of a partition only after this time
PATIENCE_S: Final = 0.5  # a transaction that stays open longer belongs to a worker that is gone


def read_log(
    settings: Settings,
    topic: str,
    partition: int,
    start: int,
    end: int = 0,
    release: Callable[[], None] = lambda: None,
) -> Iterator[list[Any]]:
    """Committed records of a partition from offset `start` to its end, in lists.

    Args:
        end: it goes at least so far, waiting for transactions that are open below.
        release: called when one of them stays open.

    Raises: Retryable when the broker is silent for 90 s.
    """
    return read_logs(settings, topic, {partition: start}, end, release)


def read_logs(
    settings: Settings,
    topic: str,
    starts: Mapping[int, int],
    end: int = 0,
    release: Callable[[], None] = lambda: None,
) -> Iterator[list[Any]]:
    """The same of several partitions: `starts` says from which offset. Each is read in its order."""
    consumer = Consumer(
        settings.reader_config(
            f"{settings.group}-restore",
            quiet=True,
            fetch_wait_max_ms=FETCH_WAIT_MS,
            fetch_max_bytes=4 * 1024 * 1024,
            max_partition_fetch_bytes=4 * 1024 * 1024,
            queued_max_messages_kbytes=8 * 1024,
            check_crcs=False,
        )
    )
    silent, waiting_since, reading = 0, 0.0, set(starts)
    try:
        consumer.assign([TopicPartition(topic, partition, start) for partition, start in starts.items()])
        while silent < SILENCE_POLLS_MAX:
            messages = consumer.consume(WRITE_RECORDS_MAX, POLL_S)
            silent = 0 if messages else silent + 1
            records = []
            for message in messages:
                error = message.error()
                if error is None:
                    records.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    if message.offset() >= end:  # Below it, a transaction is open.
                        reading.discard(message.partition())
                    waiting_since = waiting_since or time.monotonic()
                elif not error.retriable() and error.code() != KafkaError._ALL_BROKERS_DOWN:
                    raise KafkaException(error)
            if records:
                waiting_since = 0.0
                yield records
            if not reading:
                return
            if waiting_since and time.monotonic() - waiting_since > PATIENCE_S:
                release()
                waiting_since = time.monotonic()
        raise Retryable(
            "the broker is silent while a partition is restored", topic=topic, partitions=sorted(reading)
        )
    finally:
        consumer.close()


def partitions_of(settings: Settings, topic: str) -> int:
    """Partition count of a topic. Raises ConfigError if it does not exist."""
    found = AdminClient(settings.quiet_kafka_config()).list_topics(topic, timeout=30).topics[topic]
    if found.error is not None:
        raise ConfigError(f"topic {topic} does not exist, run `elo topics create`")
    return len(found.partitions)


def log_ends(settings: Settings, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """Partition → offset behind its last record, open transactions and their markers included."""
    consumer = Consumer(
        settings.quiet_kafka_config(
            group_id=f"{settings.group}-restore",
            enable_auto_commit=False,
            isolation_level="read_uncommitted",
        )
    )
    try:
        return {
            partition: int(consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)[1])
            for partition in partitions
        }
    finally:
        consumer.close()


def offsets_since(settings: Settings, topic: str, partitions: Iterable[int], at_ms: int) -> dict[int, int]:
    """Partition → offset of the first record that was logged at or after an instant, or of its end."""
    consumer = Consumer(
        settings.quiet_kafka_config(group_id=f"{settings.group}-restore", enable_auto_commit=False)
    )
    try:
        asked = [TopicPartition(topic, number, at_ms) for number in partitions]
        return {one.partition: one.offset for one in consumer.offsets_for_times(asked, timeout=30)}
    finally:
        consumer.close()


def describe_topics(settings: Settings, topics: Sequence[str]) -> list[tuple[str, int]]:
    """Id of the present incarnation, and partition count, of each topic. Raises KafkaException."""
    from confluent_kafka import TopicCollection

    admin = AdminClient(settings.quiet_kafka_config())
    futures = admin.describe_topics(TopicCollection(list(topics)), request_timeout=30)
    described = [futures[topic].result() for topic in topics]
    return [(str(one.topic_id), len(one.partitions)) for one in described]


def topic_id(settings: Settings, topic: str) -> str:
    """The id of this incarnation of a topic. Raises KafkaException."""
    return describe_topics(settings, (topic,))[0][0]


def restore(
    settings: Settings,
    store: Store,
    names: tuple[str, str],
    partition: int,
    touches_next: int,
    position: Position,
    history_since_ms: int,
    on_progress: Callable[[int], None],
    release: Callable[[], None],
) -> None:
    """Bring the store up to what Kafka holds.

    Args:
        names: the changelog topic and the touches topic.
        touches_next: committed offset of touches; the history goes no further.
        position: where the store stands; moved along.
        history_since_ms: older touches need not be remembered (broker time).
        on_progress: told the number of records replayed.
        release: ends the transaction that the last owner has left open.
    """
    state, touches = names
    end = log_ends(settings, state, (partition,))[partition]
    history_records = max(touches_next - position.touches_next, 0)
    remaining = Remaining(partition, max(end - position.state_next, 0) + history_records)
    for records in read_log(settings, state, partition, position.state_next, end, release):
        latest = {record.key(): record.value() for record in records}
        position.state_next = records[-1].offset() + 1
        position.at_ms = max(position.at_ms, records[-1].timestamp()[1])
        store.restore(latest.items(), position)
        on_progress(len(records))
        remaining.set(max(end - position.state_next, 0) + history_records)
        reach("restore.state")
    if history_records:
        for records in read_log(settings, touches, partition, position.touches_next):
            apply_history(store, records, position, touches_next, history_since_ms)
            on_progress(len(records))
            remaining.set(touches_next - position.touches_next)
            reach("restore.history")
            if position.touches_next >= touches_next:
                break
    remaining.set(0)


class Remaining:
    """How much of a restore is left, in records and in time. Offsets stand for records."""

    def __init__(self, partition: int, records: int) -> None:
        self._records = metrics.RESTORE_REMAINING.labels(partition)
        self._seconds = metrics.RESTORE_SECONDS.labels(partition)
        self._begun_at, self._begun_with = time.monotonic(), records

    def set(self, records: int) -> None:
        """So many are left."""
        done = self._begun_with - records
        elapsed_s = time.monotonic() - self._begun_at
        self._records.set(records)
        self._seconds.set(records * elapsed_s / done if done > 0 else 0)


def apply_history(
    store: Store, records: list[Any], position: Position, touches_next: int, history_since_ms: int
) -> None:
    """Remember the touches among `records` that lie below offset `touches_next`, apart from old ones."""
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
