"""A worker goes and another one has its partitions: soon, for it has copied them, and with fresh changes.

TAKEOVER_PROFILES sets how many people there are.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.support.crowd import Load
from tests.support.fleet import Fleet, MakeFleet, Worker, wait_for
from tests.support.freshness import LANDED, Newcomers, Stopwatch, percentile

pytestmark = pytest.mark.soak
PROFILES = int(os.environ.get("TAKEOVER_PROFILES", "40000"))
PARTITIONS = 4
SESSION_MS = 10_000  # as it is shipped
TAKEOVER_S = 15.0
CATCH_UP_S = 5.0  # for what has waited meanwhile
TAIL_SHARE = 0.1
"""At most so much of what a full restore reads may be left to read at a takeover."""
RATE = 1_000
LOAD_RATE = 12_000
FRESH_S = 2.0
WARM_S = 8.0


def serves(worker: Worker, partitions: int) -> bool:
    """Whether it has so many partitions, and all of them are restored."""
    status, body = worker.get("readyz")
    return status == 200 and body.count("ready") == partitions + 1  # and once for the whole


def pair(fleet: Fleet) -> tuple[Worker, Worker]:
    """Two workers that have half of the partitions each."""
    fleet.worker("a").start()
    fleet.worker("b").start()
    for name in "ab":
        wait_for(lambda name=name: serves(fleet.worker(name), PARTITIONS // 2), f"half at {name}")
    return fleet.worker("a"), fleet.worker("b")


def wait_warm(worker: Worker) -> None:
    """Until the copies of what others have lack next to nothing."""

    def is_warm() -> bool:
        series = [
            line
            for line in worker.get("metrics")[1].splitlines()
            if line.startswith("elo_standby_lag_records{")
        ]
        lags = [float(line.rpartition(" ")[2]) for line in series]
        return len(lags) == PARTITIONS // 2 and max(lags) < RATE

    wait_for(is_warm, "warm copies", 600)


def test_the_partitions_of_a_worker_that_died_serve_again_soon(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(session_timeout_ms=SESSION_MS).create_topics(PARTITIONS)
    fleet.apply(LANDED)
    a, b = pair(fleet)
    before = Newcomers(seed=1)
    with Load(fleet, before.take, LOAD_RATE, most=PROFILES) as load:
        load.wait()
    fleet.wait_idle(1_800)
    wait_warm(b)
    newcomers = Newcomers(seed=2)
    watch = Stopwatch(fleet)
    with Load(fleet, newcomers.take, RATE):
        time.sleep(WARM_S)
        read_before = b.metrics()["elo_restore_records_total"]
        killed_at = time.time()
        a.kill()
        wait_for(lambda: serves(b, PARTITIONS), "all partitions at the other one", 120)
        took_s = time.time() - killed_at
        time.sleep(5)
    fleet.wait_idle()
    watch.stop()
    read = b.metrics()["elo_restore_records_total"] - read_before
    slowest = watch.delays(newcomers, 0, time.time())[-1]
    print(
        f"{PROFILES} profiles: all partitions serve {took_s:.1f} s after the kill "
        f"({SESSION_MS / 1000:.0f} s of it the session), {read:.0f} records were restored, "
        f"the slowest change took {slowest:.1f} s"
    )
    assert took_s < TAKEOVER_S
    assert slowest < TAKEOVER_S + CATCH_UP_S
    assert read < TAIL_SHARE * PROFILES * 3 / 2  # two nodes and a touch each, half of them


def test_a_restart_of_all_workers_one_by_one_keeps_changes_fresh(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(session_timeout_ms=SESSION_MS).create_topics(PARTITIONS)
    fleet.apply(LANDED)
    workers = pair(fleet)
    newcomers = Newcomers(seed=3)
    watch = Stopwatch(fleet)
    with Load(fleet, newcomers.take, RATE):
        time.sleep(WARM_S)
        begun_at = time.time()
        for worker in workers:
            assert worker.terminate() == 0
            worker.start()
            wait_for(lambda: all(serves(one, PARTITIONS // 2) for one in workers), "half each")
            time.sleep(WARM_S)
        ended_at = time.time()
    fleet.wait_idle()
    watch.stop()
    before = watch.delays(newcomers, begun_at - WARM_S / 2, begun_at)
    delays = watch.delays(newcomers, begun_at, ended_at)
    p99 = percentile(delays, 0.99)
    print(
        f"{len(delays)} touchpoints in {ended_at - begun_at:.0f} s: p50 {percentile(delays, 0.5):.3f} s, "
        f"p95 {percentile(delays, 0.95):.2f} s, p99 {p99:.2f} s, slowest {delays[-1]:.2f} s; "
        f"p99 before {percentile(before, 0.99):.3f} s"
    )
    assert p99 < FRESH_S
