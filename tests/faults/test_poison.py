"""A touch that makes the program raise: it alone is rejected, and nothing of it stays behind."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.comparison import assert_equal_to_oracle
from tests.support.crowd import DEFINITIONS, Crowd, settle
from tests.support.fleet import MakeFleet

POISON = 7


def poisonous(number: int, crowd: Crowd) -> dict[str, Any]:
    """A touchpoint that links known browsers: half of its work leaves messages and a state behind."""
    seen = [one for touchpoint in crowd.sent[:100] for one in touchpoint["identifiers"]]
    others = [one for one in seen if one["type"] in ("anonymous_id", "device_id")][
        number * 4 : number * 4 + 4
    ]
    return {
        "event_id": f"poison-{number}",
        "source": "web",
        "type": "identified",
        "occurred_at": time.time_ns() // 1_000_000,
        "identifiers": [{"type": "user_id", "value": f"poisoned-{number}"}, *others],
    }


@pytest.mark.parametrize("stage", ["intake", "resolver", pytest.param("half-way", marks=pytest.mark.slow)])
def test_a_touch_that_raises_is_rejected_alone(stage: str, make_fleet: MakeFleet) -> None:
    fleet = make_fleet().create_topics(2)
    crowd = Crowd(seed=5, people=30)
    fleet.send(crowd.take(150))
    for number in range(POISON):
        fleet.send([poisonous(number, crowd), *crowd.take(20)])
    fleet.apply(*DEFINITIONS)
    fleet.start("a", ELO_TEST_POISON=stage, ELO_COMPILED=0)  # compiled code cannot be sabotaged
    fleet.send([*crowd.take(50), poisonous(0, crowd)])
    fleet.wait_idle()

    rejected = fleet.read("touchpoints.rejected")
    assert len(rejected) == POISON + 1
    for message in rejected:
        headers = {name: value.decode() for name, value in message.headers()}
        assert headers["elo.reason"] == "internal_error"
        assert headers["elo.detail"] == "Poison"
        assert b"poison-" in message.value()
    fleet.check_alive()
    settle(fleet)
    assert_equal_to_oracle(fleet, crowd.sent)
    fleet.worker("a").kill()
    fleet.worker("a").wipe()
    fleet.start("a")
    fleet.send(crowd.take(60))  # were the definitions kept that came in a batch with poison?
    settle(fleet)
    assert_equal_to_oracle(fleet, crowd.sent)
