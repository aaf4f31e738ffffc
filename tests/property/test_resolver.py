"""Laws of the resolver over generated histories: no order, split, repetition, delay or crash changes the
result.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Final

import pytest
from pydantic import SecretStr

from pipeline.core import joining, node
from pipeline.core.published import Published
from pipeline.core.segments.parse import definition_from_json
from pipeline.runtime import inspect
from pipeline.settings import Settings
from tests.support.histories import policy_of, random_policy, random_touches, shuffled_with_repetitions
from tests.support.laws import check_outputs, check_profiles, check_structure
from tests.support.memory import PROFILE_KEY, Chaos, Cluster
from tests.support.rocks import on_disk
from tests.support.segment_cases import HOUR_MS, START_MS, random_definition

SEEDS: Final = int(os.environ.get("ELO_TEST_SEEDS", "150"))
"""How many histories each law is tried on; raise it for a soak."""


def pass_time(cluster: Cluster, rng: random.Random) -> None:
    """Move the clock: a little while work waits, or far with all workers up."""
    step_ms = rng.choice([1, 30, 400, HOUR_MS // 3])
    if step_ms < 1_000:
        cluster.now_ms += step_ms
    else:
        cluster.advance(cluster.now_ms + step_ms)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_order_split_repetition_and_partitioning_gives_the_profiles_of_the_oracle(seed: int) -> None:
    rng = random.Random(seed)
    touches = random_touches(rng, rng.randrange(5, 60), mixed=rng.choice([0.0, 0.15, 0.4]))
    definitions = [random_definition(rng, number) for number in range(6)]
    history = rng.choice(["30d", "10m", "10m"])
    policy = policy_of(moves=rng.random() < 0.3, history=history)
    if rng.random() < 0.6:
        policy = random_policy(rng, history=history)
    chaos = Chaos(
        batch_max=rng.choice([1, 3, 20]), forget=rng.choice([0, 0.5, 1]), crash=rng.choice([0, 0.2]),
        delay_ms=rng.choice([0, 20, 2_000]),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        if rng.random() < 0.5:  # Everything is large: merges travel in parts, a component has many pages.
            patch.setattr(joining, "MERGE_BYTES_MAX", 300)
            patch.setattr(node, "PAGE_FACETS", 2)
        cluster = Cluster(
            policy, map(definition_from_json, definitions), seed=seed, size=rng.choice([1, 2, 3, 16]),
            start_ms=START_MS + 6 * HOUR_MS, chaos=chaos,
        )  # fmt: skip
        for touch in shuffled_with_repetitions(rng, touches):
            cluster.accept(touch)
            cluster.run(rng.randrange(4))
            if rng.random() < 0.3:
                pass_time(cluster, rng)
        cluster.advance(max(cluster.now_ms, START_MS + rng.randrange(6, 18) * HOUR_MS))
        cluster.advance(cluster.now_ms + 2_000)  # After a crash a profile is published only when it is due.
    check_structure(cluster)
    check_profiles(cluster, touches, definitions)
    check_outputs(cluster)


@pytest.mark.parametrize("seed", range(SEEDS // 5))
def test_equal_histories_have_the_same_state_hash(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    touches = random_touches(rng, rng.randrange(5, 60), mixed=rng.choice([0.0, 0.15, 0.4]))
    definitions = [definition_from_json(random_definition(rng, number)) for number in range(6)]
    policy = random_policy(rng) if rng.random() < 0.6 else policy_of(moves=rng.random() < 0.3)
    hashes = set()
    for again in range(3):
        cluster = Cluster(
            policy, definitions, seed=again, size=rng.choice([1, 3, 16]), start_ms=START_MS + 6 * HOUR_MS,
            chaos=Chaos(batch_max=rng.choice([1, 20]), delay_ms=rng.choice([0, 20, 2_000])),
        )  # fmt: skip
        for touch in shuffled_with_repetitions(rng, touches):
            cluster.accept(touch)
            cluster.run(rng.randrange(4))
        cluster.advance(START_MS + 12 * HOUR_MS)
        hashes.add(state_hash_of(cluster, monkeypatch))
    assert len(hashes) == 1


def state_hash_of(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `elo state hash` says of a cluster."""
    live = [one for partition in cluster.partitions for one in partition.components() if not one.redirect]
    monkeypatch.setattr(inspect, "read_components", lambda settings: iter(live))
    monkeypatch.setattr(inspect, "policy_in_force", lambda settings: Published(cluster.policy, ""))
    return inspect.state_hash(Settings(profile_key=SecretStr(PROFILE_KEY.decode())))


@pytest.mark.parametrize("seed", range(SEEDS // 10))
def test_the_real_store_gives_the_same_profiles_through_aborts_restarts_and_wiped_disks(
    seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    touches = random_touches(rng, 40, mixed=rng.choice([0.0, 0.15]))
    definitions = [random_definition(rng, number) for number in range(6)]
    cluster = Cluster(
        policy_of(history=rng.choice(["30d", "10m"])), map(definition_from_json, definitions), seed=seed,
        size=rng.choice([1, 3]), start_ms=START_MS + 6 * HOUR_MS, partition=on_disk(tmp_path),
        chaos=Chaos(batch_max=rng.choice([1, 3, 20]), forget=rng.choice([0, 0.5]), crash=0.2, delay_ms=20),
    )  # fmt: skip
    for touch in shuffled_with_repetitions(rng, touches):
        cluster.accept(touch)
        cluster.run(rng.randrange(4))
        if rng.random() < 0.3:
            cluster.now_ms += rng.choice([1, 30, 400, 60_000])
    cluster.advance(cluster.now_ms + 30 * 60_000)
    cluster.now_ms += 12 * HOUR_MS
    cluster.advance(cluster.now_ms + 2_000)
    check_structure(cluster)
    check_profiles(cluster, touches, definitions)
    check_outputs(cluster)
    for partition in cluster.partitions:
        partition.store.close()
