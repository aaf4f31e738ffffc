"""Laws of decisions over generated histories: order, repetition, delay and partitions change nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.core.outbox import MembershipChange, ProfileAlias
from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch
from pipeline.core.trial import try_out
from tests.support.decision_oracle import Ruled
from tests.support.histories import policy_of, random_decisions, random_policy, random_touches
from tests.support.laws import check_outputs, profiles_of
from tests.support.memory import PROFILE_KEY, Cluster
from tests.support.plays import BEGIN_MS, SEEDS, play_in_memory, play_on_disk, state_hash_of
from tests.support.segment_cases import HOUR_MS, START_MS, random_definition


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_order_of_touches_and_decisions_gives_the_profiles_of_the_oracle(seed: int) -> None:
    rng = random.Random(seed)
    touches = random_touches(rng, rng.randrange(5, 50), mixed=rng.choice([0.0, 0.15, 0.4]))
    play_in_memory(seed, rng, touches, random_decisions(rng, touches, rng.randrange(1, 7)))


def test_the_state_hash_covers_decisions_that_change_no_profile() -> None:
    touch = replace(random_touches(random.Random(1), 1)[0], identifiers=["user_id:u", "device_id:d"])
    merge = Ruled("m", "merge", START_MS, ("user_id:u", "device_id:d"))
    undo = Ruled("m", "undo", START_MS)
    hashes = []
    for decisions in ([], [merge], [merge, undo], [undo, merge]):
        cluster = Cluster(policy_of(), size=3, start_ms=BEGIN_MS)
        for one in [touch, *(sent for ruled in decisions for sent in ruled.touches(["device_id:d"]))]:
            cluster.accept(one)
        cluster.settle()
        assert [profile["identifiers"] for profile in profiles_of(cluster)] == [["user_id:u", "device_id:d"]]
        hashes.append(state_hash_of(cluster))
    assert hashes[2] == hashes[3]
    assert len(set(hashes)) == 3


@pytest.mark.parametrize("seed", range(SEEDS // 10))
def test_the_real_store_keeps_decisions_through_aborts_restarts_and_wiped_disks(
    seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    touches = random_touches(rng, 40)
    play_on_disk(seed, rng, tmp_path, touches, random_decisions(rng, touches, 6))


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
        cluster = Cluster(policy_of(), definitions, seed=seed, size=size, start_ms=BEGIN_MS)
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
    cluster = Cluster(policy, definitions, seed=seed, size=rng.choice([1, 3]), start_ms=BEGIN_MS)
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
