"""Laws of rehearsing another way to compare: the pairs that are foretold are those of the oracle, before and
after, and those that publishing makes.
"""

from __future__ import annotations

import random
from typing import Any, Final

import pytest

from pipeline.core import rehearsal
from pipeline.core.policy import Policy
from pipeline.core.touch import Touch
from tests.support import oracle
from tests.support.histories import (
    IDENTIFIERS,
    SURVIVORSHIP,
    TIMES,
    described,
    matching_section,
    random_touches,
)
from tests.support.laws import check_matches, profiles_of
from tests.support.matching_oracle import matches_of, records_of
from tests.support.memory import Cluster
from tests.support.memory_definitions import MemoryControl
from tests.support.memory_policies import MemoryPolicies, rehearsed
from tests.support.models import policy_from
from tests.support.plays import BEGIN_MS, SEEDS

MODELS: Final = ("shipped", "model-1.json", "model-2.json")
Known = tuple[set[tuple[str, str]], set[tuple[str, str]]]


def document(rng: random.Random, version: int) -> dict[str, Any]:
    found: dict[str, Any] = {"version": version, "identifiers": IDENTIFIERS, "traits": SURVIVORSHIP, **TIMES}
    return found if rng.random() < 0.2 else found | {"matching": matching_section(rng, MODELS)}


def pairs_of(touches: list[Touch], shared: set[str], policy: Policy) -> Known:
    """The oracle's word: pairs that are evidence, and pairs for a steward."""
    rule = policy.matching
    records = records_of(touches, policy, oracle.surviving)
    found: Known = set(), set()
    for (a, b), (weight, _) in matches_of(touches, records, policy).items():
        if rule is not None and shared.isdisjoint((a, b)):
            found[weight < rule.merge_above].add((min(a, b), max(a, b)))
    return found


@pytest.mark.parametrize("seed", range(SEEDS // 3))
def test_the_pairs_of_a_rehearsal_are_those_of_the_oracle_and_of_the_workers_then(seed: int) -> None:
    rng = random.Random(seed)
    touches = described(rng, random_touches(rng, rng.randrange(5, 50), mixed=rng.choice([0.0, 0.1])))
    first, second = document(rng, 1), document(rng, 2)
    policies = MemoryPolicies(first)
    cluster = Cluster(
        policies.file.policy, seed=seed, size=rng.choice([1, 3]), start_ms=BEGIN_MS,
        make_definitions=policies.changes(MemoryControl()),
    )  # fmt: skip
    for touch in touches:
        cluster.accept(touch)
    cluster.settle()
    after = policy_from(second)
    body = rehearsed(cluster, after, ()).to_json()["records"]
    once = oracle.accepted(touches)
    if policies.file.policy.matching == after.matching or not records_of(once, after, oracle.surviving):
        assert body is None
        return
    shared = oracle.shared_identifiers(touches, policies.file.policy)
    old, new = pairs_of(once, shared, policies.file.policy), pairs_of(once, shared, after)
    found = body["pairs"]
    assert found["matches"] == {"before": len(old[0]), "after": len(new[0])}
    assert found["reviews"] == {"before": len(old[1]), "after": len(new[1])}
    whose = {one: profile["profile_id"] for profile in profiles_of(cluster) for one in profile["identifiers"]}
    joining = [(a, b) for a, b in new[0] - old[0] if whose[a] != whose[b]]
    parting = [(a, b) for a, b in old[0] - new[0] if whose[a] == whose[b]]
    assert (found["gained"]["count"], found["gained"]["between_profiles"]) == (
        len(new[0] - old[0]),
        len(joining),
    )
    assert (found["lost"]["count"], found["lost"]["within_a_profile"]) == (len(old[0] - new[0]), len(parting))
    for name, there, gone in (("gained", new[0], old[0]), ("lost", old[0], new[0])):
        for example in found[name]["examples"]:
            assert tuple(example["identifiers"]) in there - gone
            assert example["one_profile"] == (len({whose[one] for one in example["identifiers"]}) == 1)
    cluster.policy = policies.publish(second)
    cluster.settle()
    check_matches(cluster, touches)


def test_of_too_many_records_only_their_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    touches = described(rng, random_touches(rng, 30))
    first = {"version": 1, "identifiers": IDENTIFIERS, **TIMES}
    second = first | {"version": 2, "matching": {"model": "model-1.json"}}
    cluster = Cluster(policy_from(first), size=3, start_ms=BEGIN_MS)
    for touch in touches:
        cluster.accept(touch)
    cluster.settle()
    after = policy_from(second)
    count = len(records_of(oracle.accepted(touches), after, oracle.surviving))
    assert rehearsed(cluster, after, ()).to_json()["records"]["pairs"] is not None
    monkeypatch.setattr(rehearsal, "RECORDS_MAX", count - 1)
    assert rehearsed(cluster, after, ()).to_json()["records"] == {"count": count, "pairs": None}
