"""The last owner of a partition: where it stopped, and the transaction that it may have left open.

The offsets of a partition carry a note that names the producer which committed them. When its transaction
stays open although the group has given the partition away, its worker is gone: the transaction is ended in
its name, so that neither the new owner nor the readers of the outputs wait for the broker's time limit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ..settings import Settings
from .checkpoint import OPERATION_TIMEOUT_S, TRANSACTION_TIMEOUT_MS, fence

PATIENCE_S: Final = 1.0  # a commit that is under way takes milliseconds
OPEN: Final = (KafkaError._TIMED_OUT, KafkaError.UNSTABLE_OFFSET_COMMIT)
"""What `committed` answers while the offsets are inside an open transaction."""
_fencing: Final = threading.Lock()
_fenced_at: Final[dict[str, float]] = {}


class Owner:
    """Who committed the offsets of a partition last; `transactional_id` is empty if nobody did."""

    def __init__(self, settings: Settings, transactional_id: str, is_this_worker: bool) -> None:
        self.transactional_id = transactional_id
        self.is_this_worker = is_this_worker
        self._settings = settings

    def release(self) -> None:
        """End the transaction that it has left open. Several partitions of one owner ask once.

        This worker's own ends by itself, or when its producer is made anew.
        """
        if not self.transactional_id or self.is_this_worker:
            return
        asked_at = time.monotonic()
        with _fencing:
            if _fenced_at.get(self.transactional_id, 0.0) < asked_at:
                fence(self._settings, self.transactional_id)
                _fenced_at[self.transactional_id] = time.monotonic()


def last_owner(settings: Settings, touches: str, partition: int, transactional_id: str) -> Owner:
    """Read the note beside the committed offset of touches. `transactional_id`: of this worker."""
    consumer = _asker(settings, "read_uncommitted")
    try:
        entry = _committed(consumer, (touches,), partition, lambda: None)[0]
    finally:
        consumer.close()
    name = str(note_of(entry).get("by", ""))
    return Owner(settings, name, name == transactional_id)


def note_of(entry: TopicPartition) -> Mapping[str, Any]:
    """The note beside a committed offset; empty if there is none that can be read."""
    try:
        note = orjson.loads(entry.metadata or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return note if isinstance(note, dict) else {}


def notes_of(settings: Settings, touches: str, partitions: int) -> list[Mapping[str, Any]]:
    """The notes of all partitions."""
    consumer = _asker(settings, "read_uncommitted")
    try:
        asked = [TopicPartition(touches, number) for number in range(partitions)]
        return [note_of(entry) for entry in consumer.committed(asked, timeout=OPERATION_TIMEOUT_S)]
    finally:
        consumer.close()


def committed_offsets(
    settings: Settings, topics: tuple[str, ...], partition: int, owner: Owner
) -> tuple[dict[str, int], Mapping[str, Any]]:
    """Topic → next offset to read, as the group has it, 0 where nothing was ever committed; and the note
    beside that of the first topic.

    Offsets inside an open transaction are waited for: it may still be committed.
    Raises: KafkaException when the broker does not tell them for longer than a transaction may last.
    """
    consumer = _asker(settings, "read_committed")
    try:
        answered = _committed(consumer, topics, partition, owner.release)
        return {entry.topic: max(entry.offset, 0) for entry in answered}, note_of(answered[0])
    finally:
        consumer.close()


def _committed(
    consumer: Consumer, topics: tuple[str, ...], partition: int, release: Callable[[], None]
) -> list[TopicPartition]:
    deadline = time.monotonic() + TRANSACTION_TIMEOUT_MS / 1000 + OPERATION_TIMEOUT_S
    asked = [TopicPartition(topic, partition) for topic in topics]
    while True:
        try:
            answered = consumer.committed(asked, timeout=PATIENCE_S)
            for entry in answered:
                if entry.error is not None:
                    raise KafkaException(entry.error)
            return answered
        except KafkaException as failure:
            if failure.args[0].code() not in OPEN or time.monotonic() > deadline:
                raise
        release()


def _asker(settings: Settings, isolation_level: str) -> Consumer:
    return Consumer(
        settings.quiet_kafka_config(
            group_id=settings.group, enable_auto_commit=False, isolation_level=isolation_level
        )
    )
