"""Touchpoints onto the topics: all at once before a run, or paced during one. Same bytes for every system."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from pipeline.topics import Topics
from pipeline.wire.avro import encode_record

from .cluster import Cluster
from .generator import Event, Record

PACE_S: Final = (
    0.002  # the paced producer wakes so often; waking for each touchpoint would cost a third of a core
)


def encode(record: Record) -> bytes:
    """One touchpoint as it goes onto its topic."""
    return encode_record("touchpoint", record)


def load(
    cluster: Cluster, topics: Topics, events: Iterable[Event], takers: Iterable[Callable[[Record], None]]
) -> int:
    """Produce all touchpoints as fast as possible and show each to every taker; return the bytes."""
    producer = cluster.producer(linger_ms=20, batch_size=262_144, queue_buffering_max_messages=1_000_000)
    topic_of = {topics.source_of(topic): topic for topic in topics.touchpoints}
    takers = tuple(takers)
    size = 0
    for event in events:
        for take in takers:
            take(event.record)
        value = encode(event.record)
        size += len(value)
        producer.produce(topic_of[event.source], value, event.key)
        producer.poll(0)
    producer.flush()
    return size


@dataclass(frozen=True, slots=True)
class Paced:
    """What a paced load was. `sent`: event id → instant of its first produce(), seconds since the epoch."""

    sent: dict[str, float]
    late_s: float


class PacedLoad:
    """Touchpoints, encoded beforehand, to be produced at a steady rate."""

    def __init__(self, topics: Topics, events: Iterable[Event]) -> None:
        topic_of = {topics.source_of(topic): topic for topic in topics.touchpoints}
        self._ready = [
            (topic_of[event.source], event.key, encode(event.record), event.record["event_id"])
            for event in events
        ]

    def run(
        self,
        cluster: Cluster,
        rate: int,
        at_index: dict[int, Callable[[], None]],
        stopping: threading.Event | None = None,
    ) -> Paced:
        """Produce everything at `rate` a second. `at_index`: what to call just before which touchpoint.

        `stopping`: set by another thread when it is to end early.
        """
        producer = cluster.producer(linger_ms=1, queue_buffering_max_messages=1_000_000)
        sent: dict[str, float] = {}
        started = time.time()
        for index, (topic, key, value, event_id) in enumerate(self._ready):
            if stopping is not None and stopping.is_set():
                break
            due = started + index / rate
            while time.time() < due:
                time.sleep(PACE_S)
            if index in at_index:
                at_index[index]()
            sent.setdefault(event_id, time.time())
            producer.produce(topic, value, key)
            producer.poll(0)
        producer.flush()
        return Paced(sent, round(time.time() - started - len(self._ready) / rate, 2))
