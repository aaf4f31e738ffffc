"""What the tables of identity and of decisions share: clusters, and every order of arrival."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any, Final

from pipeline.core.policy import Policy
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch
from tests.support.memory import Chaos, Cluster
from tests.support.touchpoints import NOW_MS

MINUTE_MS: Final = 60_000
START_MS: Final = NOW_MS + 100 * MINUTE_MS
ORDERS_MAX: Final = 24
SEGMENTS: Final[list[dict[str, Any]]] = [
    {"id": "everybody", "where": {"none": [{"trait": "nobody", "exists": True}]}},
    {"id": "viewed", "where": {"event": "page_viewed", "within": "7d"}},
]


def cluster_of(rules: Policy, size: int, seed: int = 0, delay_ms: int = 0) -> Cluster:
    """A cluster after the last minute of the tables."""
    return Cluster(
        rules, map(definition_from_json, SEGMENTS), size=size, seed=seed, start_ms=START_MS,
        chaos=Chaos(batch_max=3, delay_ms=delay_ms),
    )  # fmt: skip


def given_and_when(rules: Policy, size: int, given: Sequence[Touch], when: Sequence[Touch]) -> Cluster:
    """What is `given` has come and is settled, one after the other; `when` comes at once."""
    cluster = cluster_of(rules, size)
    for touch in given:
        cluster.accept(touch)
        cluster.settle()
    for touch in when:
        cluster.accept(touch)
    cluster.settle()
    return cluster


def in_every_order(name: str, rules: Policy, touches: Sequence[Touch]) -> Iterator[Cluster]:
    """Clusters at rest, one for each order of arrival; of many orders some. `name`: gives the chance."""
    rng = random.Random(name)
    orders = list(permutations(touches)) if len(touches) < 5 else []
    orders = orders or [tuple(rng.sample(touches, k=len(touches))) for _ in range(ORDERS_MAX)]
    for number, order in enumerate(orders):
        cluster = cluster_of(rules, rng.choice([1, 3, 16]), seed=number, delay_ms=rng.choice([0, 100]))
        for touch in order:
            cluster.accept(touch)
            cluster.run(rng.randrange(6))
        cluster.settle()
        cluster.advance(cluster.now_ms + 2_000)
        yield cluster
