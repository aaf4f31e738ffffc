"""`elo identity`: a policy is rehearsed, published while touchpoints flow, and applied by two workers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.comparison import assert_equal_to_oracle
from tests.support.crowd import DEFINITIONS, Crowd, Load, settle
from tests.support.deployment import Deployment
from tests.support.fleet import Fleet
from tests.support.kafka import Kafka
from tests.support.touchpoints import DEFAULTS


@pytest.fixture(scope="module")
def fleet(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two workers on four partitions."""
    directory = tmp_path_factory.mktemp("policy")
    made = Fleet(kafka.bootstrap, f"policy{time.time_ns()}.", directory, flush_interval_ms=300)
    made.create_topics(4)
    made.apply(*DEFINITIONS)
    made.start("one", "two")
    yield made
    made.close()
    made.delete_topics()


def test_a_policy_is_rehearsed_published_under_load_and_applied_everywhere(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elo = Deployment(fleet.bootstrap, fleet.prefix, capsys).elo
    crowd = Crowd(seed=5, people=200)
    fleet.send(crowd.take(1_500))
    settle(fleet)
    policy: dict[str, Any] = yaml.safe_load(DEFAULTS.read_text("utf-8"))
    policy["version"] = 2
    policy["identifiers"]["device_id"] |= {"limit": {"count": 1, "within": "90d"}, "shared_after": 1}
    file = tmp_path / "new.yaml"
    file.write_text(json.dumps(policy), "utf-8")

    rehearsed = elo("identity", "rehearse", file, "--json")
    assert rehearsed.code == 0, rehearsed.err
    foretold = rehearsed.document
    assert foretold["profiles"]["before"] == len(fleet.dump())
    assert foretold["merges_lost"]["count"] > 0
    assert len(foretold["merges_lost"]["examples"]) == min(10, foretold["merges_lost"]["count"])
    assert "nothing was changed" in elo("identity", "rehearse", file).out

    fleet.publish(policy)
    fleet.wait_idle()
    assert len(fleet.dump()) == foretold["profiles"]["after"]
    assert_equal_to_oracle(fleet, crowd.sent, DEFINITIONS)
    shown = elo("identity", "show", "--json").document
    assert (shown["version"], shown["by"], shown["reason"], shown["file_version"]) == (2, "ana", "a test", 1)
    assert shown["partitions"] == [
        {"partition": number, "version": 2, "applied": True} for number in range(4)
    ]
    assert fleet.worker("one").metrics()["elo_policy_pending"] == 0
    assert {one["policy_version"] for one in fleet.compacted("profiles.unified").values()} == {1, 2}

    with Load(fleet, crowd.take, rate=400):
        time.sleep(1)
        policy["version"] = 3
        policy["identifiers"]["device_id"]["limit"] = 20
        fleet.publish(policy)
        time.sleep(2)
    settle(fleet)
    assert_equal_to_oracle(fleet, crowd.sent, DEFINITIONS)
    fleet.check_alive()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"version": 1}, "version 1 is not greater than version"),
        ({"history": "60d"}, "history is 30d in force"),
        ({"identifiers": {"email": {"limit": 5, "normalise": "email"}}}, "identifiers.user_id is removed"),
    ],
)
def test_a_policy_that_cannot_be_used_is_refused_with_one_sentence(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], problem: str
) -> None:
    elo = Deployment(fleet.bootstrap, fleet.prefix, capsys).elo
    policy = yaml.safe_load(DEFAULTS.read_text("utf-8")) | {"version": 9} | changes
    file = tmp_path / "new.yaml"
    file.write_text(json.dumps(policy), "utf-8")
    refused = elo("identity", "publish", file)
    assert refused.code == 1
    assert problem in refused.err
    assert refused.err.strip().endswith("nothing was changed")
    assert refused.err.count("\n") == 1
