"""`kill -9` at random, under load, some with their disk wiped: equal to the oracle, nothing told twice.

The short form runs by default. The long one (`make soak`) sends 300,000 touchpoints at 3,000 a second and
kills twelve times and more, with two workers and with three on 16 partitions. SOAK_SECONDS sets how long.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass

import pytest

from tests.support.comparison import assert_equal_to_oracle
from tests.support.crowd import DEFINITIONS, Crowd, Load, settle
from tests.support.fleet import Fleet, MakeFleet

SHORT_S = 25.0
SOAK_S = float(os.environ.get("SOAK_SECONDS", "100"))
IDLE_S = 300.0


@dataclass(frozen=True, slots=True)
class Chaos:
    """How a run goes: pauses between kills and before a restart, in seconds from (least, most)."""

    workers: int
    partitions: int
    rate: int
    seconds: float
    kills_least: int
    between_s: tuple[float, float]
    down_s: tuple[float, float] = (0.0, 2.0)
    wiped_share: float = 1 / 3


def kill_at_random(fleet: Fleet, names: list[str], chaos: Chaos, rng: random.Random) -> tuple[int, int]:
    """Kill and restart until the time is over. Returns how many kills, and how many with the disk wiped."""
    kills = wiped = 0
    until = time.monotonic() + chaos.seconds
    while time.monotonic() < until or kills < chaos.kills_least:
        time.sleep(rng.uniform(*chaos.between_s))
        fleet.check_alive()
        worker = fleet.worker(rng.choice(names))
        worker.kill()
        kills += 1
        if kills % round(1 / chaos.wiped_share) == 0:
            worker.wipe()
            wiped += 1
        time.sleep(rng.uniform(*chaos.down_s))
        worker.start()
    return kills, wiped


def run(fleet: Fleet, chaos: Chaos, seed: int) -> None:
    """Send under kills, then compare."""
    fleet.create_topics(chaos.partitions)
    fleet.apply(*DEFINITIONS)
    names = [f"w{number}" for number in range(chaos.workers)]
    fleet.start(*names)
    crowd = Crowd(seed, people=max(200, int(chaos.rate * chaos.seconds) // 40))
    started = time.monotonic()
    with Load(fleet, crowd.take, chaos.rate) as load:
        kills, wiped = kill_at_random(fleet, names, chaos, random.Random(seed))
    sent_s = time.monotonic() - started
    fleet.wait_idle(IDLE_S)
    idle_s = time.monotonic() - started - sent_s
    settle(fleet)
    fleet.check_alive()
    dump = assert_equal_to_oracle(fleet, crowd.sent)
    print(
        f"{load.count} touchpoints in {sent_s:.0f} s, {chaos.workers} workers, "
        f"{chaos.partitions} partitions, {kills} kills ({wiped} disks wiped), idle {idle_s:.1f} s later, "
        f"{len(dump)} profiles: equal"
    )


def test_random_kills_lose_and_double_nothing(make_fleet: MakeFleet) -> None:
    chaos = Chaos(
        workers=2, partitions=4, rate=1_500, seconds=SHORT_S, kills_least=4, between_s=(3, 6), down_s=(0, 1)
    )
    run(make_fleet(flush_interval_ms=1_000), chaos, seed=31)


@pytest.mark.soak
@pytest.mark.parametrize(("workers", "partitions"), [(2, 4), (3, 16)])
def test_random_kills_for_long_lose_and_double_nothing(
    workers: int, partitions: int, make_fleet: MakeFleet
) -> None:
    chaos = Chaos(
        workers=workers,
        partitions=partitions,
        rate=3_000,
        seconds=SOAK_S,
        kills_least=max(1, round(SOAK_S * 0.12)),
        between_s=(4, 9),
    )
    run(make_fleet(), chaos, seed=47 + workers)
