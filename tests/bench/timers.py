"""Exits by time under load: from the due instant to a read-committed reader, beside live touchpoints.

Everybody looks at something once, at an instant chosen so that its window ends when the measurement wants it:
`steady`, 1,000 people leave each second; `wave`, all of them within one second. Meanwhile other people come
at a paced rate and enter another segment.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pipeline.topics import Topics

from .cluster import Cluster
from .elo_worker import EloWorker, decode_change
from .generator import Event, Record
from .latency import Watcher, percentile
from .load import PacedLoad, load
from .machine import Meter, rss_mb_max, usage
from .options import Options
from .report import Row, make_row

WINDOW_MS: Final = 3_600_000
STEADY_RATE: Final = 1_000  # exits a second
LIVE_RATE: Final = 500  # touchpoints a second beside them
LOADED_S: Final = 2_000  # people a second that loading takes at the least
SPARE_S: Final = 15
BEFORE_S: Final = 3
DRAIN_S: Final = 60
LATE_MS: Final = 20
DEFINITIONS: Final = (
    {"id": "leaving", "where": {"event": "product_viewed", "within": "1h"}},
    {"id": "arriving", "where": {"event": "page_viewed", "within": "1h"}},
)


@dataclass(frozen=True, slots=True)
class Mode:
    """So many people, whose windows end evenly over `span_s`."""

    name: str
    people: int
    span_s: float


def modes(options: Options) -> tuple[Mode, Mode]:
    """What is measured: the wave has as many people as other measurements have touchpoints."""
    return (
        Mode("steady", STEADY_RATE * options.seconds, options.seconds),
        Mode("wave", options.n, 1.0),
    )


def touchpoint(who: str, kind: str, at_ms: int) -> Event:
    """Somebody's only touchpoint."""
    record: Record = {
        "event_id": f"e-{who}",
        "source": "web",
        "type": kind,
        "occurred_at": at_ms,
        "identifiers": [{"type": "anonymous_id", "value": who}],
        "traits": "{}",
        "properties": "{}",
        "consent": {},
        "context": {},
    }
    return Event("web", who.encode(), record)


def measure_timers(
    cluster: Cluster, worker: EloWorker, topics: Topics, options: Options, mode: Mode, broker_pid: int
) -> Row:
    """One mode, on fresh topics."""
    worker.apply(DEFINITIONS)
    worker.start()
    try:
        worker.wait_ready()
        due_ms = int((time.time() + mode.people / LOADED_S + SPARE_S) * 1000)
        span_ms = mode.span_s * 1000
        dues = {f"p{number}": due_ms + int(number * span_ms / mode.people) for number in range(mode.people)}
        _load(cluster, worker, topics, dues)
        seconds = BEFORE_S + mode.span_s + DRAIN_S / 4
        return _measure(cluster, worker, topics, options, mode, dues, broker_pid, seconds)
    finally:
        worker.stop()


def _load(cluster: Cluster, worker: EloWorker, topics: Topics, dues: dict[str, int]) -> None:
    events = (touchpoint(who, "product_viewed", at_ms - WINDOW_MS) for who, at_ms in dues.items())
    load(cluster, topics, events, ())
    worker.wait_intake(len(dues))
    worker.wait_idle()
    if time.time() + BEFORE_S > min(dues.values()) / 1000:
        raise SystemExit(f"bench: this machine loads fewer than {LOADED_S:,} people a second")


def _measure(
    cluster: Cluster,
    worker: EloWorker,
    topics: Topics,
    options: Options,
    mode: Mode,
    dues: dict[str, int],
    broker_pid: int,
    seconds: float,
) -> Row:
    due_at = min(dues.values()) / 1000
    paced = PacedLoad(topics, _arrivals(LIVE_RATE * int(seconds), int((due_at - BEFORE_S) * 1000)))
    gc.collect()
    gc.disable()  # a pause of the harness would be taken for one of the system
    watcher = Watcher(cluster, topics.membership)
    meter = Meter(worker=worker.child.pid, broker=broker_pid)
    time.sleep(max(0.0, due_at - BEFORE_S - time.time()))
    first = meter.sample()
    sent = paced.run(cluster, LIVE_RATE, {}).sent
    worker.wait_intake(len(dues) + len(sent))
    worker.wait_idle()
    last = meter.sample()
    time.sleep(1.0)
    seen = [(decode_change(one.value), one.visible_at) for one in watcher.stop()]
    gc.enable()
    used = usage(first, last)
    exits = [(change, at) for change, at in seen if change["change"] == "exited"]
    late_ms = [at * 1000 - change["occurred_at"] for change, at in exits]
    drained_s = max((at for _, at in exits), default=due_at) - due_at
    live_ms = [
        (at - sent[change["event_ids"][0]]) * 1000
        for change, at in seen
        if change["segment_id"] == "arriving" and due_at <= sent[change["event_ids"][0]] <= due_at + drained_s
    ]
    differences = _differences(dues, [change for change, _ in seen], len(sent))
    return make_row(
        "timers", "elo", mode=mode.name, n=mode.people, workers=1, partitions=options.partitions,
        rate=LIVE_RATE, p50_ms=percentile(late_ms, 0.50), p99_ms=percentile(late_ms, 0.99),
        max_ms=percentile(late_ms, 1.0), drained_s=round(drained_s, 2),
        live_p50_ms=percentile(live_ms, 0.50), live_p99_ms=percentile(live_ms, 0.99),
        rss_mb=rss_mb_max(worker.child.pid), other_cores=used.other_cores,
        worker_cores=round(used.cpu_s["worker"] / used.span_s, 2),
        correct=not differences, differences=differences or None,
    )  # fmt: skip


def _arrivals(count: int, from_ms: int) -> Iterator[Event]:
    for number in range(count):
        yield touchpoint(f"n{number}", "page_viewed", from_ms + number * 1000 // LIVE_RATE - LATE_MS)


def _differences(dues: dict[str, int], changes: list[dict[str, Any]], arrivals: int) -> list[str]:
    """Everybody left once and at the due instant; everybody who arrived has entered once."""
    left = sorted(one["occurred_at"] for one in changes if one["change"] == "exited")
    found = []
    if left != sorted(dues.values()):
        found.append(f"{len(left)} exits, expected {len(dues)}, or not at their due instants")
    if any(one["cause"] != "timer" for one in changes if one["change"] == "exited"):
        found.append("an exit has another cause than time")
    entered = sum(1 for one in changes if one["segment_id"] == "arriving")
    if entered != arrivals:
        found.append(f"{entered} people have entered, expected {arrivals}")
    return found
