"""How a generated history is played on a cluster: in any order, in pieces, with faults; and what must hold at
its end.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.core import joining, node
from pipeline.core.outputs import Outputs
from pipeline.core.policy import Policy
from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch
from pipeline.runtime import inspect
from tests.support.decision_oracle import Ruled
from tests.support.histories import policy_of, random_policy, shuffled_with_repetitions
from tests.support.laws import check_heirs, check_matches, check_outputs, check_profiles, check_structure
from tests.support.memory import PROFILE_KEY, Chaos, Cluster
from tests.support.rocks import on_disk
from tests.support.segment_cases import HOUR_MS, START_MS, random_definition

SEEDS: Final = int(os.environ.get("ELO_TEST_SEEDS", "150"))
"""How many histories each law is tried on; raise it for a soak."""
BEGIN_MS: Final = START_MS + 6 * HOUR_MS
"""Touches come from now on; they happened up to four hours later, or before."""


def any_rules(rng: random.Random, history: str = "30d") -> Policy:
    """The usual policy, or one with many rules."""
    usual = policy_of(moves=rng.random() < 0.3, history=history)
    return random_policy(rng, history=history) if rng.random() < 0.6 else usual


def any_chaos(rng: random.Random) -> Chaos:
    """Batches, caches, crashes and mail of any kind."""
    return Chaos(
        batch_max=rng.choice([1, 3, 20]), forget=rng.choice([0, 0.5, 1]), crash=rng.choice([0, 0.2]),
        delay_ms=rng.choice([0, 20, 2_000]),
    )  # fmt: skip


def maybe_large(rng: random.Random, patch: pytest.MonkeyPatch) -> None:
    """Half of the times everything is large: merges travel in parts, a component has many pages."""
    if rng.random() < 0.5:
        patch.setattr(joining, "MERGE_BYTES_MAX", 300)
        patch.setattr(node, "PAGE_FACETS", 2)


def sent(touches: Iterable[Touch], decisions: Iterable[Ruled]) -> list[Touch]:
    """All that the intake sends."""
    return [*touches, *(touch for one in decisions for touch in one.touches(one.identifiers[:1]))]


def pass_time(cluster: Cluster, rng: random.Random) -> None:
    """Move the clock: a little while work waits, or far with all workers up."""
    step_ms = rng.choice([1, 30, 400, HOUR_MS // 3])
    if step_ms < 1_000:
        cluster.now_ms += step_ms
    else:
        cluster.advance(cluster.now_ms + step_ms)


def wait_while_busy(cluster: Cluster, rng: random.Random) -> None:
    """Move the clock while work waits."""
    cluster.now_ms += rng.choice([1, 30, 400, 60_000])


def feed(
    cluster: Cluster,
    rng: random.Random,
    arrivals: Iterable[Touch],
    pause: Callable[[Cluster, random.Random], None] = pass_time,
) -> None:
    """Let touches arrive while partitions work and time passes."""
    for touch in arrivals:
        cluster.accept(touch)
        cluster.run(rng.randrange(4))
        if rng.random() < 0.3:
            pause(cluster, rng)


def end_under(cluster: Cluster, rng: random.Random, policy: Policy) -> None:
    """Let time pass until all the work of a policy that was published last is done."""
    cluster.advance(max(cluster.now_ms, START_MS + rng.randrange(6, 18) * HOUR_MS))
    cluster.advance(cluster.now_ms + 2_000)
    cluster.policy = policy
    assert not any(one.definitions.open_steps() for one in cluster.partitions)


def check_all(
    cluster: Cluster,
    touches: Sequence[Touch],
    definitions: Sequence[Any],
    decisions: Sequence[Ruled] = (),
) -> None:
    """The state is that of the oracle, and what was told leads to it."""
    check_structure(cluster)
    check_matches(cluster, touches)
    check_profiles(cluster, touches, definitions, decisions)
    check_heirs(cluster, touches, decisions)
    check_outputs(cluster)


def play_in_memory(
    seed: int,
    rng: random.Random,
    touches: Sequence[Touch],
    decisions: Sequence[Ruled] = (),
    policy: Policy | None = None,
) -> None:
    """Any order, any split into batches, any repetition, any number of partitions, crashes."""
    definitions = [random_definition(rng, number) for number in range(6)]
    policy = policy or any_rules(rng, rng.choice(["30d", "10m"]))
    chaos = any_chaos(rng)
    with pytest.MonkeyPatch.context() as patch:
        maybe_large(rng, patch)
        cluster = Cluster(
            policy, map(definition_from_json, definitions), seed=seed, size=rng.choice([1, 2, 3, 16]),
            start_ms=BEGIN_MS, chaos=chaos,
        )  # fmt: skip
        feed(cluster, rng, shuffled_with_repetitions(rng, sent(touches, decisions)))
        cluster.advance(max(cluster.now_ms, START_MS + rng.randrange(6, 18) * HOUR_MS))
        cluster.advance(cluster.now_ms + 2_000)  # After a crash a profile is published only when it is due.
    check_all(cluster, touches, definitions, decisions)


def play_on_disk(
    seed: int,
    rng: random.Random,
    directory: Path,
    touches: Sequence[Touch],
    decisions: Sequence[Ruled] = (),
    policy: Policy | None = None,
) -> None:
    """On the real store, through aborts, restarts and wiped disks."""
    definitions = [random_definition(rng, number) for number in range(6)]
    policy = policy or policy_of(history=rng.choice(["30d", "10m"]))
    cluster = Cluster(
        policy, map(definition_from_json, definitions), seed=seed,
        size=rng.choice([1, 3]), start_ms=BEGIN_MS, partition=on_disk(directory),
        chaos=Chaos(batch_max=rng.choice([1, 3, 20]), forget=rng.choice([0, 0.5]), crash=0.2, delay_ms=20),
    )  # fmt: skip
    feed(cluster, rng, shuffled_with_repetitions(rng, sent(touches, decisions)), wait_while_busy)
    cluster.advance(cluster.now_ms + 30 * 60_000)
    cluster.now_ms += 12 * HOUR_MS  # Nobody worked for so long.
    cluster.advance(cluster.now_ms + 2_000)
    check_all(cluster, touches, definitions, decisions)
    for partition in cluster.partitions:
        partition.store.close()


def state_hash_of(cluster: Cluster) -> str:
    """What `elo state hash` says of a cluster."""
    nodes: Any = None
    live = [one for partition in cluster.partitions for one in partition.components() if not one.redirect]
    return inspect.hash_of(live, Outputs(cluster.policy, Catalogue(()), nodes, PROFILE_KEY, 0))
