"""Laws of matching in the stream over generated histories: order, repetition, late corrections, delay,
crashes and partitions change nothing of who matches whom, nor of who is one person.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.policy import Policy, parse_policy
from tests.support.histories import (
    IDENTIFIERS,
    SURVIVORSHIP,
    TIMES,
    described,
    matching_section,
    random_decisions,
    random_touches,
)
from tests.support.plays import SEEDS, play_in_memory, play_on_disk


def any_matching(rng: random.Random) -> Policy:
    document: dict[str, Any] = {"identifiers": {name: dict(rule) for name, rule in IDENTIFIERS.items()}}
    if rng.random() < 0.5:
        document["identifiers"]["user_id"]["limit"] = 3
    if rng.random() < 0.3:
        document["identifiers"]["anonymous_id"]["unique"] = "newest"
    if rng.random() < 0.3:
        document["cannot_link"] = {"traits": [rng.choice(["birth_date", "shop"])]}
    return parse_policy({**document, "traits": SURVIVORSHIP, **TIMES, "matching": matching_section(rng)})


@pytest.mark.parametrize("seed", range(SEEDS // 3))
def test_any_order_of_people_who_correct_themselves_gives_the_matches_and_profiles_of_the_oracle(
    seed: int,
) -> None:
    rng = random.Random(seed)
    touches = described(rng, random_touches(rng, rng.randrange(5, 50), mixed=rng.choice([0.0, 0.05])))
    decisions = random_decisions(rng, touches, rng.choice([0, 0, 3]))
    play_in_memory(seed, rng, touches, decisions, any_matching(rng))


@pytest.mark.parametrize("seed", range(SEEDS // 40))
def test_the_real_store_keeps_records_and_blocks_through_aborts_restarts_and_wiped_disks(
    seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    play_on_disk(seed, rng, tmp_path, described(rng, random_touches(rng, 30)), policy=any_matching(rng))
