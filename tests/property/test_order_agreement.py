"""Order agreement of matching through the stream, on people with families, twins, namesakes and faults.

Every order of arrival, on one and on eight partitions, with repetitions, corrections that come late and
records that are erased, gives the people that the records as they are in the end give alone.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from pipeline.core.matching.measure import measure
from pipeline.core.policy import parse_policy
from pipeline.core.touch import Touch
from tests.support.histories import TIMES, shuffled_with_repetitions
from tests.support.laws import check_matches, check_structure, profiles_of
from tests.support.memory import Cluster
from tests.support.people import make_people
from tests.support.plays import BEGIN_MS, any_chaos, feed, state_hash_of, wait_while_busy
from tests.support.segment_cases import HOUR_MS

POLICY: Final = parse_policy({
    "identifiers": {"contact": {"limit": 500}}, **TIMES,
    "matching": {"model": "shipped", "merge_above": 4, "review_above": 0},
})  # fmt: skip
FAMILIES: Final = 5
ORDERS: Final = 6
CORRECTED: Final = 0.4
ERASED: Final = 0.15


def told(name: str, number: int, at_ms: int, fields: Mapping[str, Any]) -> Touch:
    """What a contact says of itself, as a touch."""
    return Touch(f"{name}.{number}", "crm", "contact_seen", at_ms, [f"contact:{name}"], json.dumps(fields))


def lives(seed: int) -> tuple[list[Touch], list[Touch], dict[str, str]]:
    """All touches; those of the records as they are in the end, alone; and whose each record is.

    A correction tells all that was told before, as null where the record has no such field.
    """
    rng = random.Random(seed)
    records = make_people(seed, FAMILIES)
    everything: list[Touch] = []
    final: list[Touch] = []
    for record in records:
        name, fields = record.record_id, dict(record.fields)
        before: list[Mapping[str, str]] = []
        if rng.random() < CORRECTED:
            before = [rng.choice(records).fields for _ in range(rng.randrange(1, 3))]
        is_erased = rng.random() < ERASED
        if is_erased:
            before.append(record.fields)
            fields = {}
        gone = {one: None for version in before for one in version if one not in fields}
        for number, version in enumerate(before):
            everything.append(told(name, number, BEGIN_MS - (9 - number) * HOUR_MS, version))
        everything.append(told(name, 9, BEGIN_MS, gone | fields))
        final.append(told(name, 9, BEGIN_MS, fields))
    return everything, final, {one.record_id: one.entity_id for one in records}


def play(touches: Sequence[Touch], seed: int, size: int, rng: random.Random) -> Cluster:
    """Let touches arrive in their order, with mail that takes its time and workers that crash."""
    chaos = replace(any_chaos(rng), batch_max=rng.choice([20, 200]))
    cluster = Cluster(POLICY, seed=seed, size=size, start_ms=BEGIN_MS, chaos=chaos)
    feed(cluster, rng, touches, wait_while_busy)
    cluster.settle()
    check_structure(cluster)
    return cluster


def people_in(cluster: Cluster) -> dict[str, str]:
    """Record → the profile that it belongs to."""
    return {
        identifier.partition(":")[2]: str(profile["profile_id"])
        for profile in profiles_of(cluster)
        for identifier in profile["identifiers"]
    }


def groups_in(people: Mapping[str, str]) -> set[frozenset[str]]:
    found: dict[str, set[str]] = {}
    for record, profile_id in people.items():
        found.setdefault(profile_id, set()).add(record)
    return {frozenset(group) for group in found.values()}


@pytest.mark.parametrize("seed", range(8))
def test_all_orders_on_one_and_eight_partitions_agree_and_nothing_is_left_of_what_was_corrected_or_erased(
    seed: int,
) -> None:
    everything, final, truth = lives(seed)
    alone = people_in(play(final, seed, 1, random.Random(seed)))
    assert measure(alone, truth)["f1"] > 0.5
    hashes, found = set(), []
    for order in range(ORDERS):
        rng = random.Random(f"{seed} {order}")
        cluster = play(shuffled_with_repetitions(rng, everything), order, (1, 8)[order % 2], rng)
        check_matches(cluster, everything)
        found.append(people_in(cluster))
        hashes.add(state_hash_of(cluster))
        assert groups_in(found[-1]) == groups_in(alone)
    assert len(hashes) == 1
    assert all(measure(one, other)["f1"] == 1.0 for one in found for other in found)
