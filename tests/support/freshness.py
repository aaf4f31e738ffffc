"""How long it takes from a touchpoint to the membership change that it causes, as a consumer sees it.

Every newcomer is seen once and enters one segment at once, so each touchpoint has exactly one change.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from pipeline.cli.kafka import connect, partitions_of

from .crowd import Touchpoint
from .fleet import Fleet, decode

LANDED: Final[dict[str, Any]] = {"id": "landed", "where": {"event": "landed", "within": "1h"}}
READY_S: Final = 30.0


class Newcomers:
    """Touchpoints of people who come now, one each."""

    def __init__(self, seed: int) -> None:
        """Nobody has come yet."""
        self.seed = seed
        self.sent: list[Touchpoint] = []
        self.sent_at: dict[str, float] = {}

    def take(self, count: int) -> list[Touchpoint]:
        """The next ones."""
        now_s = time.time()
        made = []
        for _ in range(count):
            number = len(self.sent)
            event_id = f"n{self.seed}-{number}"
            touchpoint: Touchpoint = {
                "event_id": event_id,
                "source": "web",
                "type": "landed",
                "occurred_at": int(now_s * 1000),
                "identifiers": [{"type": "anonymous_id", "value": f"new{self.seed}-{number}"}],
            }
            self.sent.append(touchpoint)
            self.sent_at[event_id] = now_s
            made.append(touchpoint)
        return made


class Stopwatch:
    """Reads changes as they are committed, on a thread; `seen_at`: event id → when its change was there."""

    def __init__(self, fleet: Fleet) -> None:
        """Read from the present end on."""
        self.seen_at: dict[str, float] = {}
        self._stopping = threading.Event()
        topic = f"{fleet.prefix}segments.membership"
        numbers = partitions_of(connect(fleet.settings), [topic])[topic]
        self._consumer = Consumer(
            {
                "bootstrap.servers": fleet.bootstrap,
                "group.id": f"{fleet.prefix}stopwatch",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 20,
                "topic.metadata.refresh.interval.ms": 2_000,
            }
        )
        self._consumer.assign([TopicPartition(topic, number, OFFSET_END) for number in numbers])
        self._consumer.consume(1, 1.0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            first = self._consumer.poll(0.05)
            messages = [] if first is None else [first, *self._consumer.consume(500, 0)]
            now_s = time.time()
            for message in messages:
                if message.error() is None:
                    change = decode(message.value())
                    if change["segment_id"] == LANDED["id"] and change["change"] == "entered":
                        self.seen_at[change["event_ids"][0]] = now_s
        self._consumer.close()

    def stop(self) -> None:
        """Read no more."""
        self._stopping.set()
        self._thread.join()

    def delays(self, newcomers: Newcomers, from_s: float, to_s: float) -> list[float]:
        """Seconds from touchpoint to change of those sent in the span, ascending. Each must have a change."""
        found = []
        for event_id, sent_at in newcomers.sent_at.items():
            if from_s <= sent_at < to_s:
                assert event_id in self.seen_at, f"{event_id} has no change"
                found.append(self.seen_at[event_id] - sent_at)
        return sorted(found)


def percentile(ascending: list[float], share: float) -> float:
    """The value below which so many of them lie."""
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]
