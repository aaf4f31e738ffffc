"""Computed traits of every kind on both sides of an unmerge: those of the oracle, as if they had never met.

A profile is parted in three ways: a decision is undone, somebody is split off, new evidence shows that what
linked them is shared.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any, Final

import pytest

from pipeline.core.outbox import Cause, ProfileAlias
from pipeline.core.policy import parse_policy
from pipeline.core.segments.definition import Computation
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch
from tests.support.decision_oracle import Ruled
from tests.support.laws import changes_of, check_outputs, check_profiles, check_structure, profiles_of
from tests.support.memory import Chaos, Cluster
from tests.support.segment_cases import CATEGORIES, EVENTS, HOUR_MS, START_MS

SEEDS: Final = int(os.environ.get("ELO_TEST_SEEDS", "12"))
NOW_MS: Final = START_MS + 6 * HOUR_MS
POLICY: Final = parse_policy(
    {
        "identifiers": {
            "user_id": {"limit": 1},
            "email": {"limit": 5, "shared_after": 2},
            "anonymous_id": {"limit": 100},
        }
    }
)
OURS: Final = ("user_id:ana", "anonymous_id:web", "email:home@example.com")
PROPERTY: Final = {"sum": "price", "avg": "price", "min": "price", "max": "price", "first": "category",
                   "last": "category", "most_frequent": "category", "unique": "category"}  # fmt: skip


def every_kind() -> list[dict[str, Any]]:
    """Each computation, ever and in a window; a score and segments made of them."""
    made: list[dict[str, Any]] = []
    for kind in map(str, Computation):
        written = {"compute": kind, "event": "product_viewed"}
        written |= {"of": PROPERTY[kind]} if kind in PROPERTY else {}
        written |= {"gap": "90m"} if kind == "sessions" else {}
        windows = {"ever": {}, "lately": {"within": "3h"}}
        if kind == "recency":
            windows = {"hours": {"unit": "1h"}, "long": {"unit": "5h"}}
        made += [{"trait": f"{kind}_{name}", **written, **window} for name, window in windows.items()]
    made.append({"trait": "first_at", "compute": "first", "event": "order_completed"})
    made.append({"trait": "interest", "score": [
        {"points": 3, "when": {"trait": "count_lately", "gte": 2}},
        {"points": 5, "when": {"trait": "most_frequent_ever", "is": "hats"}},
        {"points": -2, "when": {"event": "order_completed", "within": "2h"}},
    ]})  # fmt: skip
    made.append({"id": "keen", "where": {"trait": "interest", "gte": 5}})
    made.append({"id": "dear", "where": {"trait": "avg_lately", "gt": 2}})
    return made


def visits(rng: random.Random, count: int, names: tuple[str, ...], prefix: str) -> list[Touch]:
    """What somebody does under one of their names."""
    found = []
    for number in range(count):
        properties = {"category": rng.choice(CATEGORIES), "price": rng.choice([0, 1, 2.5, 0.1, -1, "3"])}
        at_ms = START_MS + rng.randrange(12) * HOUR_MS // 2 + rng.choice([0, 0, 1])
        kind = rng.choice([EVENTS[0], *EVENTS])
        found.append(
            Touch(f"{prefix}{number}", "web", kind, at_ms, [rng.choice(names)], "{}", json.dumps(properties))
        )
    return found


class Play:
    """A cluster, what it was sent, and the comparison with the oracle."""

    def __init__(self, seed: int, rng: random.Random) -> None:
        self.definitions = every_kind()
        self.sent: list[Touch] = []
        self.decided: list[Ruled] = []
        chaos = Chaos(batch_max=rng.choice([1, 3, 20]), forget=rng.choice([0, 0.5]),
                      crash=rng.choice([0, 0.2]), delay_ms=rng.choice([0, 20]))  # fmt: skip
        self.cluster = Cluster(POLICY, map(definition_from_json, self.definitions), seed=seed,
                               size=rng.choice([1, 3, 5]), start_ms=NOW_MS, chaos=chaos)  # fmt: skip

    def send(self, *touches: Touch) -> None:
        for touch in touches:
            self.cluster.accept(touch)
        self.sent += touches
        self.cluster.settle()

    def decide(self, ruled: Ruled) -> None:
        for touch in ruled.touches(ruled.identifiers[:1]):
            self.cluster.accept(touch)
        self.decided.append(ruled)
        self.cluster.settle()

    def sides(self) -> list[list[str]]:
        return sorted(one["identifiers"] for one in profiles_of(self.cluster))

    def check(self) -> None:
        """Now, and while windows run out."""
        for minutes in (0, 1, 30, 90, 200, 700):
            self.cluster.advance(self.cluster.now_ms + minutes * 60_000)
            self.cluster.advance(self.cluster.now_ms + 2_000)
            check_profiles(self.cluster, self.sent, self.definitions, self.decided)
        check_structure(self.cluster)
        check_outputs(self.cluster)

    def causes(self) -> set[Cause]:
        aliases = [one.output.cause for one in self.cluster.told if isinstance(one.output, ProfileAlias)]
        return {*aliases, *(one.cause for one in changes_of(self.cluster))}


def test_every_computation_is_there() -> None:
    assert {one["compute"] for one in every_kind() if "compute" in one} == {*map(str, Computation)}
    assert len(Computation) == 11


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("action", ["undo", "split"])
def test_a_merge_that_is_taken_back_leaves_to_each_side_its_own_values(action: str, seed: int) -> None:
    rng = random.Random(seed)
    play = Play(seed, rng)
    ana, bia = OURS[:1], ("user_id:bia",)
    play.send(*visits(rng, 12, ana, "a"), *visits(rng, 12, bia, "b"))
    play.decide(Ruled("m", "merge", NOW_MS, (*ana, *bia)))
    play.send(*visits(rng, 5, (*ana, *bia), "c"))
    assert play.sides() == [[*ana, *bia]]
    check_profiles(play.cluster, play.sent, play.definitions, play.decided)
    if action == "undo":
        play.decide(Ruled("m", "undo", NOW_MS + 1, ana))
    else:
        play.decide(Ruled("s", "split", NOW_MS + 1, bia))
    play.send(*visits(rng, 5, (*ana, *bia), "d"))
    assert play.sides() == [[*ana], [*bia]]
    play.check()
    assert {Cause.MERGE, Cause.UNMERGE} <= play.causes()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_evidence_that_parts_a_profile_leaves_to_each_side_its_own_values(seed: int) -> None:
    rng = random.Random(seed)
    play = Play(seed, rng)
    user, visitor, home = OURS
    logins = [Touch("l0", "web", "identified", START_MS, [user, home]),
              Touch("l1", "web", "identified", START_MS + 1, [home, visitor])]  # fmt: skip
    play.send(*visits(rng, 15, OURS, "a"), *logins)
    assert play.sides() == [sorted(OURS, key=POLICY.order_of)]
    check_profiles(play.cluster, play.sent, play.definitions)
    others = ["user_id:bia", "user_id:caio"]
    play.send(*(Touch(f"o{n}", "web", "identified", NOW_MS, [one, home]) for n, one in enumerate(others)))
    play.send(*visits(rng, 10, (*OURS, *others), "b"))
    apart = play.sides()
    assert [user] in apart
    assert any(visitor in one and user not in one for one in apart)
    play.check()
    assert Cause.UNMERGE in play.causes()
