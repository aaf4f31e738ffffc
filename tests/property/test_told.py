"""What consumers are told, change by change, is what the oracle says: same changes, same instants, same
sequences, over sixty days of virtual time.

The full size, 300 definitions with each of 200 histories, takes ten minutes with the compiled core:
    pytest tests/property/test_told.py -m soak
"""

from __future__ import annotations

import os
import random
from typing import Any, Final

import msgspec
import pytest

from pipeline.core.touch import Touch
from tests.support import told_oracle
from tests.support.histories import World, policy_of
from tests.support.laws import check_outputs, check_profiles, check_structure
from tests.support.memory import PROFILE_KEY, Chaos, Cluster
from tests.support.memory_definitions import MemoryControl, MemoryDefinitions
from tests.support.segment_cases import DAYS, HOURS, Scale, random_definition
from tests.support.segment_oracle import id_of
from tests.support.told_oracle import by_membership, told_of

SEEDS: Final = int(os.environ.get("ELO_TEST_SEEDS", "4"))
HISTORIES: Final = 200
DEFINITIONS: Final = 300
LIMITS: Final[dict[str, Any]] = {
    "user_id": {"limit": 1}, "cpf": {"limit": 1, "normalise": "cpf"},
    "email": {"limit": 2, "normalise": "email"}, "phone": {"limit": 3, "normalise": "phone"},
    "device_id": {"limit": 3}, "anonymous_id": {"limit": 9},
}  # fmt: skip
"""Nobody is shared, but limits are met: some links are refused."""


def arrival(world: World, number: int, now_ms: int) -> Touch:
    """A touch that arrives now: most are of this moment, some are late, a few are ahead of it."""
    rng, touch = world.rng, world.touch(number)
    if rng.random() < 0.35 and touch.occurred_at <= now_ms:
        return touch
    return msgspec.structs.replace(touch, occurred_at=now_ms + rng.choice([0, 0, -1, -60_000, 200_000]))


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("scale", [HOURS, DAYS], ids=["hours", "days"])
def test_every_change_is_told_as_the_oracle_says(seed: int, scale: Scale) -> None:
    play(seed, scale, definitions=25, touches=25, crash=0.2, edits=0.3)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(HISTORIES))
def test_every_change_of_300_definitions_is_told_as_the_oracle_says(seed: int) -> None:
    play(seed, DAYS, definitions=DEFINITIONS, touches=40, crash=0.02, edits=0.12)


def play(seed: int, scale: Scale, definitions: int, touches: int, crash: float, edits: float) -> None:
    """Late, repeated and merging touches; definitions that are edited and deleted meanwhile."""
    rng = random.Random(seed)
    control, size = MemoryControl(), rng.choice([1, 1, 4])
    cluster = Cluster(
        policy_of(identifiers=LIMITS, anonymous_retention="400d"), seed=seed, size=size,
        start_ms=scale.start_ms,
        chaos=Chaos(batch_max=rng.choice([1, 4, 50]), crash=rng.choice([0, crash])),
        make_definitions=lambda partition: MemoryDefinitions(control, partition),
    )  # fmt: skip
    story = told_oracle.Story(cluster.policy, PROFILE_KEY, scale.start_ms)
    written = [random_definition(rng, number, scale, traits=0.2) for number in range(definitions)]
    later = [written.pop() for _ in range(definitions // 10)]  # These come while touches flow.
    for definition in written:
        control.apply(definition)
        story.define(cluster.now_ms, definition)
    cluster.settle()
    world = World(rng, people=rng.choice([1, 3]), mixed=rng.choice([0, 0.15]), scale=scale)
    sent: list[Touch] = []
    for number in range(touches):
        cluster.advance(
            cluster.now_ms + rng.choice([0, 1, scale.step_ms // 2, scale.step_ms, 2 * scale.step_ms])
        )
        if rng.random() < edits:
            change_definitions(rng, control, story, cluster, later, number + definitions, scale)
        touch = rng.choice(sent) if sent and rng.random() < 0.15 else arrival(world, number, cluster.now_ms)
        sent.append(touch)
        cluster.accept(touch)
        story.touch(cluster.now_ms, touch)
        cluster.settle()
    until_ms = cluster.now_ms + rng.choice([0, 1, 12]) * scale.step_ms
    cluster.advance(until_ms)
    story.wait(until_ms)
    assert by_membership(told_of(cluster)) == by_membership(story.told)
    check_structure(cluster)
    cluster.advance(cluster.now_ms + 2_000)  # After a crash a profile is published only when it is due.
    check_profiles(cluster, sent, list(story.definitions.values()))
    check_outputs(cluster)


def change_definitions(
    rng: random.Random,
    control: MemoryControl,
    story: told_oracle.Story,
    cluster: Cluster,
    later: list[dict[str, Any]],
    number: int,
    scale: Scale,
) -> None:
    """Apply a new definition, edit one or delete one. An id is never used again."""
    known = sorted(story.definitions)
    if known and rng.random() < 0.3:
        gone = rng.choice(known)
        control.delete(gone)
        story.define(cluster.now_ms, None, gone)
    else:
        definition = later.pop() if later else random_definition(rng, number, scale, traits=0.2)
        same = [name for name in known if name.startswith("trait:") == ("trait" in definition)]
        if same and rng.random() < 0.5:
            name = rng.choice(same)
            definition |= {"trait": name.removeprefix("trait:")} if "trait" in definition else {"id": name}
        assert id_of(definition)
        control.apply(definition)
        story.define(cluster.now_ms, definition)
    cluster.settle()
