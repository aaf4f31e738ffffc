"""Laws of past changes: judged again from what had arrived by then, each one comes out as it was told."""

from __future__ import annotations

import os
import random
from typing import Any, Final

import pytest

from pipeline.core.node import Component
from pipeline.core.outbox import Cause, MembershipChange
from pipeline.core.past import Arrival, JudgedAgain, PastChange, judge_again
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch, decode_touch
from tests.property.test_told import LIMITS, arrival
from tests.support.histories import World, policy_of
from tests.support.laws import changes_of
from tests.support.memory import PROFILE_KEY, Chaos, Cluster
from tests.support.segment_cases import DAYS, HOURS, START_MS, Scale, random_definition

SEEDS: Final = int(os.environ.get("ELO_TEST_SEEDS", "8"))


def holding(cluster: Cluster, profile_id: str) -> Component:
    """The live component in which a profile id was told of."""
    components = [one for partition in cluster.partitions for one in partition.components()]
    return next(one for one in components if profile_id in one.entries and not one.redirect)


def arrivals_of(cluster: Cluster, present: Component, from_ms: int = 0) -> list[Arrival]:
    """The touches of the history of a component, each once. `from_ms`: what was logged before is gone."""
    found: dict[tuple[str, str], Arrival] = {}
    for partition in cluster.partitions:
        for offset, (at_ms, value) in enumerate(partition.logs.touches):
            touch = decode_touch(value)
            key = touch.identifiers[0], touch.event_id
            if present.has_facet(key[0]) and key not in found:
                found[key] = Arrival(at_ms, partition.number, offset, touch)
    return [one for one in found.values() if one.at_ms >= from_ms]


def judge(
    cluster: Cluster, told: MembershipChange, definitions: dict[str, Any], from_ms: int = 0
) -> JudgedAgain:
    """A change judged again."""
    event_id = told.event_ids[0] if told.event_ids else ""
    change = PastChange(told.profile_id, told.segment_id, told.change == "entered", told.occurred_at,
                        told.decided_at, told.cause, event_id, told.identifiers)  # fmt: skip
    present = holding(cluster, told.profile_id)
    arrivals = arrivals_of(cluster, present, from_ms)
    return judge_again(change, present, arrivals, definitions, cluster.policy, PROFILE_KEY)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("scale", [HOURS, DAYS], ids=["hours", "days"])
def test_every_change_comes_out_as_it_was_told(seed: int, scale: Scale) -> None:
    rng = random.Random(seed)
    written = [random_definition(rng, number, scale, traits=0.2) for number in range(12)]
    definitions = {one.id: one for one in map(definition_from_json, written)}
    cluster = Cluster(
        policy_of(identifiers=LIMITS, anonymous_retention="400d"), definitions.values(), seed=seed,
        size=rng.choice([1, 1, 3]), start_ms=scale.start_ms, chaos=Chaos(batch_max=rng.choice([1, 4])),
    )  # fmt: skip
    world = World(rng, people=rng.choice([1, 3]), mixed=rng.choice([0, 0.15]), scale=scale)
    sent: list[Touch] = []
    for number in range(20):
        cluster.advance(cluster.now_ms + rng.choice([1, scale.step_ms // 2, scale.step_ms]))
        touch = rng.choice(sent) if sent and rng.random() < 0.15 else arrival(world, number, cluster.now_ms)
        sent.append(touch)
        cluster.accept(touch)
        cluster.settle()
    cluster.advance(cluster.now_ms + 12 * scale.step_ms)
    judged = 0
    for told in changes_of(cluster):
        found = judge(cluster, told, definitions)
        why = found.why
        assert found.complete
        if why is None:
            assert (told.change, told.cause) in (("exited", Cause.MERGE), ("exited", Cause.UNMERGE)), told
            continue
        judged += 1
        assert why.inside == (told.change == "entered"), told
        assert why.at_ms == (told.occurred_at if told.cause is Cause.TIMER else told.decided_at)
    assert judged or not changes_of(cluster)


def test_what_is_older_than_the_history_counts_as_far_as_it_is_kept() -> None:
    """Ana ordered long ago; the history has lost that, the state has not."""
    written = {"id": "third-order", "where": {"all": [
        {"event": "order_completed", "at_least": 3}, {"trait": "city", "is": "Madrid"},
        {"event": "order_completed", "sum": "price", "gte": 60},
    ]}}  # fmt: skip
    definitions = {"third-order": definition_from_json(written)}
    cluster = Cluster(policy_of(), definitions.values(), start_ms=START_MS)
    for number in range(4):
        cluster.advance(START_MS + number * 60_000)
        cluster.accept(Touch(
            f"e{number}", "web", "order_completed", cluster.now_ms, ["email:ana@example.com"],
            '{"city": "Madrid"}' if number == 0 else "{}", '{"price": 20}',
        ))  # fmt: skip
        cluster.settle()
    (told,) = changes_of(cluster)
    for from_ms, complete in ((START_MS, True), (START_MS + 90_000, False)):
        found = judge(cluster, told, definitions, from_ms)
        why = found.why
        assert why is not None
        assert why.inside
        assert found.complete == complete
        counted, city, spent = why.where.conditions
        assert counted.found["count"] == 3
        assert city.found["value"] == "Madrid"
        assert spent.found == {"aggregate": 60, "of": 3}


def test_who_is_shared_now_was_not_when_it_was_told_beside_others() -> None:
    """Ana had a device for herself until Bia used it."""
    owners = definition_from_json({"id": "owners", "where": {"has": "device_id"}})
    identifiers = {"user_id": {"limit": 1}, "device_id": {"limit": 3, "shared_after": 1}}
    cluster = Cluster(policy_of(identifiers=identifiers), [owners], start_ms=START_MS)
    for number, names in enumerate(("user_id:ana device_id:d", "device_id:d", "user_id:bia device_id:d")):
        cluster.advance(START_MS + number * 60_000)
        cluster.accept(Touch(f"e{number}", "web", "page_viewed", cluster.now_ms, names.split()))
        cluster.settle()
    judged = [judge(cluster, told, {"owners": owners}) for told in changes_of(cluster)]
    assert [(one.identifiers, one.why is not None and one.why.inside) for one in judged] == [
        (["user_id:ana", "device_id:d"], True), (["user_id:ana"], False), (["device_id:d"], True),
    ]  # fmt: skip
