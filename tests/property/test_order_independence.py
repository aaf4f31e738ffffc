"""The law of the whole: evidence, in whatever order it comes, gives one state.

A history is touches of people who share things, some of them late, decisions with their undos, and a policy
that another one replaces. In every fifth one people also tell names and birth dates, and correct them, and
those whose records match are one person. It arrives in ten orders, each with repetitions, other batches,
delays, crashes, another number of partitions and another moment of the change of policy. An order that never
told of a profile id has no alias of it; all that did say the same of it.

The short form plays a few histories. All of them, 200 unless `ELO_TEST_SEEDS` says otherwise:
`pytest tests/property/test_order_independence.py -m soak`.
"""

from __future__ import annotations

import os
import random
from typing import Final

import pytest

from pipeline.core.policy import parse_policy
from pipeline.runtime import adoption
from tests.support import oracle
from tests.support.histories import (
    described,
    keep_shared,
    matching_section,
    policy_change,
    random_decisions,
    random_touches,
    shuffled_with_repetitions,
)
from tests.support.laws import profiles_of
from tests.support.memory import Cluster
from tests.support.memory_definitions import MemoryControl
from tests.support.memory_policies import MemoryPolicies
from tests.support.models import policy_from
from tests.support.plays import BEGIN_MS, any_chaos, check_all, feed, maybe_large, sent, state_hash_of
from tests.support.segment_cases import HOUR_MS, START_MS, random_definition

SHORT: Final = 25
ALL: Final = int(os.environ.get("ELO_TEST_SEEDS", "200"))
ORDERS: Final = 10
END_MS: Final = START_MS + 72 * HOUR_MS
"""Later than any order needs; windows of up to some hours have run out, others have not."""
MODELS: Final = ("shipped", "model-1.json", "model-2.json")
SIZES: Final = (1, 2, 3, 5, 8, 16)


class History:
    """What happens, without an order."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.touches = random_touches(rng, rng.randrange(5, 50), mixed=rng.choice([0.0, 0.15, 0.4]))
        self.decisions = random_decisions(rng, self.touches, rng.randrange(7))
        self.definitions = [random_definition(rng, number) for number in range(6)]
        self.policies = policy_change(rng)
        keep_shared(*self.policies, oracle.shared_identifiers(self.touches, parse_policy(self.policies[0])))
        if seed % 5 == 4:
            rng = random.Random(f"people {seed}")
            self.touches = described(rng, self.touches)
            for policy in self.policies:
                if rng.random() < 0.8:
                    policy["matching"] = matching_section(rng, MODELS)

    def play(self, order: int, rng: random.Random) -> Cluster:
        """Let it happen in one of its orders."""
        first, second = self.policies
        policies = MemoryPolicies(first)
        control = MemoryControl(self.definitions)
        cluster = Cluster(
            policies.file.policy, seed=order, size=rng.choice(SIZES), start_ms=BEGIN_MS, chaos=any_chaos(rng),
            make_definitions=policies.changes(control),
        )  # fmt: skip
        arrivals = shuffled_with_repetitions(rng, sent(self.touches, self.decisions))
        change_at = rng.randrange(len(arrivals) + 1)
        feed(cluster, rng, arrivals[:change_at])
        policies.publish(second)
        feed(cluster, rng, arrivals[change_at:])
        cluster.advance(END_MS)
        cluster.advance(END_MS + 2_000)  # After a crash a profile is published only when it is due.
        cluster.policy = policy_from(second)
        return cluster


def check_orders(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(seed)
    monkeypatch.setattr(adoption, "STEP", 2)  # A change of policy takes many batches.
    hashes, ends, heirs = set(), [], {}
    for order in range(ORDERS):
        rng = random.Random(f"{seed} {order}")
        with pytest.MonkeyPatch.context() as patch:
            maybe_large(rng, patch)
            cluster = history.play(order, rng)
            check_all(cluster, history.touches, history.definitions, history.decisions)
            hashes.add(state_hash_of(cluster))
            profiles = profiles_of(cluster)
        ends.append([(one["profile_id"], one["identifiers"], sorted(one["memberships"])) for one in profiles])
        for one in profiles:
            for alias in one["aliases"]:
                assert heirs.setdefault(alias, one["profile_id"]) == one["profile_id"]
    assert len(hashes) == 1
    assert all(end == ends[0] for end in ends)
    assert heirs.keys().isdisjoint(pid for pid, _, _ in ends[0])


@pytest.mark.parametrize("seed", range(SHORT))
def test_ten_orders_of_a_history_end_in_one_state(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    check_orders(seed, monkeypatch)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(SHORT, ALL))
def test_ten_orders_of_every_history_end_in_one_state(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    check_orders(seed, monkeypatch)
