"""A crash at every single step of the protocol, one after the other: no step is special.

Three partitions, one record a batch. Each history is run once in peace, and then again for each of its steps
and each kind of crash: just before the commit of the step, so that it is lost and done again, and just after
it, so that all memory is gone. Every kind of message is met.
"""

from __future__ import annotations

import json
import random
from typing import Any, Final

import pytest

from pipeline.core.messages import OF_RECORDS, Message
from pipeline.core.policy import Policy, parse_policy
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch
from pipeline.runtime import adoption
from pipeline.runtime import definitions as definitions_work
from tests.support import oracle
from tests.support.histories import (
    keep_shared,
    policy_change,
    policy_of,
    random_decisions,
    random_touches,
)
from tests.support.laws import check_outputs, check_sequences, check_structure, profiles_of
from tests.support.memory import Chaos, Cluster, Partition
from tests.support.memory_definitions import MemoryControl
from tests.support.memory_policies import MemoryPolicies
from tests.support.plays import BEGIN_MS
from tests.support.segment_cases import EVENTS, HOUR_MS, START_MS, random_definition

SIZE: Final = 3
SEED: Final = 0  # of a history in which touches are filled from one partition to another
MINUTE_MS: Final = 60_000
OF_CHANGES: Final = {"Fill", "Filled", "Taken", "Adopted"}
"""Messages of definitions and policies that change meanwhile."""
OF_BOUNDS: Final = {"Close"}
"""Of a component that is full: the order of arrival decides who is in it, and a crash changes that order."""
OF_MATCHING: Final = {kind.__name__ for kind in OF_RECORDS} | {"Matches"}


class Watched(Partition):
    """Says which messages it handles."""

    def _receive(self, to: str, message: Any) -> None:
        self.cluster.kinds.add(type(message).__name__)  # type: ignore[attr-defined]
        super()._receive(to, message)


class Stepwise(Cluster):
    """Works one record at a time and crashes at one step. `kinds`: of the messages handled in that step."""

    def __init__(self, seed: int, crash_at: int | None, committed: bool, policy: Policy, **more: Any) -> None:
        self.step, self.crash_at, self.committed = 0, crash_at, committed
        self.kinds: set[str] = set()
        self.hit: set[str] = set()
        super().__init__(policy, size=SIZE, seed=seed, start_ms=BEGIN_MS, partition=Watched,
                         chaos=Chaos(batch_max=1, forget=0.5, delay_ms=50), **more)  # fmt: skip

    def run(self, batches: int) -> None:
        """As in any cluster, with the steps counted."""
        for _ in range(batches):
            busy = [one for one in self.partitions if one.has_work()]
            if not busy:
                return
            one = self.rng.choice(busy)
            self.step += 1
            self.kinds = set()
            if self.step != self.crash_at:
                one.run_batch()
            elif self.committed:
                one.run_batch()
                self.partitions[one.number] = one.crash()
            else:
                one.run_batch(crash=True)
            if self.step == self.crash_at:
                self.hit = self.kinds


def arrivals(seed: int) -> list[Touch]:
    """Touches and decisions of a few people, mixed."""
    rng = random.Random(seed)
    touches = random_touches(rng, 14, people=2, mixed=0.3)
    decisions = random_decisions(rng, touches, 3)
    found = [*touches, *(touch for one in decisions for touch in one.touches(one.identifiers[:1]))]
    return rng.sample(found, k=len(found))


def visits(name: str, *kinds: str) -> list[Touch]:
    """Nobody is known by more than a device, and its browser's id lives on another partition."""
    return [
        Touch(f"{name}{number}", "web", "page_viewed", START_MS, [f"{kind}:w{number}" for kind in kinds])
        for number in range(4)
    ]


def lived(seed: int, crash_at: int | None = None, *, committed: bool = False) -> Stepwise:
    """A history from its first touch to long after its last one; in between the idle are forgotten."""
    rng = random.Random(seed)
    definitions = [definition_from_json(random_definition(rng, number)) for number in range(4)]
    policy = policy_of(history="10m", anonymous_retention="30m")
    cluster, rng = (
        Stepwise(seed, crash_at, committed, policy, definitions=definitions),
        random.Random(seed + 1),
    )
    touches = arrivals(seed)
    late = len(touches) * 2 // 3
    for part in (touches[:late], touches[late:]):
        for touch in part:
            cluster.accept(touch)
            cluster.run(rng.randrange(3))
        cluster.advance(cluster.now_ms + 29 * MINUTE_MS)
        cluster.advance(START_MS + (8 if part is touches[:late] else 10) * HOUR_MS)
    for touch in [*touches[:3], *visits("come", "device_id", "anonymous_id")]:
        cluster.accept(touch)
    cluster.settle()
    cluster.now_ms += 31 * MINUTE_MS  # They are to be forgotten, and come back in that very moment.
    for touch in visits("again", "anonymous_id"):
        cluster.accept(touch)
    cluster.advance(START_MS + 11 * HOUR_MS)
    return cluster


def known(cluster: Cluster) -> list[dict[str, Any]]:
    """Everybody, without what depends on who came first: sequences and since when."""
    return [
        {**one, "memberships": sorted(one["memberships"]), "aliases": sorted(one["aliases"])}
        for one in profiles_of(cluster)
    ]


def check(cluster: Stepwise, expected: list[dict[str, Any]]) -> None:
    check_structure(cluster)
    check_sequences(cluster, forgotten=True)
    assert known(cluster) == expected


def all_kinds() -> set[str]:
    return {kind.__name__ for kind in Message.__args__}


@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after the commit"])
def test_a_crash_at_any_step_changes_nothing(committed: bool) -> None:
    hit: set[str] = set()
    for seed in range(5):
        peaceful = lived(seed)
        expected = known(peaceful)
        check(peaceful, expected)
        for step in range(1, peaceful.step + 1):
            cluster = lived(seed, step, committed=committed)
            check(cluster, expected)
            hit |= cluster.hit
    assert hit == all_kinds() - OF_CHANGES - OF_BOUNDS - OF_MATCHING


def changed(seed: int, crash_at: int | None = None, *, committed: bool = False) -> Stepwise:
    """A segment that asks about the past, then another policy, while touches come."""
    rng = random.Random(seed)
    before, after = policy_change(rng)
    touches = random_touches(rng, 14, people=2, mixed=0.3)
    keep_shared(before, after, oracle.shared_identifiers(touches, parse_policy(before)))
    policies, control = MemoryPolicies(before), MemoryControl([random_definition(rng, 0)])
    cluster = Stepwise(
        seed, crash_at, committed, policies.file.policy,
        make_definitions=policies.changes(control),
    )  # fmt: skip
    for number, touch in enumerate(touches):
        if number == 8:
            control.apply(
                {"id": "late", "where": {"any": [{"event": one, "within": "1d"} for one in EVENTS]}}
            )
        if number == 11:
            policies.publish(after)
        cluster.accept(touch)
        cluster.run(rng.randrange(3))
    cluster.advance(START_MS + 10 * HOUR_MS)
    cluster.policy = parse_policy(after)
    return cluster


@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after the commit"])
def test_a_crash_at_any_step_of_a_change_changes_nothing(
    committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "STEP", 2)
    monkeypatch.setattr(definitions_work, "SCAN_STEP", 2)
    monkeypatch.setattr(definitions_work, "FILL_STEP", 2)
    hit: set[str] = set()
    peaceful = changed(SEED)
    expected = known(peaceful)
    for step in range(1, peaceful.step + 1):
        cluster = changed(SEED, step, committed=committed)
        assert not any(one.definitions.open_steps() for one in cluster.partitions)
        check(cluster, expected)
        hit |= cluster.hit
    assert hit >= OF_CHANGES


def filled(seed: int, crash_at: int | None = None, *, committed: bool = False) -> Stepwise:
    """A log-in that is used for everybody, until its component is full."""
    policy = policy_of(component_identifiers_max=5)
    cluster, rng = Stepwise(seed, crash_at, committed, policy), random.Random(seed)
    for number in range(8):
        names = ["user_id:agent", f"cpf:{number:011d}", f"device_id:d{number}"]
        cluster.accept(Touch(f"e{number}", "web", "page_viewed", START_MS + number, names))
        cluster.run(rng.randrange(3))
    cluster.advance(START_MS + 8 * HOUR_MS)
    return cluster


@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after the commit"])
def test_a_crash_at_any_step_leaves_a_full_component_whole(committed: bool) -> None:
    hit: set[str] = set()
    for step in range(1, filled(0).step + 1):
        cluster = filled(0, step, committed=committed)
        check_structure(cluster)
        check_outputs(cluster)
        live = [one for part in cluster.partitions for one in part.components() if not one.redirect]
        (agent,) = [one for one in live if "user_id:agent" in one.identifiers]
        assert len(agent.identifiers) + len(agent.closed) == 5
        assert sum(sum(one["counters"].values()) for one in profiles_of(cluster)) == 8
        hit |= cluster.hit
    assert hit >= OF_BOUNDS


def matched(crash_at: int | None = None, *, committed: bool = False) -> Stepwise:
    """People who tell their names and correct them; the third of a block that finds two is forgotten."""
    section = {"model": "shipped", "merge_above": 4, "review_above": 0, "block_records_max": 2}
    policy = policy_of(history="10m", anonymous_retention="30m", matching=section)
    cluster, rng = Stepwise(0, crash_at, committed, policy), random.Random(0)
    ana, rui = ({"name": name, "birth_date": "1980-03-12"} for name in ("Ana Sikorski", "Rui Prado"))
    told = [
        ("email:a@example.com", ana), ("phone:+5511999990001", ana), ("phone:+5511999990001", rui),
        ("phone:+5511999990001", ana),
        ("email:a@example.com", {"name": "Anna Sikorski"}), ("email:a@example.com", {"name": None}),
        ("email:a@example.com", ana), ("device_id:d", ana),
    ]  # fmt: skip
    for number, (identifier, traits) in enumerate(told):
        if number in (2, len(told) - 1):
            cluster.settle()  # Two are one, so corrections cross partitions; the third does not join them.
        touch = Touch(f"e{number}", "crm", "identified", START_MS + number, [identifier], json.dumps(traits))
        cluster.accept(touch)
        cluster.run(rng.randrange(12))
    cluster.advance(cluster.now_ms + 40 * MINUTE_MS)
    return cluster


@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after the commit"])
def test_a_crash_at_any_step_of_matching_changes_nothing(committed: bool) -> None:
    hit: set[str] = set()
    peaceful = matched()
    expected = known(peaceful)
    assert [one["identifiers"] for one in expected] == [["email:a@example.com", "phone:+5511999990001"]]
    for step in range(1, peaceful.step + 1):
        cluster = matched(step, committed=committed)
        check(cluster, expected)
        hit |= cluster.hit
    assert hit >= OF_MATCHING
