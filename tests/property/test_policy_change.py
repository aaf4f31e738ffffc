"""Laws of an identity policy that changes while touches come: in the end all is as if the new one had been in
force from the start, and every consumer can follow how it came to that.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.outbox import Cause, ProfileAlias
from pipeline.core.policy import parse_policy
from pipeline.runtime import adoption
from tests.support import oracle
from tests.support.histories import (
    keep_shared,
    policy_change,
    random_decisions,
    random_touches,
    shuffled_with_repetitions,
)
from tests.support.laws import (
    changes_of,
    check_outputs,
    check_structure,
    members_of,
    profiles_of,
)
from tests.support.memory import Chaos, Cluster, Partition
from tests.support.memory_definitions import MemoryControl
from tests.support.memory_policies import MemoryPolicies, rehearsed
from tests.support.plays import BEGIN_MS, SEEDS, any_chaos, check_all, end_under, feed, sent, wait_while_busy
from tests.support.rocks import on_disk
from tests.support.segment_cases import HOUR_MS, START_MS, random_definition


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that takes many batches although there is little of it."""
    monkeypatch.setattr(adoption, "STEP", 2)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_after_a_change_of_policy_all_is_as_if_it_had_been_in_force_from_the_start(seed: int) -> None:
    play(seed)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("seed", range(SEEDS // 10))
def test_it_is_so_on_the_real_store_through_aborts_restarts_and_wiped_disks(
    seed: int, tmp_path: Path
) -> None:
    for partition in play(seed, on_disk(tmp_path), (1, 3)).partitions:
        partition.store.close()


def play(
    seed: int, partition: type[Partition] = Partition, sizes: tuple[int, ...] = (1, 2, 3, 16)
) -> Cluster:
    rng = random.Random(seed)
    touches = random_touches(rng, rng.randrange(5, 60), mixed=rng.choice([0.0, 0.15, 0.4]))
    definitions = [random_definition(rng, number) for number in range(6)]
    documents = policy_change(rng)
    keep_shared(*documents, oracle.shared_identifiers(touches, parse_policy(documents[0])))
    decisions = random_decisions(rng, touches, 4) if seed % 3 == 0 else []
    policies, control = MemoryPolicies(documents[0]), MemoryControl(definitions)
    cluster = Cluster(
        policies.file.policy, seed=seed, size=rng.choice(sizes), start_ms=BEGIN_MS, chaos=any_chaos(rng),
        make_definitions=policies.changes(control),
        partition=partition,
    )  # fmt: skip
    arrivals = shuffled_with_repetitions(rng, sent(touches, decisions))
    change_at = rng.randrange(len(arrivals) + 1)
    feed(cluster, rng, arrivals[:change_at], wait_while_busy)
    if change_at == len(arrivals) and rng.random() < 0.5:
        cluster.settle()
    policies.publish(documents[1])
    feed(cluster, rng, arrivals[change_at:], wait_while_busy)
    end_under(cluster, rng, parse_policy(documents[1]))
    check_all(cluster, touches, definitions, decisions)
    return cluster


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_a_rehearsal_foretells_is_what_publishing_does(seed: int) -> None:
    rng = random.Random(seed)
    touches = random_touches(rng, rng.randrange(5, 60), mixed=rng.choice([0.15, 0.4]))
    definitions = [random_definition(rng, number) for number in range(6)]
    documents = policy_change(rng)
    policies, control = MemoryPolicies(documents[0]), MemoryControl(definitions)
    cluster = Cluster(
        policies.file.policy, seed=seed, size=rng.choice([1, 3]), start_ms=START_MS + 12 * HOUR_MS,
        make_definitions=policies.changes(control),
    )  # fmt: skip
    decided = random_decisions(rng, touches, 3) if seed % 2 else []
    for touch in sent(touches, decided):
        cluster.accept(touch)
    cluster.settle()
    foretold = rehearsed(cluster, parse_policy(documents[1]), definitions)
    shared = len(inert_in(cluster))
    before, inside, told = profiles_of(cluster), members_of(cluster), len(cluster.told)
    cluster.policy = policies.publish(documents[1])
    cluster.settle()
    after = profiles_of(cluster)
    assert (foretold.profiles_before, foretold.profiles_after) == (len(before), len(after))
    aliases = [one.output for one in cluster.told[told:] if isinstance(one.output, ProfileAlias)]
    old, new = ({one["profile_id"] for one in profiles} for profiles in (before, after))
    assert (foretold.merges_gained.count, foretold.merges_lost.count) == (len(old - new), len(new - old))
    # An id that was an alias before may stand for another profile now.
    assert old & {one.old_profile_id for one in aliases if one.profile_id} <= old - new
    assert {one.old_profile_id for one in aliases if not one.profile_id} <= new - old
    moves = members_of(cluster) ^ inside
    assert {name: moved.entered.count + moved.left.count for name, moved in foretold.segments.items()} == (
        Counter(segment for _, segment in moves)
    )
    assert foretold.newly_shared.total() == len(inert_in(cluster)) - shared
    check_outputs(cluster)


def inert_in(cluster: Cluster) -> set[str]:
    """Identifiers that are shared."""
    return {
        identifier
        for partition in cluster.partitions
        for component in partition.components()
        for identifier in component.inert
    }


def test_nothing_is_told_when_the_new_policy_makes_no_difference() -> None:
    before, after = tell_all({"limit": 5}, {"limit": 6})
    assert before == after


def test_who_parts_is_told_with_the_cause_unmerge_and_who_joins_with_merge() -> None:
    before, after = tell_all({"limit": 5}, {"limit": 2})
    assert {one.cause for one in after[len(before) :]} == {Cause.UNMERGE}
    before, after = tell_all({"limit": 2}, {"limit": 5})
    assert {one.cause for one in after[len(before) :]} == {Cause.MERGE}


def tell_all(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """The changes of membership that are told before and until after a change of the rule of devices."""
    rng = random.Random(1)
    documents: list[dict[str, Any]] = [
        {"version": version, "identifiers": {"user_id": {}, "device_id": rule}}
        for version, rule in ((1, old), (2, new))
    ]
    policies = MemoryPolicies(documents[0])
    control = MemoryControl([{"id": "everybody", "where": {"event": "page_viewed"}}])
    cluster = Cluster(
        policies.file.policy, size=2, start_ms=START_MS, chaos=Chaos(forget=0.0),
        make_definitions=policies.changes(control),
    )  # fmt: skip
    world = random_touches(rng, 1)[0]
    for number in range(4):
        touch = world.__class__(
            f"e{number}", "web", "page_viewed", START_MS + number, ["user_id:u", f"device_id:d{number}"]
        )
        cluster.accept(touch)
        cluster.accept(world.__class__(f"d{number}", "web", "page_viewed", START_MS, touch.identifiers[1:]))
    cluster.advance(START_MS + 2_000)
    before = list(changes_of(cluster))
    policies.publish(documents[1])
    cluster.advance(START_MS + 4_000)
    check_outputs_of(cluster, documents[1])
    return before, list(changes_of(cluster))


def check_outputs_of(cluster: Cluster, document: dict[str, Any]) -> None:
    cluster.policy = parse_policy(document)
    check_structure(cluster)
    check_outputs(cluster)
