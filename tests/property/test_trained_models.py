"""Laws of a trained model in the stream: every partition takes it with its policy, and whatever the order of
arrival and the crashes, in the end all is as if it had been in force from the start.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.core.matching.document import encode_model
from pipeline.runtime import adoption
from pipeline.runtime.adoption import WORK_KEY
from tests.support.histories import (
    IDENTIFIERS,
    SURVIVORSHIP,
    TIMES,
    described,
    matching_section,
    random_decisions,
    random_touches,
    shuffled_with_repetitions,
)
from tests.support.memory import Cluster, Partition
from tests.support.memory_definitions import MemoryControl
from tests.support.memory_policies import MemoryPolicies
from tests.support.models import policy_from, trained
from tests.support.plays import BEGIN_MS, SEEDS, any_chaos, check_all, end_under, feed, sent, wait_while_busy
from tests.support.rocks import on_disk
from tests.support.segment_cases import random_definition

MODELS: Final = ("shipped", "model-1.json", "model-2.json", "model-3.json")


def document(rng: random.Random, version: int, models: tuple[str, ...]) -> dict[str, Any]:
    found = {"version": version, "identifiers": IDENTIFIERS, "traits": SURVIVORSHIP, **TIMES}
    return found | {"matching": matching_section(rng, models)}


def play(seed: int, partition: type[Partition], sizes: tuple[int, ...]) -> Cluster:
    """People who describe themselves, under a policy whose place another one takes, and then a third."""
    rng = random.Random(seed)
    touches = described(rng, random_touches(rng, rng.randrange(5, 40), mixed=rng.choice([0.0, 0.05])))
    decisions = random_decisions(rng, touches, rng.choice([0, 0, 3]))
    definitions = [random_definition(rng, number) for number in range(3)]
    first, second, third = (document(rng, number, MODELS) for number in (1, 2, 3))
    third["matching"] |= {"model": rng.choice([one for one in MODELS if one != second["matching"]["model"]])}
    policies, control = MemoryPolicies(first), MemoryControl(definitions)
    cluster = Cluster(
        policies.file.policy, seed=seed, size=rng.choice(sizes), start_ms=BEGIN_MS, chaos=any_chaos(rng),
        make_definitions=policies.changes(control),
        partition=partition,
    )  # fmt: skip
    arrivals = shuffled_with_repetitions(rng, sent(touches, decisions))
    ends = sorted(rng.randrange(len(arrivals) + 1) for _ in range(2))
    feed(cluster, rng, arrivals[: ends[0]], wait_while_busy)
    policies.publish(second)
    feed(cluster, rng, arrivals[ends[0] : ends[1]], wait_while_busy)
    policies.publish(third)
    feed(cluster, rng, arrivals[ends[1] :], wait_while_busy)
    end_under(cluster, rng, policy_from(third))
    check_all(cluster, touches, definitions, decisions)
    check_models(cluster, third["matching"]["model"])
    return cluster


def check_models(cluster: Cluster, name: str) -> None:
    """Every partition that has worked keeps the model in force, and no other."""
    wanted = [] if name == "shipped" else [encode_model(trained(name))]
    for partition in cluster.partitions:
        kept = [
            value for key, value in sorted(partition.logs.values.items())
            if key.startswith(WORK_KEY) and key != WORK_KEY
        ]  # fmt: skip
        assert kept == (wanted if partition.logs.values.get(WORK_KEY) else [])


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that takes many batches although there is little of it."""
    monkeypatch.setattr(adoption, "STEP", 2)


@pytest.mark.parametrize("seed", range(SEEDS // 3))
def test_after_other_models_all_is_as_if_the_last_one_had_been_in_force_from_the_start(seed: int) -> None:
    play(seed, Partition, (1, 2, 3, 8))


@pytest.mark.parametrize("seed", range(SEEDS // 40))
def test_it_is_so_on_the_real_store_through_aborts_restarts_and_wiped_disks(
    seed: int, tmp_path: Path
) -> None:
    for partition in play(seed, on_disk(tmp_path), (1, 3)).partitions:
        partition.store.close()
