"""A crash at every single step of the protocol, one after the other: no step is special.

Three partitions, one record a batch. Each history is run once in peace, and then again for each of its steps
and each kind of crash: just before the commit of the step, so that it is lost and done again, and just after
it, so that all memory is gone. Every kind of message is met.
"""

from __future__ import annotations

import random
from typing import Any, Final

import pytest

from pipeline.core.messages import Message
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch
from tests.support.histories import policy_of, random_decisions, random_touches
from tests.support.laws import check_sequences, check_structure, profiles_of
from tests.support.memory import Chaos, Cluster, Partition
from tests.support.segment_cases import HOUR_MS, START_MS, random_definition

SIZE: Final = 3
MINUTE_MS: Final = 60_000
NOT_HERE: Final = {"Fill", "Filled", "Taken", "Adopted", "Close"}
"""Messages of definitions and policies (test_definitions.py, test_policy_change.py), and of a component that
is full, where the order of arrival decides who is in it (test_bounds.py)."""


class Watched(Partition):
    """Says which messages it handles."""

    def _receive(self, to: str, message: Any) -> None:
        self.cluster.kinds.add(type(message).__name__)  # type: ignore[attr-defined]
        super()._receive(to, message)


class Stepwise(Cluster):
    """Works one record at a time and crashes at one step. `kinds`: of the messages handled in that step."""

    def __init__(self, seed: int, crash_at: int | None, committed: bool) -> None:
        rng = random.Random(seed)
        definitions = [definition_from_json(random_definition(rng, number)) for number in range(4)]
        self.step, self.crash_at, self.committed = 0, crash_at, committed
        self.kinds: set[str] = set()
        self.hit: set[str] = set()
        policy = policy_of(history="10m", anonymous_retention="30m")
        super().__init__(policy, definitions, size=SIZE, seed=seed, start_ms=START_MS + 6 * HOUR_MS,
                         chaos=Chaos(batch_max=1, forget=0.5, delay_ms=50), partition=Watched)  # fmt: skip

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
    cluster, rng = Stepwise(seed, crash_at, committed), random.Random(seed + 1)
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
    assert hit == all_kinds() - NOT_HERE
