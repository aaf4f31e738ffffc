"""A worker that stands still for longer than its session: fenced when it wakes, and nothing is doubled."""

from __future__ import annotations

import time

import pytest

from tests.support.comparison import assert_equal_to_oracle
from tests.support.crowd import DEFINITIONS, Crowd, Load, settle
from tests.support.fleet import MakeFleet, wait_for

PARTITIONS = 4


@pytest.mark.slow  # the kills of the default run take partitions from their workers as well
def test_a_worker_that_wakes_after_its_session_changes_nothing_any_more(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(flush_interval_ms=500).create_topics(PARTITIONS)
    fleet.apply(*DEFINITIONS)
    crowd = Crowd(seed=71, people=300)
    sleeper, other = fleet.start("sleeper", "other")
    with Load(fleet, crowd.take, rate=600):
        for _ in range(2):
            time.sleep(1)
            sleeper.pause()
            wait_for(lambda: other.get("readyz")[1].count(':"ready"') == 1 + PARTITIONS, "one has them all")
            time.sleep(1)
            sleeper.resume()
            sleeper.wait_ready()
            time.sleep(1)
    settle(fleet)
    assert_equal_to_oracle(fleet, crowd.sent)
    print(sleeper.tail())
    fleet.check_alive()
