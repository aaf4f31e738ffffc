"""Laws of decisions over generated histories: order, repetition, delay and partitions change nothing."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from pipeline.core import joining, node
from pipeline.core.outbox import MembershipChange, ProfileAlias
from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch
from pipeline.core.trial import try_out
from tests.property.test_resolver import pass_time, state_hash_of
from tests.support.decision_oracle import Ruled
from tests.support.histories import (
    policy_of,
    random_decisions,
    random_policy,
    random_touches,
    shuffled_with_repetitions,
)
from tests.support.laws import check_heirs, check_outputs, check_profiles, check_structure, profiles_of
from tests.support.memory import PROFILE_KEY, Chaos, Cluster
from tests.support.rocks import on_disk
from tests.support.segment_cases import HOUR_MS, START_MS, random_definition

SEEDS: Final = int(os.environ.get("ELO_TEST_SEEDS", "150"))
"""How many histories each law is tried on; raise it for a soak."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_order_of_touches_and_decisions_gives_the_profiles_of_the_oracle(seed: int) -> None:
    rng = random.Random(seed)
    touches = random_touches(rng, rng.randrange(5, 50), mixed=rng.choice([0.0, 0.15, 0.4]))
    decisions = random_decisions(rng, touches, rng.randrange(1, 7))
    definitions = [random_definition(rng, number) for number in range(6)]
    history = rng.choice(["30d", "10m"])
    policy = policy_of(moves=rng.random() < 0.3, history=history)
    if rng.random() < 0.6:
        policy = random_policy(rng, history=history)
    chaos = Chaos(
        batch_max=rng.choice([1, 3, 20]), forget=rng.choice([0, 0.5, 1]), crash=rng.choice([0, 0.2]),
        delay_ms=rng.choice([0, 20, 2_000]),
    )  # fmt: skip
    arrivals = [*touches, *(touch for one in decisions for touch in one.touches(one.identifiers[:1]))]
    with pytest.MonkeyPatch.context() as patch:
        if rng.random() < 0.5:  # Everything is large: merges travel in parts, a component has many pages.
            patch.setattr(joining, "MERGE_BYTES_MAX", 300)
            patch.setattr(node, "PAGE_FACETS", 2)
        cluster = Cluster(
            policy, map(definition_from_json, definitions), seed=seed, size=rng.choice([1, 2, 3, 16]),
            start_ms=START_MS + 6 * HOUR_MS, chaos=chaos,
        )  # fmt: skip
        for touch in shuffled_with_repetitions(rng, arrivals):
            cluster.accept(touch)
            cluster.run(rng.randrange(4))
            if rng.random() < 0.3:
                pass_time(cluster, rng)
        cluster.advance(max(cluster.now_ms, START_MS + rng.randrange(6, 18) * HOUR_MS))
        cluster.advance(cluster.now_ms + 2_000)  # After a crash a profile is published only when it is due.
    check_structure(cluster)
    check_profiles(cluster, touches, definitions, decisions)
    check_heirs(cluster, touches, decisions)
    check_outputs(cluster)


@pytest.mark.parametrize("seed", range(SEEDS // 3))
def test_equal_histories_have_the_same_state_hash_and_end_in_the_same_profiles(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    touches = random_touches(rng, rng.randrange(5, 60), mixed=rng.choice([0.0, 0.15, 0.4]))
    decisions = random_decisions(rng, touches, rng.randrange(1, 7))
    definitions = [definition_from_json(random_definition(rng, number)) for number in range(6)]
    policy = random_policy(rng) if rng.random() < 0.6 else policy_of(moves=rng.random() < 0.3)
    arrivals = [*touches, *(touch for one in decisions for touch in one.touches(one.identifiers[:1]))]
    hashes, ends = set(), []
    for again in range(3):
        cluster = Cluster(
            policy, definitions, seed=again, size=rng.choice([1, 3, 16]), start_ms=START_MS + 6 * HOUR_MS,
            chaos=Chaos(batch_max=rng.choice([1, 20]), delay_ms=rng.choice([0, 20, 2_000])),
        )  # fmt: skip
        for touch in shuffled_with_repetitions(rng, arrivals):
            cluster.accept(touch)
            cluster.run(rng.randrange(4))
        cluster.advance(START_MS + 12 * HOUR_MS)
        hashes.add(state_hash_of(cluster, monkeypatch))
        ends.append([(one["profile_id"], one["identifiers"]) for one in profiles_of(cluster)])
    assert len(hashes) == 1
    assert ends[0] == ends[1] == ends[2]


def test_the_state_hash_covers_decisions_that_change_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    touch = replace(random_touches(random.Random(1), 1)[0], identifiers=["user_id:u", "device_id:d"])
    merge = Ruled("m", "merge", START_MS, ("user_id:u", "device_id:d"))
    undo = Ruled("m", "undo", START_MS)
    hashes = []
    for decisions in ([], [merge], [merge, undo], [undo, merge]):
        cluster = Cluster(policy_of(), size=3, start_ms=START_MS + 6 * HOUR_MS)
        for one in [touch, *(sent for ruled in decisions for sent in ruled.touches(["device_id:d"]))]:
            cluster.accept(one)
        cluster.settle()
        assert [profile["identifiers"] for profile in profiles_of(cluster)] == [["user_id:u", "device_id:d"]]
        hashes.append(state_hash_of(cluster, monkeypatch))
    assert hashes[2] == hashes[3]
    assert len(set(hashes)) == 3


@pytest.mark.parametrize("seed", range(SEEDS // 10))
def test_the_real_store_keeps_decisions_through_aborts_restarts_and_wiped_disks(
    seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    touches = random_touches(rng, 40)
    decisions = random_decisions(rng, touches, 6)
    definitions = [random_definition(rng, number) for number in range(6)]
    cluster = Cluster(
        policy_of(history=rng.choice(["30d", "10m"])), map(definition_from_json, definitions), seed=seed,
        size=rng.choice([1, 3]), start_ms=START_MS + 6 * HOUR_MS, partition=on_disk(tmp_path),
        chaos=Chaos(batch_max=rng.choice([1, 3, 20]), forget=rng.choice([0, 0.5]), crash=0.2, delay_ms=20),
    )  # fmt: skip
    arrivals = [*touches, *(touch for one in decisions for touch in one.touches(one.identifiers[:1]))]
    for touch in shuffled_with_repetitions(rng, arrivals):
        cluster.accept(touch)
        cluster.run(rng.randrange(4))
    cluster.advance(cluster.now_ms + 12 * HOUR_MS)
    cluster.advance(cluster.now_ms + 2_000)
    check_structure(cluster)
    check_profiles(cluster, touches, definitions, decisions)
    check_outputs(cluster)
    for partition in cluster.partitions:
        partition.store.close()


@pytest.mark.parametrize("seed", range(SEEDS // 3))
def test_a_merge_is_as_if_all_events_had_carried_one_id_and_an_undo_as_if_it_never_was(seed: int) -> None:
    """Counters, windows, traits, consent, memberships and their timers; touch by touch with the same ids."""
    rng = random.Random(seed)
    definitions = [definition_from_json(random_definition(rng, number)) for number in range(6)]
    ids = ["user_id:u0", "user_id:u1", "user_id:u2"]
    touches = [replace(touch, identifiers=[rng.choice(ids)]) for touch in random_touches(rng, 30)]
    merge = Ruled("m", "merge", START_MS, tuple(ids))
    undo = Ruled("m", "undo", START_MS + 1, tuple(ids))
    size = rng.choice([1, 3, 16])

    def run(*arrivals: Touch) -> Cluster:
        cluster = Cluster(policy_of(), definitions, seed=seed, size=size, start_ms=START_MS + 6 * HOUR_MS)
        for touch in arrivals:
            cluster.accept(touch)
            cluster.settle()
        return cluster

    late = rng.randrange(len(touches))
    mixed = [*touches[:late], *merge.touches(), *touches[late:]]
    one_id = run(*(replace(touch, identifiers=[ids[0]]) for touch in touches))
    merged, undone, apart = run(*mixed), run(*mixed, *undo.touches(ids[:1])), run(*touches)
    for hours in (0, 3, 9, 20):  # Windows run out meanwhile.
        for cluster in (one_id, merged, undone, apart):
            cluster.advance(START_MS + (6 + hours) * HOUR_MS)
        assert contents(merged) == contents(one_id)
        assert contents(undone) == contents(apart)
    check_outputs(merged)
    check_outputs(undone)


def contents(cluster: Cluster) -> list[dict[str, object]]:
    """What profiles hold, apart from their ids and from how often they were told of."""
    return sorted(
        (
            {**{name: one[name] for name in ("traits", "counters", "consent", "first_seen", "last_seen")},
             "memberships": sorted(one["memberships"])}
            for one in profiles_of(cluster)
        ),
        key=str,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(SEEDS // 3))
def test_a_trial_tells_what_the_decision_then_does(seed: int) -> None:
    rng = random.Random(seed)
    touches = random_touches(rng, rng.randrange(5, 50))
    decisions = random_decisions(rng, touches, rng.randrange(1, 7))
    definitions = [definition_from_json(random_definition(rng, number)) for number in range(6)]
    policy = random_policy(rng) if rng.random() < 0.5 else policy_of()
    cluster = Cluster(
        policy, definitions, seed=seed, size=rng.choice([1, 3]), start_ms=START_MS + 6 * HOUR_MS
    )
    for touch in touches:
        cluster.accept(touch)
    cluster.advance(cluster.now_ms)
    for decision in decisions:
        sends = decision.touches(decision.identifiers)
        named = {*decision.identifiers, *decision.kept}
        live = [one for partition in cluster.partitions for one in partition.components() if not one.redirect]
        concerned = [one for one in live if not named.isdisjoint(one.identifiers)]
        trial = try_out(concerned, sends, policy, Catalogue(definitions), PROFILE_KEY, cluster.now_ms)
        before = len(cluster.told)
        for touch in sends:
            cluster.accept(touch)
        cluster.settle()
        told = [one.output for one in cluster.told[before:]]
        assert sorted(map(essence, [*trial.changes, *trial.aliases])) == sorted(
            essence(one) for one in told if isinstance(one, MembershipChange | ProfileAlias)
        )
        now = {one["profile_id"]: one["identifiers"] for one in profiles_of(cluster)}
        for profile_id, identifiers in trial.after:
            assert now[profile_id] == identifiers


def essence(one: MembershipChange | ProfileAlias) -> tuple[object, ...]:
    """What a trial promises of an output."""
    if isinstance(one, ProfileAlias):
        return one.old_profile_id, one.profile_id, str(one.cause)
    return one.profile_id, one.segment_id, one.change, str(one.sequence), str(one.cause)
