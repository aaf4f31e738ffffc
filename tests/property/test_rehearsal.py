"""Laws of a rehearsal: what it foretells is what the oracle says of the same touches under the new policy."""

from __future__ import annotations

import random

import pytest

from pipeline.core.policy import parse_policy
from pipeline.core.rehearsal import Rehearsal
from pipeline.core.segments.parse import definition_from_json
from tests.support import oracle
from tests.support.histories import keep_shared, policy_change, random_touches
from tests.support.laws import members_of
from tests.support.memory import PROFILE_KEY, Chaos, Cluster
from tests.support.memory_policies import rehearsed
from tests.support.plays import BEGIN_MS, SEEDS
from tests.support.segment_cases import HOUR_MS, START_MS, random_definition


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_rehearsal_foretells_the_profiles_and_memberships_of_the_oracle(seed: int) -> None:
    rng = random.Random(seed)
    touches = random_touches(rng, rng.randrange(5, 60), mixed=rng.choice([0.0, 0.15, 0.4]))
    definitions = [random_definition(rng, number) for number in range(6)]
    documents = policy_change(rng)
    before = parse_policy(documents[0])
    keep_shared(*documents, oracle.shared_identifiers(touches, before))
    after = parse_policy(documents[1])
    cluster = Cluster(
        before, map(definition_from_json, definitions), seed=seed, size=rng.choice([1, 3]),
        start_ms=BEGIN_MS, chaos=Chaos(batch_max=20, delay_ms=rng.choice([0, 20])),
    )  # fmt: skip
    for touch in touches:
        cluster.accept(touch)
        cluster.run(rng.randrange(4))
    cluster.advance(START_MS + 12 * HOUR_MS)
    result = rehearsed(cluster, after, definitions)
    people = {policy.version: oracle.people(touches, policy, PROFILE_KEY) for policy in (before, after)}
    old, new = ({one.profile_id for one in people[version]} for version in (1, 2))
    assert (result.profiles_before, result.profiles_after) == (len(old), len(new))
    assert (result.merges_gained.count, result.merges_lost.count) == (len(old - new), len(new - old))
    told = members_of(cluster)
    then = {
        (one.profile_id, name) for one in people[2] for name in one.memberships(definitions, cluster.now_ms)
    }
    found = {
        name: (moves.entered.count, moves.left.count) for name, moves in result.segments.items()
    }  # fmt: skip
    assert found == {
        name: (len(entered), len(left))
        for name in {segment for _, segment in told ^ then}
        for entered, left in [({one for one in then - told if one[1] == name},
                               {one for one in told - then if one[1] == name})]
    }  # fmt: skip
    check_examples(result, old, new)


def check_examples(result: Rehearsal, old: set[str], new: set[str]) -> None:
    """Each example names the profile, the other one and, where links decide, a link that was refused."""
    body = result.to_json()
    for name, there, gone in (("merges_gained", old, new), ("merges_lost", new, old)):
        for example in body[name]["examples"]:
            assert example["profile_id"] in there - gone
            assert example["with_profile_id"] in {None, *gone}
            assert example["link"] is None or example["link"]["refused"]
    for profile in body["largest_profiles"]:
        assert profile["profile_id"] in new
    counted = sum(body["refused_links"]["after"].values()) - sum(body["refused_links"]["before"].values())
    if not counted and not result.changed:
        assert old == new
