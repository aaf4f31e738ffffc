"""A profile of 50 identifiers and many events is parted: both sides are as the oracle has them."""

from __future__ import annotations

import json
import os
import random
from typing import Final

import pytest

from pipeline.core.policy import Policy, parse_policy
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch
from tests.support.decision_oracle import Ruled
from tests.support.laws import changes_of, check_outputs, check_profiles, check_structure, profiles_of
from tests.support.memory import Cluster
from tests.support.segment_cases import CATEGORIES, EVENTS, HOUR_MS, START_MS, random_definition

EVENTS_COUNT: Final = int(os.environ.get("ELO_TEST_EVENTS", "3000"))
"""Raise it to 100,000 to see that the size of the history does not matter."""
SIDE: Final = 25
NOW_MS: Final = START_MS + 6 * HOUR_MS


def policy() -> Policy:
    return parse_policy({"identifiers": {"user_id": {"limit": 1}, "device_id": {"limit": 100}}})


def identifiers(person: str) -> list[str]:
    return [f"user_id:{person}", *(f"device_id:{person}{number}" for number in range(SIDE - 1))]


def touches(rng: random.Random) -> list[Touch]:
    """Logins of two people on their devices, and everything that they do there."""
    people = [identifiers("ana"), identifiers("bia")]
    found = [
        Touch(f"login-{device}", "web", "identified", START_MS, [own[0], device])
        for own in people for device in own[1:]
    ]  # fmt: skip
    for number in range(EVENTS_COUNT):
        properties = json.dumps({"category": rng.choice(CATEGORIES), "price": rng.randrange(5)})
        at_ms = START_MS + rng.randrange(6 * HOUR_MS)
        own = rng.choice(people)
        found.append(
            Touch(f"e{number}", "web", rng.choice(EVENTS), at_ms, [rng.choice(own)], "{}", properties)
        )
    return found


@pytest.mark.parametrize("size", [1, 16])
def test_both_sides_are_restored(size: int) -> None:
    rng = random.Random(EVENTS_COUNT)
    definitions = [random_definition(rng, number) for number in range(6)]
    cluster = Cluster(policy(), map(definition_from_json, definitions), size=size, start_ms=NOW_MS)
    sent = touches(rng)
    merge = Ruled("m", "merge", NOW_MS, ("user_id:ana", "user_id:bia"))
    split = Ruled("s", "split", NOW_MS + 1, tuple(identifiers("bia")))
    undo = Ruled("m", "undo", NOW_MS + 2)
    for touch in [*sent, *merge.touches()]:
        cluster.accept(touch)
    cluster.settle()
    assert [len(one["identifiers"]) for one in profiles_of(cluster)] == [2 * SIDE]
    decided = [merge]
    for decision in (split, undo):
        decided.append(decision)
        told = len(changes_of(cluster))
        for touch in decision.touches(["user_id:bia"]):
            cluster.accept(touch)
        cluster.settle()
        assert [len(one["identifiers"]) for one in profiles_of(cluster)] == [SIDE, SIDE]
        assert {str(change.cause) for change in changes_of(cluster)[told:]} <= {"unmerge"}
        check_profiles(cluster, sent, definitions, decided)
    check_structure(cluster)
    check_outputs(cluster)
