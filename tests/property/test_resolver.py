"""Laws of the resolver over generated histories: no order, split, repetition, delay or crash changes the
result.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.histories import owning_policy, random_touches
from tests.support.plays import SEEDS, play_in_memory, play_on_disk


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_order_split_repetition_and_partitioning_gives_the_profiles_of_the_oracle(seed: int) -> None:
    rng = random.Random(seed)
    play_in_memory(seed, rng, random_touches(rng, rng.randrange(5, 60), mixed=rng.choice([0.0, 0.15, 0.4])))


@pytest.mark.parametrize("seed", range(SEEDS // 3))
def test_a_value_belongs_to_its_newest_owner_however_often_all_of_them_are_seen(seed: int) -> None:
    rng = random.Random(seed)
    touches = random_touches(rng, rng.randrange(20, 60), people=3, mixed=0.4)
    play_in_memory(seed, rng, touches, policy=owning_policy(rng))


@pytest.mark.parametrize("seed", range(SEEDS // 10))
def test_the_real_store_gives_the_same_profiles_through_aborts_restarts_and_wiped_disks(
    seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    play_on_disk(seed, rng, tmp_path, random_touches(rng, 40, mixed=rng.choice([0.0, 0.15])))
