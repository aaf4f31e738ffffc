"""Laws of segments that are paused and resumed, or populated silently, while people come, merge and leave."""

from __future__ import annotations

import os
import random
from typing import Any, Final

import pytest

from pipeline.core.outbox import Cause
from pipeline.runtime import definitions as runtime
from tests.support.histories import policy_of, random_touches, shuffled_with_repetitions
from tests.support.laws import changes_of, check_outputs, check_profiles, check_structure
from tests.support.memory import Chaos, Cluster
from tests.support.memory_definitions import MemoryControl, MemoryDefinitions
from tests.support.segment_cases import HOUR_MS, START_MS, random_definition

SEEDS: Final = int(os.environ.get("ELO_TEST_SEEDS", "25"))
STANDING: Final = (Cause.MERGE, Cause.UNMERGE, Cause.CONSENT)
"""Exits that a pause does not hold back: whoever it was told of is gone, or has withdrawn consent."""


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that takes many batches although there is little of it."""
    monkeypatch.setattr(runtime, "FILL_STEP", 3)
    monkeypatch.setattr(runtime, "SCAN_STEP", 2)


def make_cluster(rng: random.Random, seed: int, control: MemoryControl) -> Cluster:
    return Cluster(
        policy_of(), seed=seed, size=rng.choice([1, 2, 5]), start_ms=START_MS + 6 * HOUR_MS,
        chaos=Chaos(batch_max=rng.choice([1, 3, 20]), forget=rng.choice([0, 0.5]), crash=rng.choice([0, 0.2]),
                    delay_ms=rng.choice([0, 20])),
        make_definitions=lambda partition: MemoryDefinitions(control, partition),
    )  # fmt: skip


def some_definitions(rng: random.Random, count: int) -> list[dict[str, Any]]:
    found = [random_definition(rng, number) for number in range(count)]
    for one in found:
        if rng.random() < 0.3:
            one["purpose"] = "marketing"
    return found


def finish(cluster: Cluster, rng: random.Random) -> None:
    cluster.advance(max(cluster.now_ms, START_MS + rng.randrange(6, 18) * HOUR_MS))
    cluster.advance(cluster.now_ms + 2_000)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_was_told_of_a_paused_segment_stands_still_and_resuming_tells_the_difference(seed: int) -> None:
    rng = random.Random(seed)
    touches = random_touches(rng, rng.randrange(10, 40), mixed=rng.choice([0.0, 0.15]))
    definitions = some_definitions(rng, 3)
    control = MemoryControl(definitions)
    cluster = make_cluster(rng, seed, control)
    arriving = shuffled_with_repetitions(rng, touches)
    middle = rng.randrange(len(arriving))
    for touch in arriving[:middle]:
        cluster.accept(touch)
    finish(cluster, rng)

    paused = definitions[0]["id"]
    control.pause(paused)
    cluster.settle()
    told = len(changes_of(cluster))
    for touch in arriving[middle:]:
        cluster.accept(touch)
        cluster.run(rng.randrange(6))
        if rng.random() < 0.2:
            cluster.advance(cluster.now_ms + HOUR_MS // 3)
    if rng.random() < 0.5:
        definitions[0] = {**random_definition(rng, 0), "id": paused}
        control.apply(definitions[0])
    finish(cluster, rng)
    of_it = [one for one in changes_of(cluster)[told:] if one.segment_id == paused]
    purpose = definitions[0].get("purpose")
    assert all(one.change == "exited" for one in of_it)
    assert purpose or all(one.cause in STANDING for one in of_it)

    control.pause(paused, False)
    finish(cluster, rng)
    check_structure(cluster)
    check_profiles(cluster, touches, definitions)
    check_outputs(cluster)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_segment_that_is_paused_from_the_first_is_populated_when_it_is_resumed(seed: int) -> None:
    rng = random.Random(seed)
    touches, definitions, control = random_touches(rng, 25), some_definitions(rng, 2), MemoryControl()
    cluster = make_cluster(rng, seed, control)
    control.apply(definitions[0])
    control.apply(definitions[1], paused=True, silent=seed % 2 == 1)
    for touch in touches:
        cluster.accept(touch)
    finish(cluster, rng)
    name = definitions[1]["id"]
    assert not any(one.segment_id == name for one in changes_of(cluster))
    control.pause(name, False)
    cluster.settle()
    populated = [one for one in changes_of(cluster) if one.segment_id == name]
    assert all(one.backfill and one.silent == (seed % 2 == 1) for one in populated)
    finish(cluster, rng)
    check_profiles(cluster, touches, definitions)
    check_outputs(cluster)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_silent_population_is_told_by_the_current_members_alone(seed: int) -> None:
    rng = random.Random(seed)
    touches, definitions, control = random_touches(rng, 40), some_definitions(rng, 3), MemoryControl()
    cluster = make_cluster(rng, seed, control)
    middle = rng.randrange(10, 35)
    for touch in touches[:middle]:
        cluster.accept(touch)
    finish(cluster, rng)
    for definition in definitions:
        control.apply(definition, silent=True)
        cluster.run(rng.choice([0, 3]))
    cluster.settle()
    populated = changes_of(cluster)
    assert all(one.silent for one in populated if one.change == "entered" and one.cause is Cause.BACKFILL)
    for touch in touches[middle:]:
        cluster.accept(touch)
        cluster.run(rng.randrange(4))
    finish(cluster, rng)
    assert not any(one.silent for one in changes_of(cluster)[len(populated) :])
    check_profiles(cluster, touches, definitions)
    check_outputs(cluster)
