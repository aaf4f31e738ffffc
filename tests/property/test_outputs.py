"""Laws of what consumers are told: exact instants and sequences, nothing taken back, everybody forgotten in
time.
"""

from __future__ import annotations

import os
import random
from typing import Any, Final

import msgspec
import pytest

from pipeline.core.outbox import Cause, MembershipChange, ProfileAlias
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch
from tests.support import oracle, told_oracle
from tests.support.histories import World, policy_of, random_touches
from tests.support.laws import (
    check_outputs,
    check_profiles,
    check_sequences,
    check_structure,
    members_of,
    profiles_of,
    replay,
)
from tests.support.memory import PROFILE_KEY, Chaos, Cluster
from tests.support.segment_cases import DAYS, HOUR_MS, HOURS, START_MS, Scale, random_definition
from tests.support.told_oracle import by_membership, told_of

SEEDS: Final = int(os.environ.get("ELO_TEST_SEEDS", "100"))
LINK_WAIT_MS: Final = 250


def one_person(rng: random.Random, count: int, scale: Scale) -> list[Touch]:
    """Touches of one person, the first of which names all identifiers."""
    world = World(rng, people=1, mixed=0, scale=scale)
    touches = [world.touch(number) for number in range(count)]
    limits = {"email": 2, "device_id": 3}
    kept = [one for kind, values in world.owned[0].items() for one in values[: limits.get(kind)]]
    first = Touch("first", "crm", "identified", scale.start_ms, kept)
    return [first, *(touch for touch in touches if set(touch.identifiers) <= set(kept))]


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("scale", [HOURS, DAYS], ids=["hours", "days"])
def test_a_person_seen_in_order_is_told_of_exactly_as_the_oracle_says_also_by_a_worker_that_was_down(
    seed: int, scale: Scale
) -> None:
    """In hours, and over sixty days in which clocks change."""
    rng = random.Random(seed)
    definitions = [random_definition(rng, number, scale, traits=0.2) for number in range(9)]
    touches = one_person(rng, rng.randrange(1, 25), scale)
    step_ms = scale.step_ms
    size = rng.choice([1, 1, 4])
    cluster = Cluster(
        policy_of(), map(definition_from_json, definitions), seed=seed, size=size, start_ms=scale.start_ms,
        chaos=Chaos(batch_max=rng.choice([1, 4, 50]), crash=rng.choice([0, 0.3])),
    )  # fmt: skip
    story = told_oracle.Story(cluster.policy, PROFILE_KEY, scale.start_ms)
    for definition in definitions:
        story.define(scale.start_ms, definition)
    for touch in touches:
        # Else nobody works: the clock alone goes on. Mail would be late then.
        if size > 1 or rng.random() < 0.5:
            cluster.advance(cluster.now_ms + rng.choice([0, 0, step_ms, 2 * step_ms]))
        else:
            cluster.now_ms += rng.choice([0, step_ms, 3 * step_ms])
        cluster.accept(touch)
        story.touch(cluster.now_ms, touch)
    cluster.now_ms += rng.choice([0, 1, 5 * step_ms]) if size == 1 else 0
    cluster.advance(cluster.now_ms + 48 * step_ms)
    story.wait(cluster.now_ms)
    assert by_membership(told_of(cluster)) == by_membership(story.told)
    check_profiles(cluster, touches, definitions)
    check_outputs(cluster)


def separate_people(rng: random.Random, count: int) -> tuple[list[Touch], list[Touch]]:
    """Anonymous visits on several devices, and the one login of each person that joins them all."""
    visits, logins = [], []
    for person in range(count):
        devices = [
            f"{rng.choice(['device_id', 'anonymous_id'])}:p{person}.{at}" for at in range(rng.randrange(1, 5))
        ]
        world = World(rng, people=1)
        for number in range(rng.randrange(1, 8)):
            seen = sorted(rng.sample(devices, k=min(len(devices), rng.choice([1, 1, 2]))), reverse=True)
            touch = world.touch(number)
            event_id = f"p{person}.{number}"
            visits.append(msgspec.structs.replace(touch, event_id=event_id, identifiers=seen))
        known = [f"user_id:p{person}", f"email:p{person}@example.com"][rng.randrange(2) :]
        everything = [*known, *sorted(devices, reverse=True)]
        logins.append(Touch(f"p{person}.login", "app", "identified", START_MS + 9 * HOUR_MS, everything))
    return rng.sample(visits, k=len(visits)), logins


def wide_policy() -> Any:
    """Limits that nobody of `separate_people` meets."""
    types: dict[str, Any] = {
        "user_id": {"limit": 1}, "email": {"limit": 5, "normalise": "email"},
        "device_id": {"limit": 9}, "anonymous_id": {"limit": 9},
    }  # fmt: skip
    return policy_of(identifiers=types)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_login_on_several_devices_is_told_once_and_nothing_of_it_is_taken_back(seed: int) -> None:
    rng = random.Random(seed)
    definitions = [random_definition(rng, number) for number in range(6)]
    visits, logins = separate_people(rng, 6)
    cluster = Cluster(
        wide_policy(), map(definition_from_json, definitions), seed=seed, size=rng.choice([2, 8, 16]),
        start_ms=START_MS + 10 * HOUR_MS, chaos=Chaos(batch_max=rng.choice([1, 5]), delay_ms=20),
    )  # fmt: skip
    for touch in visits:
        cluster.accept(touch)
    cluster.settle()
    before, known_before = len(cluster.told), {pid for one in profiles_of(cluster)
                                               for pid in (one["profile_id"], *one["aliases"])}  # fmt: skip
    started_ms = cluster.now_ms
    for touch in logins:
        cluster.accept(touch)
        cluster.run(rng.randrange(4))
    cluster.settle()
    assert cluster.now_ms - started_ms < LINK_WAIT_MS
    told = [one.output for one in cluster.told[before:]]
    changes = [one for one in told if isinstance(one, MembershipChange) and one.cause is not Cause.TIMER]
    changed = [(one.profile_id, one.segment_id) for one in changes]
    assert len(changed) == len(set(changed))
    retired = [one.old_profile_id for one in told if isinstance(one, ProfileAlias)]
    assert len(retired) == len(set(retired))
    assert set(retired) <= known_before
    live = {one["profile_id"] for one in profiles_of(cluster)}
    assert len(live) == len(logins)
    assert {pid for pid, _ in changed} <= live | set(retired)
    check_profiles(cluster, visits + logins, definitions)
    check_outputs(cluster)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_outputs_that_wait_for_a_link_come_after_link_wait_at_the_latest(seed: int) -> None:
    rng = random.Random(seed)
    everybody = {"id": "everybody", "where": {"none": [{"trait": "no", "exists": True}]}}
    others = rng.randrange(1, 5)
    touch = Touch(
        "e", "web", "page_viewed", START_MS, ["user_id:u", *[f"device_id:{at}" for at in range(others)]]
    )
    cluster = Cluster(
        wide_policy(), [definition_from_json(everybody)], size=16, start_ms=START_MS, seed=seed,
        chaos=Chaos(delay_ms=rng.choice([0, 20, 100, 1_000, 5_000])),
    )  # fmt: skip
    cluster.accept(touch)
    cluster.advance(START_MS + 20_000)
    (entered,) = [one for one in cluster.told if isinstance(one.output, MembershipChange)]
    assert START_MS <= entered.at_ms <= START_MS + LINK_WAIT_MS
    last_answer_ms = max(
        [mail.ready_ms for one in cluster.partitions for mail in one.logs.mail], default=START_MS
    )
    assert entered.at_ms == min(last_answer_ms, START_MS + LINK_WAIT_MS)
    check_outputs(cluster)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_idle_anonymous_components_are_forgotten_everywhere_and_nobody_else_is(seed: int) -> None:
    rng = random.Random(seed)
    definitions = [random_definition(rng, number) for number in range(4)]
    types: dict[str, Any] = {
        "user_id": {"limit": 1}, "email": {"limit": 2, "normalise": "email"}, "device_id": {"limit": 2},
        "anonymous_id": {"limit": 3},
    }  # fmt: skip
    policy = policy_of(
        identifiers=types,
        anonymous_retention=rng.choice(["30m", "2h"]),
        history=rng.choice(["5m", "1h", "30d"]),
    )
    touches = [
        touch for touch in random_touches(rng, 60, people=6)
        if all(one.partition(":")[0] in types for one in touch.identifiers)
        and (rng.random() < 0.2 or not touch.identifiers[0].startswith(("user_id", "email")))
    ]  # fmt: skip
    cluster = Cluster(
        policy, map(definition_from_json, definitions), seed=seed, size=rng.choice([1, 3, 16]),
        start_ms=START_MS + 6 * HOUR_MS, chaos=Chaos(batch_max=3, forget=0.5, crash=rng.choice([0, 0.2])),
    )  # fmt: skip
    arrivals = []
    for touch in touches:
        cluster.advance(cluster.now_ms + rng.choice([0, 1, 60_000, 600_000, HOUR_MS // 2, HOUR_MS]))
        cluster.accept(touch)
        arrivals.append((cluster.now_ms, touch))
    cluster.advance(cluster.now_ms + rng.choice([2_000, HOUR_MS // 2, 24 * HOUR_MS]))
    check_structure(cluster)
    check_profiles(cluster, oracle.remembered(arrivals, cluster.now_ms, policy), definitions)
    check_sequences(cluster, forgotten=True)
    assert replay(cluster) == members_of(cluster)
