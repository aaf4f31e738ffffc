"""`kill -9` at every commit boundary: the state is that of an uninterrupted run, and nothing is told twice.

One deployment lives through all of it. For each point a worker joins that dies there, with work of every kind
under way; the other one, where there is another, takes its partitions over.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.runtime.crashpoints import POINTS, VARIABLE
from tests.support.comparison import assert_equal_to_oracle
from tests.support.crowd import DEFINITIONS, Crowd, settle
from tests.support.fleet import KILLED, Fleet, wait_for
from tests.support.kafka import Kafka
from tests.support.touchpoints import DEFAULTS

PARTITIONS = 3
CRASH_S = 90.0
TAKEN_S = 40.0  # less than the broker lets the transaction of a dead worker stay open
BATCH = 25
STEP_S = 0.15
IN_DEFINITIONS = ("definitions.taken", "definitions.step")
IN_POLICY = ("policy.taken", "policy.step")
IN_RESTORE = ("restore.state", "restore.history")
LATER = {
    "batch": 6,
    "transaction": 6,
    "intake": 2,
    "flush": 2,
    "definitions": 2,
    "policy": 2,
    "task": 2,
    "restore": 2,
}
"""The second round dies at a later passage: in the middle of the work, not at its beginning."""


class Site:
    """The deployment of this file. `steady` is a worker that lives; `doomed` the next one to die."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.crowd = Crowd(seed=11, people=150)
        self.definitions = list(DEFINITIONS)
        self.deaths = 0
        self.policy: dict[str, Any] = yaml.safe_load(DEFAULTS.read_text("utf-8"))

    def change(self, point: str) -> None:
        """Make the work that a point lies in."""
        if point in IN_DEFINITIONS:
            self.redefine()
        elif point in IN_POLICY:
            self.republish()

    def republish(self) -> None:
        """Publish another identity policy: one device for each person at a time, or many."""
        self.policy["version"] += 1
        rule = self.policy["identifiers"]["device_id"]
        rule["limit"] = 20 if rule["limit"] != 20 else {"count": 1, "within": "90d"}
        self.fleet.publish(self.policy)

    def redefine(self) -> None:
        """Apply one more definition, with a window that asks for the whole history."""
        number = len(self.definitions)
        where = {"event": "product_viewed", "within": f"{50 + number}m", "at_least": 2 + number % 3}
        self.definitions.append({"id": f"late-{number}", "where": where})
        self.fleet.apply(*self.definitions)

    def crash(self, point: str, count: int, *, wiped: bool) -> None:
        """Run a worker to its death at a point, under load."""
        doomed = self.fleet.worker("doomed")
        if wiped:
            doomed.wipe()
        doomed.start(**{VARIABLE: f"{point}:{count}"})
        deadline = time.monotonic() + CRASH_S
        changed = False
        while doomed.is_alive():
            assert time.monotonic() < deadline, f"{point} was not reached\n{doomed.tail()}"
            self.fleet.send(self.crowd.take(BATCH))
            if not changed and doomed.get("readyz")[0] == 200:
                self.change(point)
                changed = True
            time.sleep(STEP_S)
        assert doomed.process.returncode == KILLED, doomed.tail()
        self.deaths += 1
        self.fleet.send(self.crowd.take(BATCH))


@pytest.fixture(scope="module")
def site(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A deployment with history and definitions."""
    directory = tmp_path_factory.mktemp("crash-points")
    fleet = Fleet(kafka.bootstrap, f"crash{time.time_ns()}.", Path(directory), flush_interval_ms=300)
    fleet.create_topics(PARTITIONS)
    site = Site(fleet)
    fleet.apply(*site.definitions)
    fleet.send(site.crowd.take(300))
    fleet.start("steady")
    settle(fleet)
    yield site
    fleet.close()
    fleet.delete_topics()
    shutil.rmtree(directory, ignore_errors=True)


BESIDE = "beside another"
ALONE = "alone"
COMPANY = (BESIDE, ALONE)
"""Beside another that takes over, at the first passage; alone, restarted on its own disk, at a later one."""

VISITS = [
    pytest.param(point, how, marks=[] if how == COMPANY[number % 2] else pytest.mark.slow)
    for how in COMPANY
    for number, point in enumerate(POINTS)
]
"""By default each point is visited once; all of them in both ways are slow."""


@pytest.mark.parametrize(("point", "how"), VISITS)
def test_a_worker_that_dies_loses_and_doubles_nothing(point: str, how: str, site: Site) -> None:
    fleet = site.fleet
    steady, doomed = fleet.worker("steady"), fleet.worker("doomed")
    if how == BESIDE:
        if not steady.is_alive():
            steady.start()
        site.crash(point, 1, wiped=point in IN_RESTORE)
        wait_for(lambda: steady.get("readyz")[1].count(':"ready"') == 1 + PARTITIONS, "taking over", TAKEN_S)
    else:
        if steady.is_alive():
            assert steady.terminate() == 0
        site.crash(point, LATER[point.partition(".")[0]], wiped=point in IN_RESTORE)
        doomed.start()
    settle(fleet)
    assert_equal_to_oracle(fleet, site.crowd.sent, site.definitions)
    fleet.check_alive()
    if how == ALONE:
        assert doomed.terminate() == 0
