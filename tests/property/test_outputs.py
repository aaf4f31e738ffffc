"""Laws of what consumers are told: exact instants and sequences, nothing taken back, everybody forgotten in time."""

from __future__ import annotations

import os
import random
from typing import Any, Final

import pytest

from pipeline.core.outbox import Cause, MembershipChange, ProfileAlias
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch
from tests.support import oracle
from tests.support.histories import World, policy_of, random_touches
from tests.support.laws import (
    changes_of,
    check_outputs,
    check_profiles,
    check_sequences,
    check_structure,
    members_of,
    profiles_of,
    replay,
)
from tests.support.memory import PROFILE_KEY, Chaos, Cluster, partition_of
from tests.support.segment_cases import HOUR_MS, START_MS, random_definition

SEEDS: Final = int(os.environ.get("ELO_TEST_SEEDS", "100"))
LINK_WAIT_MS: Final = 250


def one_person(rng: random.Random, count: int) -> list[Touch]:
    """Touches of one person, the first of which names all identifiers."""
    world = World(rng, people=1, mixed=0)
    touches = [world.touch(number) for number in range(count)]
    everything = [one for values in world.owned[0].values() for one in values]
    limits = {"email": 2, "device_id": 3}
    kept = [one for at, one in enumerate(everything)
            if sum(o.partition(":")[0] == one.partition(":")[0] for o in everything[:at]) < limits.get(oracle.kind_of(one), 9)]  # fmt: skip
    first = Touch("first", "crm", "identified", START_MS, kept)
    return [first, *(touch for touch in touches if set(touch.identifiers) <= set(kept))]


def told_of(cluster: Cluster) -> list[oracle.Change]:
    """What was told, without what the oracle does not know."""
    return [
        oracle.Change(one.segment_id, one.change, one.sequence, one.occurred_at, one.cause is Cause.TIMER)
        for one in changes_of(cluster)
    ]


def by_segment(changes: list[oracle.Change]) -> dict[str, list[oracle.Change]]:
    found: dict[str, list[oracle.Change]] = {}
    for change in changes:
        found.setdefault(change.segment_id, []).append(change)
    return found


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_person_seen_in_order_is_told_of_exactly_as_the_oracle_says_also_by_a_worker_that_was_down(
    seed: int,
) -> None:
    rng = random.Random(seed)
    definitions = [random_definition(rng, number) for number in range(8)]
    touches = one_person(rng, rng.randrange(1, 25))
    size = rng.choice([1, 1, 4])
    cluster = Cluster(
        policy_of(), map(definition_from_json, definitions), seed=seed, size=size, start_ms=START_MS,
        chaos=Chaos(batch_max=rng.choice([1, 4, 50]), crash=rng.choice([0, 0.3])),
    )  # fmt: skip
    arrivals = []
    for touch in touches:
        if size > 1 or rng.random() < 0.5:  # Else nobody works: the clock alone goes on.
            cluster.advance(cluster.now_ms + rng.choice([0, 0, HOUR_MS // 2, HOUR_MS, 3 * HOUR_MS]))
        else:
            cluster.now_ms += rng.choice([0, HOUR_MS // 2, HOUR_MS, 3 * HOUR_MS])
        cluster.accept(touch)
        arrivals.append((cluster.now_ms, touch))
    cluster.now_ms += rng.choice([0, 1, 5 * HOUR_MS])
    cluster.advance(cluster.now_ms + 24 * HOUR_MS)
    expected = oracle.told_in_order(definitions, arrivals, cluster.now_ms, cluster.policy, PROFILE_KEY)
    assert by_segment(told_of(cluster)) == by_segment(expected)
    check_profiles(cluster, touches, definitions)
    check_outputs(cluster)
