"""A disk that is full: the worker says so in one sentence, ends with 3, and another disk goes on."""

from __future__ import annotations

import time

from tests.support.comparison import assert_equal_to_oracle
from tests.support.crowd import DEFINITIONS, Crowd, settle
from tests.support.fleet import MakeFleet

FILE_BYTES = 64 * 1024
FATAL = 3


def test_a_full_disk_ends_the_worker_and_another_disk_goes_on(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(flush_interval_ms=200).create_topics(2)
    fleet.apply(*DEFINITIONS)
    crowd = Crowd(seed=81, people=300)
    full = fleet.worker("full").start(ELO_TEST_FILE_BYTES=FILE_BYTES)
    deadline = time.monotonic() + 60
    while full.is_alive():
        assert time.monotonic() < deadline, f"it writes on\n{full.tail()}"
        fleet.send(crowd.take(100))
        time.sleep(0.2)
    assert full.process.returncode == FATAL, full.tail()
    said = full.tail()
    assert "Traceback" not in said
    assert "elo: " in said.splitlines()[-1]

    full.start(data_dir=fleet.directory / "roomy")
    fleet.send(crowd.take(100))
    settle(fleet)
    assert_equal_to_oracle(fleet, crowd.sent)
