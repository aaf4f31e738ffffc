"""Touch → change at a paced load: from produce() of a touchpoint to its change at a read-committed reader."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from confluent_kafka import TopicPartition

from pipeline.topics import Topics

from .cluster import Cluster
from .generator import Event
from .load import Paced, PacedLoad
from .machine import Meter, Sample, Usage, usage
from .options import Options
from .report import Row, make_row

DRAIN_S: Final = 30  # a system that has not answered so long after the load did not hold the rate
HELD_S: Final = 5


class Seen(NamedTuple):
    """One output record: its value, the broker's timestamp, and when it came (seconds since the epoch)."""

    value: bytes
    appended_at: float
    visible_at: float


class Watcher:
    """Reads a topic in a thread as a downstream user would: committed records, without waiting for more."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self.seen: list[Seen] = []
        self._ended = threading.Event()
        starts = [TopicPartition(*place, 0) for place in cluster.places([topic])]
        self._consumer = cluster.consumer(starts, fetch_wait_max_ms=10, enable_partition_eof=False)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._ended.is_set():
            for message in self._consumer.consume(500, 0.01):
                if message.error() is None:
                    self.seen.append(Seen(message.value() or b"", message.timestamp()[1] / 1e3, time.time()))

    def stop(self) -> list[Seen]:
        """Stop reading and return everything that came."""
        self._ended.set()
        self._thread.join()
        self._consumer.close()
        return self.seen


@dataclass(frozen=True, slots=True)
class LatencyResult:
    """What a paced run gave: what was sent and seen, and whether the system kept up."""

    options: Options
    n: int
    paced: Paced
    seen: Sequence[Seen]
    measured_from: float
    used: Usage
    held: bool

    def delays(self, touch_of: Callable[[Seen], str | None]) -> list[tuple[float, float]]:
        """Milliseconds until visible, and until appended, of each change in the measured time."""
        found = []
        for seen in self.seen:
            touch = touch_of(seen)
            sent_at = self.paced.sent.get(touch, 0.0) if touch else 0.0
            if sent_at >= self.measured_from:
                found.append(((seen.visible_at - sent_at) * 1e3, (seen.appended_at - sent_at) * 1e3))
        return found

    def make_row(self, system: str, touch_of: Callable[[Seen], str | None], **fields: object) -> Row:
        """The result row. `touch_of`: the touchpoint that a change answers; None leaves the change out."""
        delays = self.delays(touch_of)
        visible_ms, appended_ms = [visible for visible, _ in delays], [appended for _, appended in delays]
        differences = fields.pop("differences", None)
        return make_row(
            "latency",
            system,
            n=self.n,
            workers=1,
            partitions=self.options.partitions,
            rate=self.options.rate,
            samples=len(visible_ms),
            p50_ms=percentile(visible_ms, 0.50),
            p99_ms=percentile(visible_ms, 0.99),
            max_ms=percentile(visible_ms, 1.0),
            appended_p50_ms=percentile(appended_ms, 0.50),
            appended_p99_ms=percentile(appended_ms, 0.99),
            cpu_us_event=round(self.used.cpu_s["system"] / (self.options.rate * self.used.span_s) * 1e6, 1),
            producer_late_s=self.paced.late_s,
            held=self.held,
            other_cores=self.used.other_cores,
            correct=self.held and not differences,
            differences=differences or None,
            **fields,
        )


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that at least `share` of all values do not exceed; None without values."""
    ordered = sorted(values)
    return round(ordered[max(0, math.ceil(len(ordered) * share) - 1)], 1) if ordered else None


class LatencyRun:
    """A paced load on fresh topics: `warm_up_s`, then `seconds` that are measured."""

    def __init__(self, topics: Topics, options: Options, events: Iterable[Event]) -> None:
        self.topics, self.options = topics, options
        self.n = options.rate * (options.warm_up_s + options.seconds)
        self._load = PacedLoad(topics, events)

    def measure(
        self, cluster: Cluster, output: str, pid: int, broker_pid: int, is_done: Callable[[], bool]
    ) -> LatencyResult:
        """Send the load while the system `pid` runs; watch its topic `output` until `is_done` or too late."""
        gc.collect()
        gc.disable()  # a pause of the harness would be taken for one of the system
        watcher = Watcher(cluster, output)
        meter = Meter(system=pid, broker=broker_pid)
        samples: list[Sample] = []
        paced = self._load.run(
            cluster,
            self.options.rate,
            {self.options.rate * self.options.warm_up_s: lambda: samples.append(meter.sample())},
        )
        samples.append(meter.sample())
        done_by = time.time() + DRAIN_S
        while not (done := is_done()) and time.time() < done_by:
            time.sleep(0.1)
        held = done and time.time() - samples[1].at < HELD_S
        time.sleep(1.5)  # what was committed last is on its way to the watcher
        seen = watcher.stop()
        gc.enable()
        return LatencyResult(
            self.options, self.n, paced, seen, samples[0].at, usage(samples[0], samples[1]), held
        )
