"""Reading what Elo tells: output topics as records, live in a thread or once to their end; and the lag."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from pipeline.cli.kafka import client_config, connect, follow, partitions_of, positions, reader
from pipeline.core.errors import Rejection
from pipeline.settings import Settings
from pipeline.wire.avro import decode_record

LAG_S: Final = 1.0  # time between two looks at the offsets
REQUEST_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Told:
    """One output record. `kind`: membership, merge, rejected or failure; `received_ms`: wall clock.

    `record` has the field names of the schema; for a rejection `reason`; for a failure `error`.
    """

    kind: str
    record: Mapping[str, Any]
    received_ms: int


class OutputTopics:
    """The output topics of one deployment, with what their records mean."""

    def __init__(self, settings: Settings) -> None:
        topics = settings.topics()
        self.settings = settings
        self.kinds = {topics.membership: "membership", topics.merges: "merge", topics.rejected: "rejected"}
        self.partitions = partitions_of(connect(settings), tuple(self.kinds))

    def read(self, *, to_end: bool, stopped: Callable[[], bool] = lambda: False) -> Iterator[list[Told]]:
        """Yield committed records from the beginning; lists may be empty, so that the caller can look up."""
        consumer = reader(self.settings, positions(self.partitions, beginning=True))
        count = sum(len(numbers) for numbers in self.partitions.values())
        try:
            for messages in follow(consumer, count, to_end=to_end):
                now_ms = time.time_ns() // 1_000_000
                yield [told for message in messages if (told := self._told(message, now_ms)) is not None]
                if stopped():
                    return
        finally:
            consumer.close()

    def _told(self, message: Message, now_ms: int) -> Told | None:
        kind = self.kinds[str(message.topic())]
        if kind == "rejected":
            headers = dict(message.headers() or [])
            reason = headers.get("elo.reason") or b""
            text = reason if isinstance(reason, str) else reason.decode("utf-8", "replace")
            return Told(kind, {"reason": text}, now_ms)
        value = message.value()
        if value is None:  # the tombstone of an alias that has expired
            return None
        record = decode_record(value)
        if isinstance(record, Rejection):
            return Told("failure", {"error": f"{message.topic()} holds a bad record"}, now_ms)
        return Told(kind, record, now_ms)


class OutputThread:
    """Follows the output topics live; what arrives is in `queue`, in order of arrival."""

    def __init__(self, topics: OutputTopics) -> None:
        self.queue: SimpleQueue[Told] = SimpleQueue()
        self._topics = topics
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-outputs", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait until the consumer is closed."""
        self._stop.set()
        self._thread.join()

    def take(self) -> list[Told]:
        """What has arrived since the last call."""
        return [self.queue.get() for _ in range(self.queue.qsize())]

    def _run(self) -> None:
        try:
            for batch in self._topics.read(to_end=False, stopped=self._stop.is_set):
                for told in batch:
                    self.queue.put(told)
        except Exception as error:  # noqa: BLE001  the edge of the thread: it ends the demo
            self.queue.put(Told("failure", {"error": f"reading the outputs failed, {error}"}, 0))


class LagThread:
    """Looks at a group's offsets once a second. `lag`: records not yet committed, None before a first look.

    `handled`: touches that have been committed by the resolver so far. `looks`: answers so far.
    """

    def __init__(self, settings: Settings) -> None:
        topics = settings.topics()
        found = partitions_of(connect(settings), (*topics.touchpoints, topics.touches))
        self.lag: int | None = None
        self.handled = 0
        self.looks = 0
        self._touches = topics.touches
        self._asked = [
            TopicPartition(topic, number) for topic, numbers in found.items() for number in numbers
        ]
        self._consumer = Consumer(client_config(settings, group_id=settings.group, enable_auto_commit=False))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-lag", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait until the client is closed."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LAG_S):
            try:
                self._look()
            except KafkaException:
                self.lag = None  # the broker is busy or gone; the next look, or the worker's end, will tell
        self._consumer.close()

    def _look(self) -> None:
        lag = handled = 0
        for entry in self._consumer.committed(self._asked, timeout=REQUEST_S):
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(entry.topic, entry.partition), timeout=REQUEST_S
            )
            at = max(entry.offset, low)
            lag += max(0, high - at)
            if entry.topic == self._touches:
                handled += at
        self.lag, self.handled = lag, handled
        self.looks += 1
