"""A deployment grows from 4 to 16 partitions: nobody is lost, doubled or split, whatever is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from pipeline.runtime.crashpoints import GROWING, VARIABLE
from tests.support.comparison import assert_equal_to_oracle
from tests.support.crowd import DEFINITIONS, Crowd, Load, settle
from tests.support.fleet import KILLED, ROOT, Fleet, MakeFleet

BEFORE, AFTER = 4, 16
LATE = {"id": "viewed-lately", "where": {"event": "product_viewed", "within": "55m", "at_least": 2}}
REPEATED = 300


def grow(fleet: Fleet, partitions: int = AFTER, **variables: str) -> subprocess.CompletedProcess[str]:
    """`elo topics grow` in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "tests.support.launch",
        "topics",
        "grow",
        "--partitions",
        str(partitions),
    ]
    environment = {**os.environ, **fleet.environment, **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def members(fleet: Fleet) -> float:
    """Profiles inside segments, as the workers count them."""
    return sum(
        worker.metrics()["elo_segment_profiles"] for worker in fleet.workers.values() if worker.is_alive()
    )


@pytest.mark.slow
def test_a_growth_leaves_the_state_hash_as_it_was(make_fleet: MakeFleet) -> None:
    fleet = make_fleet().create_topics(BEFORE)
    segments = tuple(
        one for one in DEFINITIONS if one["id"] != "here-now"
    )  # of which time alone lets people go
    fleet.apply(*segments)
    crowd = Crowd(seed=21, people=150)
    fleet.start("a")
    fleet.send(crowd.take(600))
    fleet.wait_idle()
    before, inside = fleet.hash(), members(fleet)
    refused = grow(fleet)
    assert refused.returncode == 1
    assert "stop them first" in refused.stderr
    assert fleet.worker("a").terminate() == 0
    assert "no multiple" in grow(fleet, 6).stderr
    done = grow(fleet)
    assert done.returncode == 0, done.stderr
    assert fleet.hash() == before
    fleet.start("a")
    fleet.wait_idle()
    assert fleet.hash() == before
    assert members(fleet) == inside
    fleet.elo("topics", "create", "--partitions", AFTER)
    assert_equal_to_oracle(fleet, crowd.sent, segments)


@pytest.mark.slow
@pytest.mark.parametrize("deaths", [GROWING, *((point, point) for point in GROWING)])
def test_a_growth_under_load_that_is_killed_again_and_again_loses_and_doubles_nothing(
    deaths: tuple[str, ...], make_fleet: MakeFleet
) -> None:
    fleet = make_fleet(flush_interval_ms=300).create_topics(BEFORE)
    fleet.apply(*DEFINITIONS)
    crowd = Crowd(seed=22, people=200)
    with Load(fleet, crowd.take, rate=400):
        fleet.start("a", "b")
        time.sleep(2)
        for name in "ab":
            assert fleet.worker(name).terminate() == 0
        for point in deaths:
            died = grow(fleet, **{VARIABLE: point})
            assert died.returncode == KILLED, died.stderr
        late = fleet.worker("c").start()
        assert late.wait_end() == 1
        assert "elo topics grow" in late.tail()
        done = grow(fleet)
        assert done.returncode == 0, done.stderr
        fleet.start("a", "b")
        time.sleep(1)
    fleet.send(crowd.sent[:REPEATED])  # What was seen before the growth is known after it.
    settle(fleet)
    assert_equal_to_oracle(fleet, crowd.sent)
    fleet.apply(*DEFINITIONS, LATE)  # The history is read again, by those who have it now.
    settle(fleet)
    assert_equal_to_oracle(fleet, crowd.sent, [*DEFINITIONS, LATE])
