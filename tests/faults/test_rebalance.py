"""Workers that join and leave in order under load: nothing is lost, nothing doubled, and each ends with 0.

The partitions of the resolver are the work, so they are what must be spread evenly.
"""

from __future__ import annotations

import json
import time

import pytest

from tests.support.comparison import assert_equal_to_oracle
from tests.support.crowd import DEFINITIONS, Crowd, Load, settle
from tests.support.fleet import Fleet, MakeFleet, wait_for

RATE = 1_000
PAUSE_S = 1.5


@pytest.mark.parametrize("workers", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_workers_may_come_and_go_under_load(workers: int, make_fleet: MakeFleet) -> None:
    fleet = make_fleet(flush_interval_ms=500).create_topics(6)
    fleet.apply(*DEFINITIONS)
    crowd = Crowd(seed=60 + workers, people=400)
    names = [f"w{number}" for number in range(workers)]
    fleet.start(names[0])
    with Load(fleet, crowd.take, RATE):
        for name in names[1:]:
            fleet.start(name)
            time.sleep(PAUSE_S)
        for name in names[:-1]:  # the first ones leave, in turns; the last one is alone in the end
            assert fleet.worker(name).terminate() == 0
            time.sleep(PAUSE_S)
        fleet.start(*names[:-1])  # all come back at once
        time.sleep(PAUSE_S)
    settle(fleet)
    assert_equal_to_oracle(fleet, crowd.sent)
    for name in names:
        assert fleet.worker(name).terminate() == 0


def shares(fleet: Fleet) -> list[int]:
    """How many partitions each worker has restored and reads, ascending."""
    answers = [worker.get("readyz")[1] for worker in fleet.workers.values() if worker.is_alive()]
    owned = [json.loads(answer)["partitions"] if answer else {} for answer in answers]
    return sorted(list(partitions.values()).count("ready") for partitions in owned)


def test_partitions_are_spread_evenly_over_the_workers(make_fleet: MakeFleet) -> None:
    fleet = make_fleet().create_topics(9)
    for name, expected in (("a", [9]), ("b", [4, 5]), ("c", [3, 3, 3])):
        fleet.worker(name).start()
        wait_for(lambda expected=expected: shares(fleet) == expected, f"shares {expected}")
    assert fleet.worker("a").terminate() == 0
    wait_for(lambda: shares(fleet) == [4, 5], "shares of the two that stay")
