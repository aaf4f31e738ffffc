"""Laws of segment definitions that are added, edited and deleted while touches come and components merge."""

from __future__ import annotations

import os
import random
from typing import Any, Final

import pytest

from pipeline.core.outbox import Cause, MembershipChange
from pipeline.runtime import definitions as runtime
from tests.support.histories import policy_of, random_touches, shuffled_with_repetitions
from tests.support.laws import check_outputs, check_profiles, check_structure
from tests.support.memory import Chaos, Cluster
from tests.support.memory_definitions import MemoryControl, MemoryDefinitions
from tests.support.segment_cases import HOUR_MS, START_MS, random_definition
from tests.support.segment_oracle import id_of

SEEDS: Final = int(os.environ.get("ELO_TEST_SEEDS", "60"))


def change_definitions(
    control: MemoryControl, wanted: dict[str, Any], rng: random.Random, number: int
) -> None:
    """Add a segment, or edit or delete one that is there. An id is never used again.

    The next change comes when all partitions have worked off the last one. While one lags behind by two
    changes, a leaf that goes and comes back may be counted wrongly: its partitions do not agree when it
    began.
    """
    if wanted and rng.random() < 0.3:
        gone = rng.choice(sorted(wanted))
        del wanted[gone]
        control.delete(gone)
        return
    definition = random_definition(rng, number, traits=0.3)
    kind = "trait" if "trait" in definition else "id"
    known = sorted(one[kind] for one in wanted.values() if kind in one)
    if known and rng.random() < 0.4:
        definition[kind] = rng.choice(known)
    wanted[id_of(definition)] = definition
    control.apply(definition)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that takes many batches although there is little of it."""
    monkeypatch.setattr(runtime, "FILL_STEP", 3)
    monkeypatch.setattr(runtime, "SCAN_STEP", 2)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_memberships_are_those_of_the_definitions_in_force_however_they_came(seed: int) -> None:
    play(seed)


def play(seed: int) -> None:
    rng = random.Random(seed)
    touches = random_touches(rng, rng.randrange(5, 40), mixed=rng.choice([0.0, 0.15]))
    control, wanted = MemoryControl(), dict[str, Any]()
    cluster = Cluster(
        policy_of(), seed=seed, size=rng.choice([1, 2, 5]), start_ms=START_MS + 6 * HOUR_MS,
        chaos=Chaos(batch_max=rng.choice([1, 3, 20]), forget=rng.choice([0, 0.5]), crash=rng.choice([0, 0.2]),
                    delay_ms=rng.choice([0, 20])),
        make_definitions=lambda partition: MemoryDefinitions(control, partition),
    )  # fmt: skip
    for number, touch in enumerate(shuffled_with_repetitions(rng, touches)):
        cluster.accept(touch)
        if rng.random() < 0.4 and not any(
            one.definitions.waiting() or one.definitions.open_steps() for one in cluster.partitions
        ):
            change_definitions(control, wanted, rng, number)
        cluster.run(rng.randrange(6))
        if rng.random() < 0.2:
            cluster.now_ms += rng.choice([1, 300, HOUR_MS // 3])
    cluster.advance(max(cluster.now_ms, START_MS + rng.randrange(6, 18) * HOUR_MS))
    cluster.advance(cluster.now_ms + 2_000)
    check_structure(cluster)
    check_profiles(cluster, touches, list(wanted.values()))
    check_outputs(cluster)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_first_population_of_a_segment_is_told_once_and_never_taken_back(seed: int) -> None:
    populate(seed)


def populate(seed: int) -> None:
    """Touches first; then definitions, all at once or one after the other while the last is worked off."""
    rng = random.Random(seed)
    touches, control = random_touches(rng, 30), MemoryControl()
    cluster = Cluster(
        policy_of(), seed=seed, size=rng.choice([2, 5]), start_ms=START_MS + 6 * HOUR_MS,
        chaos=Chaos(batch_max=3, forget=0.5, crash=rng.choice([0, 0.2]), delay_ms=rng.choice([0, 20])),
        make_definitions=lambda partition: MemoryDefinitions(control, partition),
    )  # fmt: skip
    for touch in touches:
        cluster.accept(touch)
    cluster.settle()
    wanted = [random_definition(rng, number, traits=0.2) for number in range(4)]
    for definition in wanted:
        control.apply(definition)
        cluster.run(rng.choice([0, 3]))
    cluster.advance(cluster.now_ms + 2_000)
    changes = [told.output for told in cluster.told if isinstance(told.output, MembershipChange)]
    by_cause = [one for one in changes if one.cause is Cause.BACKFILL]
    check_profiles(cluster, touches, wanted)
    assert all(one.change == "entered" for one in by_cause)
    assert len({(one.profile_id, one.segment_id) for one in by_cause}) == len(by_cause)
    check_profiles(cluster, touches, wanted)
    check_outputs(cluster)
