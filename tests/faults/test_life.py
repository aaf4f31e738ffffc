"""The life of a worker: it hands over when it is stopped, keeps its place in a crash, and does not hang."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.comparison import assert_equal_to_oracle
from tests.support.crowd import DEFINITIONS, Crowd, Load, settle
from tests.support.fleet import Fleet, MakeFleet, Worker, wait_for

SESSION_MS = 25_000
SOON_S = 10.0  # much less than the session
PARTITIONS = 4
STUCK = 3
WATCHDOG_MS = 2_000


def owned(worker: Worker) -> set[str]:
    """The partitions that a worker serves."""
    status, body = worker.get("readyz")
    return set(json.loads(body)["partitions"]) if status == 200 else set()


def lives(worker: Worker) -> int:
    """How many partitions it has opened since the beginning."""
    return worker.log.read_text(errors="replace").count("partition restored")


def pair(fleet: Fleet, *, named: bool, **variables: object) -> tuple[Worker, Worker]:
    """Two workers that have half of the partitions each."""
    fleet.create_topics(PARTITIONS)
    fleet.apply(*DEFINITIONS)
    for name in "ab":
        own = {"ELO_WORKER_NAME": f"worker-{name}"} if named else {}
        fleet.worker(name).environment.update(own, **{key: str(value) for key, value in variables.items()})
        fleet.worker(name).start()
    workers = fleet.worker("a"), fleet.worker("b")
    wait_for(lambda: [len(owned(worker)) for worker in workers] == [2, 2], "half of the partitions each")
    return workers


@pytest.mark.parametrize("named", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_worker_that_is_stopped_hands_over_at_once(named: bool, make_fleet: MakeFleet) -> None:
    fleet = make_fleet(session_timeout_ms=SESSION_MS)
    crowd = Crowd(seed=71, people=100)
    a, b = pair(fleet, named=named)
    with Load(fleet, crowd.take, rate=300):
        time.sleep(1)
        assert a.terminate() == 0
        wait_for(lambda: len(owned(b)) == PARTITIONS, "all partitions at the other one", SOON_S)
    settle(fleet)
    assert_equal_to_oracle(fleet, crowd.sent)


@pytest.mark.parametrize("end", ["killed", pytest.param("stopped", marks=pytest.mark.slow)])
def test_a_named_worker_that_is_back_within_the_session_moves_no_partition(
    end: str, make_fleet: MakeFleet
) -> None:
    fleet = make_fleet(session_timeout_ms=SESSION_MS)
    crowd = Crowd(seed=72, people=100)
    a, b = pair(fleet, named=True, ELO_LEAVE_ON_STOP="false")
    before, opened = owned(a), lives(b)
    with Load(fleet, crowd.take, rate=300):
        time.sleep(1)
        if end == "killed":
            a.kill()
        else:
            assert a.terminate() == 0
        a.start().wait_ready(SOON_S)
    assert owned(a) == before
    settle(fleet)
    assert lives(b) == opened
    assert_equal_to_oracle(fleet, crowd.sent)


@pytest.mark.slow
def test_the_older_of_two_workers_with_one_name_ends(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(session_timeout_ms=SESSION_MS)
    a, b = pair(fleet, named=True)
    before = owned(a)
    twin = fleet.worker("twin")
    twin.environment["ELO_WORKER_NAME"] = "worker-a"
    twin.start()
    assert a.wait_end() == STUCK
    assert "fenced by other consumer with same group.instance.id" in a.tail()
    twin.wait_ready()
    assert owned(twin) == before
    assert len(owned(b)) == PARTITIONS - len(before)


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("loop", STUCK),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in (("disk", STUCK), ("interpreter", 1))),
    ],
)
def test_a_worker_that_hangs_ends_and_says_where(where: str, code: int, make_fleet: MakeFleet) -> None:
    fleet = make_fleet(watchdog_ms=WATCHDOG_MS, flush_interval_ms=200).create_topics(1)
    worker = fleet.worker("stuck").start(ELO_TEST_STUCK=where).wait_ready()
    fleet.send(Crowd(seed=73, people=10).take(20))
    worker.get("livez")
    assert worker.wait_end(30) == code
    said = worker.tail()
    assert {"loop": "event loop", "disk": "write of partition 0", "interpreter": "Timeout"}[where] in said
    assert "launch.py" in said
