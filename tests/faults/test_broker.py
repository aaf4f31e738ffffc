"""The broker stops, or dies, and comes back under load: workers wait for it, nothing is lost or doubled."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.broker import EmbeddedBroker
from tests.support.comparison import assert_equal_to_oracle
from tests.support.crowd import DEFINITIONS, Crowd, Load, settle
from tests.support.fleet import Fleet

DOWN_S = 2.0
ENDS: dict[str, Callable[[EmbeddedBroker], bool]] = {
    "stopped": EmbeddedBroker.stop,
    "killed": EmbeddedBroker.kill,
}


@pytest.mark.parametrize(
    "ways",
    [
        ("killed",),
        *(pytest.param(ways, marks=pytest.mark.slow) for ways in (("stopped", "killed"), ("killed",) * 3)),
    ],
    ids=" ".join,
)
def test_workers_outlive_the_broker(
    ways: tuple[str, ...], own_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    own_broker.start()
    fleet = Fleet(own_broker.bootstrap, "b.", tmp_path, flush_interval_ms=500)
    try:
        fleet.create_topics(4)
        fleet.apply(*DEFINITIONS)
        crowd = Crowd(seed=91, people=300)
        fleet.start("a", "b")
        with Load(fleet, crowd.take, rate=600):
            for way in ways:
                time.sleep(2)
                ENDS[way](own_broker)
                time.sleep(DOWN_S)
                own_broker.start()
                time.sleep(3)
        settle(fleet)
        assert_equal_to_oracle(fleet, crowd.sent)
        assert [worker.process.poll() for worker in fleet.workers.values()] == [None, None]
    finally:
        fleet.close()
