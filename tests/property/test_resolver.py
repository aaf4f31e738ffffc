"""Laws of the resolver over generated histories: no order, split, repetition, delay or crash changes the result."""

from __future__ import annotations

import os
import random
from typing import Final

import pytest

from pipeline.core import joining, node
from pipeline.core.segments.parse import definition_from_json
from tests.support.histories import policy_of, random_touches, shuffled_with_repetitions
from tests.support.laws import check_outputs, check_profiles, check_structure
from tests.support.memory import Chaos, Cluster
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
    policy = policy_of(moves=rng.random() < 0.3, history=rng.choice(["30d", "10m", "10m"]))
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
