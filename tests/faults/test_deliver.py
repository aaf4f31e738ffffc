"""Delivery to a destination that fails, hangs, answers late or twice, under `kill -9`: nothing is missing.

The short form runs by default. The acceptance, 100,000 changes, is a soak:
`python -m pytest tests/faults/test_deliver.py -m soak -s`, fewer with SOAK_SECONDS below 250.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.delivering import QUICK, Changes, Deliverer, assert_in_order, await_all, changes_of
from tests.support.deployment import Deployment
from tests.support.kafka import Kafka
from tests.support.receiver import Faults, Receiver

SOAK_CHANGES = min(100_000, int(float(os.environ.get("SOAK_SECONDS", "250")) * 400))
FAULTS = Faults(fail=0.3, hang=0.005, late=0.01, late_s=0.8, twice=0.01)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver(seed=1).start()
    yield found
    found.stop()


@pytest.fixture
def deployment(kafka: Kafka, topic_prefix: str, capsys: pytest.CaptureFixture[str]) -> Deployment:
    made = Deployment(kafka.bootstrap, topic_prefix, capsys)
    assert made.elo("topics", "create", "--partitions", 2).code == 0
    return made


def run(deployment: Deployment, receiver: Receiver, directory: Path, count: int, kills: int) -> None:
    """Deliver `count` changes to a faulty destination beside a good one and one that hangs for ever."""
    receiver.faults["faulty"] = FAULTS
    receiver.faults["stuck"] = Faults(hang=1.0, accept_of_failed=0.0)
    common = {**QUICK, "concurrency": 50}
    deliverer = Deliverer(
        deployment,
        directory,
        {"name": "faulty", "url": receiver.url("faulty"), **common},
        {"name": "good", "url": receiver.url("good"), **common, "batch": 50},
        {"name": "stuck", "url": receiver.url("stuck"), **common},
    )
    changes = Changes(deployment)
    rng = random.Random(7)
    began = time.monotonic()
    try:
        deliverer.start()
        changes.send(changes.crowd(count, profiles=max(count // 10, 50), seed=3))
        ids = {change.change_id for change in changes.sent}
        for _ in range(kills):
            time.sleep(rng.uniform(0.5, 2.5) if count < 10_000 else rng.uniform(5, 15))
            victim = deliverer.processes[-1][0]
            victim.kill()
            victim.wait()
            deliverer.start(ready=False)
        await_all(receiver, "good", ids, 60 + count / 200, deliverer)
        good_s = time.monotonic() - began
        await_all(receiver, "faulty", ids, 120 + count / 100, deliverer)
        faulty_s = time.monotonic() - began
        deliverer.stop()
    finally:
        deliverer.kill()
    repeated = assert_in_order(changes_of(receiver.of("faulty")))
    again = assert_in_order(changes_of(receiver.of("good")))
    assert receiver.of("stuck") == []
    assert repeated > 0, "the faults did nothing"
    print(f"\n{count} changes, {kills} kills: good after {good_s:.1f} s ({again} repeated), "
          f"faulty after {faulty_s:.1f} s ({repeated} repeated)")  # fmt: skip


def test_a_faulty_destination_gets_every_change_in_order_also_under_kills(
    deployment: Deployment, receiver: Receiver, tmp_path: Path
) -> None:
    run(deployment, receiver, tmp_path, count=500, kills=1)


@pytest.mark.soak
def test_many_changes_arrive_in_order_under_kills(
    deployment: Deployment, receiver: Receiver, tmp_path: Path
) -> None:
    run(deployment, receiver, tmp_path, count=SOAK_CHANGES, kills=max(1, SOAK_CHANGES // 12_500))
