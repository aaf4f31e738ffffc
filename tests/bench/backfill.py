"""A new segment over everybody who is known, beside live touchpoints: how long it takes, and what they feel.

Each profile has one touchpoint of the last days, half of them views that the new segment asks about. Live
touchpoints come at the paced rate before and during the back-fill.
"""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from pipeline.topics import Topics

from .cluster import Cluster
from .elo_worker import EloWorker, decode_change
from .generator import Event
from .latency import Watcher, percentile
from .load import Paced, PacedLoad, load
from .machine import Meter, rss_mb_max, usage
from .options import Options
from .report import Row, make_row
from .timers import touchpoint

SPAN_MS: Final = 10 * 86_400_000
WINDOW_MS: Final = 7 * 86_400_000
LIVE_S: Final = 400  # as long as live touchpoints are ready to come; what is left over is not sent
WARM_UP_S: Final = 10
POLL_S: Final = 0.25
KNOWN: Final = {"id": "arriving", "where": {"event": "page_viewed", "within": "1h"}}
NEW: Final = {"id": "looked-lately", "where": {"event": "product_viewed", "within": "7d"}}


def measure_backfill(
    cluster: Cluster, worker: EloWorker, topics: Topics, options: Options, broker_pid: int
) -> Row:
    """Load, preview, then apply under load."""
    ages_ms, now_ms = load_people(cluster, worker, topics, options)
    preview_s, _ = worker.preview([NEW])
    live = Live(cluster, topics, options)
    meter = Meter(worker=worker.child.pid, broker=broker_pid)
    live.start()
    time.sleep(WARM_UP_S)
    first, applied_before = meter.sample(), worker.metrics()["elo_touches_applied_total"]
    started_at = time.time()
    worker.apply([NEW])
    _wait_done(worker, options.n)
    ended_at, applied = time.time(), worker.metrics()["elo_touches_applied_total"]
    last = meter.sample()
    sent = live.stop()
    worker.wait_intake(options.n + len(sent))
    worker.wait_idle()
    seen = live.seen()
    used = usage(first, last)
    before_ms, during_ms = live.delays(seen, 0.0, started_at), live.delays(seen, started_at, ended_at)
    came = sum(1 for sent_at in sent.values() if started_at <= sent_at < ended_at)
    differences = _differences(ages_ms, [change for change, _ in seen], now_ms, ended_at)
    return make_row(
        "backfill", "elo", n=options.n, workers=1, partitions=options.partitions, rate=options.rate,
        backfill_s=round(ended_at - started_at, 1), preview_s=round(preview_s, 1),
        live_share=round((applied - applied_before) / max(1, came), 3),
        before_p99_ms=percentile(before_ms, 0.99),
        live_p50_ms=percentile(during_ms, 0.50), live_p99_ms=percentile(during_ms, 0.99),
        rss_mb=rss_mb_max(worker.child.pid), other_cores=used.other_cores,
        worker_cores=round(used.cpu_s["worker"] / used.span_s, 2),
        correct=not differences, differences=differences or None,
    )  # fmt: skip


def load_people(
    cluster: Cluster, worker: EloWorker, topics: Topics, options: Options
) -> tuple[list[int], int]:
    """Start a worker and let it read a touchpoint of each profile; return their ages, ms, and as of when."""
    worker.apply([KNOWN])
    worker.start()
    now_ms = int(time.time() * 1000)
    rng = random.Random(options.seed)
    ages_ms = [rng.randrange(SPAN_MS) for _ in range(options.n)]
    load(cluster, topics, past(ages_ms, now_ms), ())
    worker.wait_ready()
    worker.wait_intake(options.n)
    worker.wait_idle()
    return ages_ms, now_ms


def looked_lately(ages_ms: list[int], grown_ms: int) -> tuple[int, int]:
    """How many at the least and at the most are inside the new segment. `grown_ms`: by how much everybody is
    older than at the beginning.
    """
    views = ages_ms[1::2]
    least = sum(1 for age_ms in views if age_ms + grown_ms < WINDOW_MS)
    return least, sum(1 for age_ms in views if age_ms < WINDOW_MS)


class Live:
    """Touchpoints of new people at the paced rate, in a thread, and the changes that they cause."""

    def __init__(self, cluster: Cluster, topics: Topics, options: Options) -> None:
        self._cluster, self._rate = cluster, options.rate
        self._stopping = threading.Event()
        self._paced: Paced | None = None
        self._load = PacedLoad(topics, _arrivals(options.rate))
        gc.collect()
        gc.disable()  # a pause of the harness would be taken for one of the system
        self._watcher = Watcher(cluster, topics.membership)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def _run(self) -> None:
        self._paced = self._load.run(self._cluster, self._rate, {}, self._stopping)

    def stop(self) -> dict[str, float]:
        """Send no more. Returns event id → when it was sent."""
        self._stopping.set()
        self._thread.join()
        assert self._paced is not None
        return self._paced.sent

    def seen(self) -> list[tuple[dict[str, Any], float]]:
        """Every change with the instant at which it was visible."""
        time.sleep(1.0)
        found = [(decode_change(one.value), one.visible_at) for one in self._watcher.stop()]
        gc.enable()
        return found

    def delays(self, seen: list[tuple[dict[str, Any], float]], from_s: float, to_s: float) -> list[float]:
        """Milliseconds from touchpoint to change, of those sent in the span."""
        assert self._paced is not None
        sent = self._paced.sent
        pairs = [
            (sent[change["event_ids"][0]], at) for change, at in seen if change["segment_id"] == KNOWN["id"]
        ]
        return [(at - sent_at) * 1000 for sent_at, at in pairs if from_s <= sent_at < to_s]


def past(ages_ms: list[int], now_ms: int) -> Iterator[Event]:
    """One touchpoint of each profile."""
    for number, age_ms in enumerate(ages_ms):
        kind = "product_viewed" if number % 2 else "cart_added"
        yield touchpoint(f"p{number}", kind, now_ms - age_ms)


def _arrivals(rate: int) -> Iterator[Event]:
    """Live people. Their event time is that of the making, minutes before they come: no matter here."""
    now_ms = int(time.time() * 1000)
    for number in range(rate * LIVE_S):
        yield touchpoint(f"n{number}", "page_viewed", now_ms)


def _wait_done(worker: EloWorker, people: int) -> None:
    """Until everybody was evaluated and no partition works on definitions any more."""
    while True:
        metrics = worker.metrics()  # Empty while the worker is too busy to answer.
        done = metrics.get("elo_backfill_components_total", 0) >= people
        if done and not metrics["elo_definitions_pending"]:
            return
        time.sleep(POLL_S)


def _differences(
    ages_ms: list[int], changes: list[dict[str, Any]], now_ms: int, ended_at: float
) -> list[str]:
    """Who looked within the window has entered once, by the back-fill."""
    entered = [one for one in changes if one["segment_id"] == NEW["id"] and one["change"] == "entered"]
    grown_ms = int(ended_at * 1000) - now_ms
    least, most = looked_lately(ages_ms, grown_ms)
    found = []
    if not least <= len(entered) <= most:
        found.append(f"{len(entered)} have entered, expected {least} to {most}")
    if len({one["profile_id"] for one in entered}) != len(entered):
        found.append("somebody has entered twice")
    if any(one["cause"] != "backfill" for one in entered):
        found.append("somebody has entered by another cause")
    return found
