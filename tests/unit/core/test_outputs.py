"""What is told, when, and why: one situation a test, on one partition with a clock moved by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from pipeline.core.outbox import Cause, MembershipChange, ProfileAlias, Review
from pipeline.core.policy import parse_policy
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch
from tests.support.laws import check_outputs, check_sequences, members_of, profiles_of
from tests.support.memory import Cluster, Published
from tests.support.memory_definitions import MemoryControl, MemoryDefinitions

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 1_790_000_000_000
IDENTIFIERS: dict[str, Any] = {"u": {"limit": 1}, "d": {"limit": 5}, "a": {"limit": 5}}
RECENT = {"id": "recent", "where": {"event": "viewed", "within": "1h"}}
TWICE = {"id": "twice", "where": {"event": "viewed", "within": "2h", "at_least": 2}}
QUIET = {"id": "quiet", "where": {"none": [{"event": "viewed", "within": "1h"}]}}
MADRID = {"id": "madrid", "where": {"trait": "city", "is": "Madrid"}}
REACHABLE = {"id": "reachable", "purpose": "marketing", "where": {"event": "viewed"}}


def cluster_of(*definitions: Mapping[str, Any], size: int = 1, **policy: Any) -> Cluster:
    return Cluster(
        parse_policy({"identifiers": IDENTIFIERS} | policy), map(definition_from_json, definitions),
        size=size, start_ms=START_MS,
    )  # fmt: skip


def seen(
    cluster: Cluster, identifiers: str, event: str = "viewed", at_ms: int | None = None, *,
    consent: dict[str, bool] | None = None, **traits: Any
) -> None:  # fmt: skip
    """A touch arrives now; its event time is now too unless said otherwise."""
    at_ms = cluster.now_ms if at_ms is None else at_ms
    name = f"e{sum(len(one.logs.touches) for one in cluster.partitions) + 1}"
    cluster.accept(
        Touch(name, "web", event, at_ms, identifiers.split(), json.dumps(traits), "{}", consent or {})
    )


def told(cluster: Cluster) -> list[tuple[str, str, int, int, str]]:
    """(segment, change, sequence, occurred at since the start, cause)."""
    return [
        (one.output.segment_id, one.output.change, one.output.sequence, one.output.occurred_at - START_MS,
         str(one.output.cause))
        for one in cluster.told if isinstance(one.output, MembershipChange)
    ]  # fmt: skip


def changes(cluster: Cluster) -> list[MembershipChange]:
    return [one.output for one in cluster.told if isinstance(one.output, MembershipChange)]


def test_an_exit_by_time_is_told_at_its_exact_instant_with_the_event_that_has_left_the_window() -> None:
    cluster = cluster_of(RECENT)
    seen(cluster, "a:1", at_ms=START_MS - 7)
    cluster.advance(START_MS + DAY_MS)
    assert told(cluster) == [
        ("recent", "entered", 1, -7, "event"),
        ("recent", "exited", 2, HOUR_MS - 7, "timer"),
    ]
    entered, exited = changes(cluster)
    assert (entered.event_ids, exited.event_ids) == (("e1",), ("e1",))
    assert exited.decided_at == HOUR_MS - 7 + START_MS
    check_outputs(cluster)


def test_a_worker_that_was_down_tells_each_exit_at_its_own_instant_and_says_when_it_decided() -> None:
    cluster = cluster_of(RECENT, TWICE, QUIET)
    seen(cluster, "a:1")
    cluster.now_ms += HOUR_MS // 2
    seen(cluster, "a:1")
    cluster.now_ms += 5 * DAY_MS
    cluster.settle()
    half = HOUR_MS // 2
    assert sorted(told(cluster), key=lambda one: one[3]) == [
        ("recent", "entered", 1, 0, "event"), ("twice", "entered", 1, half, "event"),
        ("quiet", "entered", 1, half + HOUR_MS, "timer"), ("recent", "exited", 2, half + HOUR_MS, "timer"),
        ("twice", "exited", 2, 2 * HOUR_MS, "timer"),
    ]  # fmt: skip
    assert {one.decided_at for one in changes(cluster) if one.cause is Cause.TIMER} == {cluster.now_ms}
    check_outputs(cluster)


def test_a_touch_at_the_very_instant_of_an_exit_comes_after_it() -> None:
    cluster = cluster_of(RECENT)
    seen(cluster, "a:1")
    cluster.settle()
    cluster.now_ms += HOUR_MS
    seen(cluster, "a:1")
    cluster.settle()
    assert [one[:4] for one in told(cluster)] == [
        ("recent", "entered", 1, 0), ("recent", "exited", 2, HOUR_MS), ("recent", "entered", 3, HOUR_MS),
    ]  # fmt: skip


def test_a_late_event_whose_window_has_passed_changes_nothing() -> None:
    cluster = cluster_of(RECENT)
    seen(cluster, "a:1", at_ms=START_MS - HOUR_MS)
    cluster.advance(START_MS + DAY_MS)
    assert told(cluster) == []
    assert profiles_of(cluster)[0]["counters"] == {"viewed": 1}


def test_consent_given_and_taken_back_is_told_as_such() -> None:
    cluster = cluster_of(REACHABLE)
    seen(cluster, "u:1 d:1")
    cluster.now_ms += 1
    seen(cluster, "u:1", "asked", consent={"marketing": True})
    cluster.now_ms += 1
    seen(cluster, "d:1", "asked", consent={"marketing": False})
    cluster.settle()
    assert told(cluster) == [
        ("reachable", "entered", 1, 1, "consent"),
        ("reachable", "exited", 2, 2, "consent"),
    ]
    entered, exited = changes(cluster)
    assert entered.identifiers == ["u:1", "d:1"]
    assert exited.identifiers == ["u:1"]  # The device has refused.


def test_a_trait_that_is_taken_back_ends_a_membership() -> None:
    cluster = cluster_of(MADRID)
    seen(cluster, "u:1", city="Madrid")
    cluster.now_ms += 5
    seen(cluster, "u:1", city=None)
    seen(cluster, "u:1", at_ms=START_MS - 1, city="Madrid")
    cluster.settle()
    assert [one[:4] for one in told(cluster)] == [("madrid", "entered", 1, 0), ("madrid", "exited", 2, 5)]


def test_a_profile_that_keeps_changing_is_published_once_in_the_interval() -> None:
    cluster = cluster_of()
    for _ in range(30):
        seen(cluster, "u:1")
        cluster.partitions[0].run_batch()  # Never without a record: the partition is not at rest.
        cluster.now_ms += 100
    published = [one.at_ms - START_MS for one in cluster.told if isinstance(one.output, Published)]
    assert published == [1000, 2100]
    cluster.settle()
    assert profiles_of(cluster)[0]["counters"] == {"viewed": 30}
    check_outputs(cluster)


def test_a_partition_at_rest_publishes_at_once() -> None:
    cluster = cluster_of()
    seen(cluster, "u:1")
    cluster.settle()
    assert [one.at_ms for one in cluster.told if isinstance(one.output, Published)] == [START_MS]


def test_a_component_with_an_open_claim_does_not_keep_its_partition_busy() -> None:
    """It is neither due nor to be published before the answer, or `link_wait`: the worker may sleep."""
    cluster = cluster_of(QUIET, size=16, link_wait="250ms")
    owner = next(one for one in cluster.partitions if one._is_local("u:1"))
    seen(cluster, "u:1")
    seen(cluster, "u:1 a:1")
    owner.run_batch()
    for _ in range(3):
        owner.run_batch()
    assert not owner.has_work()
    assert owner.next_timer_ms() == START_MS + 250


def test_idle_anonymous_people_leave_their_segments_and_are_forgotten() -> None:
    cluster = cluster_of(QUIET, anonymous_retention="10d")
    seen(cluster, "d:1 a:1")
    seen(cluster, "u:1 a:2")
    cluster.advance(START_MS + 11 * DAY_MS)
    assert [one["identifiers"] for one in profiles_of(cluster)] == [["u:1", "a:2"]]
    exits = [one for one in changes(cluster) if one.change == "exited"]
    assert [(one.occurred_at - START_MS, str(one.cause)) for one in exits] == [(10 * DAY_MS, "timer")]
    (gone,) = [
        one.output for one in cluster.told if isinstance(one.output, Published) and one.output.profile is None
    ]
    assert gone.profile_id == exits[0].profile_id
    nodes = set(cluster.partitions[0].identifiers())
    assert nodes == {"u:1", "a:2"}
    seen(cluster, "a:1")
    cluster.settle()
    assert [one["counters"] for one in profiles_of(cluster)] == [{"viewed": 1}, {"viewed": 1}]
    check_sequences(cluster, forgotten=True)


def test_a_touch_that_arrives_when_its_component_has_just_expired_begins_anew() -> None:
    cluster = cluster_of(anonymous_retention="10d", size=4)
    seen(cluster, "d:1 a:1")
    cluster.settle()
    cluster.now_ms += 10 * DAY_MS
    seen(cluster, "a:1")
    cluster.settle()
    assert [(one["identifiers"], one["counters"]) for one in profiles_of(cluster)] == [
        (["a:1"], {"viewed": 1})
    ]


def test_a_full_component_is_seen_in_the_metric_and_reviewed_once() -> None:
    cluster = cluster_of(component_identifiers_max=3)
    for at in range(6):
        seen(cluster, f"u:1 a:{at}")
        cluster.settle()
    assert cluster.refused == ["component_full"] * 4
    (review,) = [one.output for one in cluster.told if isinstance(one.output, Review)]
    assert (review.kind, review.component, review.identifiers) == ("oversized", "u:1", ["u:1", "a:2"])
    assert profiles_of(cluster)[0]["identifiers"] == ["u:1", "a:0", "a:1"]


def test_nobody_joins_a_full_component_from_outside_either() -> None:
    cluster = cluster_of(component_identifiers_max=3, size=4)
    for identifiers in ("u:1 d:1", "u:1 d:2", "u:1 d:3", "a:1 a:2", "d:1 a:1", "u:2 d:2"):
        seen(cluster, identifiers)
        cluster.settle()
    groups = {" ".join(one["identifiers"]) for one in profiles_of(cluster)}
    assert groups == {"u:1 d:1 d:2", "a:1 a:2", "u:2"}
    check_outputs(cluster)


def test_an_identifier_that_was_only_seen_beside_others_and_refused_there_is_nobody() -> None:
    cluster = cluster_of(QUIET)
    for at in range(7):
        seen(cluster, f"u:1 d:{at}")
    cluster.settle()
    assert [len(one["identifiers"]) for one in profiles_of(cluster)] == [6]
    assert {one.output.profile_id for one in cluster.told if isinstance(one.output, Published)} \
        == {profiles_of(cluster)[0]["profile_id"]}  # fmt: skip
    assert members_of(cluster) == set()


def defined(*definitions: Mapping[str, Any]) -> tuple[Cluster, MemoryControl]:
    control = MemoryControl(definitions)
    cluster = Cluster(
        parse_policy({"identifiers": IDENTIFIERS}), start_ms=START_MS,
        make_definitions=lambda partition: MemoryDefinitions(control, partition),
    )  # fmt: skip
    return cluster, control


def test_a_new_segment_is_populated_from_the_history_and_says_so() -> None:
    cluster, control = defined()
    seen(cluster, "u:1")
    seen(cluster, "u:2", "bought")
    cluster.advance(START_MS + HOUR_MS // 2)
    control.apply(RECENT)
    cluster.settle()
    (entered,) = changes(cluster)
    assert (entered.change, entered.cause, entered.backfill, entered.event_ids) == (
        "entered",
        "backfill",
        True,
        ("e1",),
    )
    cluster.advance(START_MS + 2 * HOUR_MS)
    assert told(cluster)[1:] == [("recent", "exited", 2, HOUR_MS, "timer")]
    check_outputs(cluster)


def test_an_edited_segment_is_evaluated_again_for_everybody() -> None:
    cluster, control = defined(MADRID)
    seen(cluster, "u:1", city="Madrid")
    seen(cluster, "u:2", city="Lisbon")
    cluster.settle()
    control.apply({"id": "madrid", "where": {"trait": "city", "is": "Lisbon"}})
    cluster.settle()
    assert sorted((one.change, str(one.cause), one.segment_version) for one in changes(cluster)) == [
        ("entered", "definition", 2), ("entered", "event", 1), ("exited", "definition", 2),
    ]  # fmt: skip
    check_outputs(cluster)


def test_a_deleted_segment_is_left_by_everybody_also_by_those_who_wait_for_a_link() -> None:
    cluster, control = defined(MADRID)
    seen(cluster, "u:1", city="Madrid")
    cluster.settle()
    component = cluster.partitions[0].store.component("u:1")
    component.unsettled, component.hold_until = True, START_MS + 10_000
    component.add_claim("a:9")
    cluster.partitions[0].store.save_component(component)
    control.delete("madrid")
    cluster.settle()
    assert [(one.change, str(one.cause)) for one in changes(cluster)] == [
        ("entered", "event"),
        ("exited", "definition"),
    ]


@pytest.mark.parametrize("size", [1, 16])
def test_the_alias_comes_before_anything_is_told_under_the_new_id(size: int) -> None:
    cluster = cluster_of(MADRID, QUIET, size=size)
    seen(cluster, "u:1", "bought", city="Madrid")
    cluster.advance(START_MS + 10)
    seen(cluster, "a:1", at_ms=START_MS - 5)
    cluster.advance(START_MS + 20)
    seen(cluster, "u:1 a:1")
    cluster.advance(START_MS + 30)
    outputs = [one.output for one in cluster.told if one.at_ms >= START_MS + 20]
    (alias,) = [one for one in outputs if isinstance(one, ProfileAlias)]
    new = [
        at
        for at, one in enumerate(outputs)
        if isinstance(one, MembershipChange) and one.profile_id == alias.profile_id
    ]
    assert new
    assert outputs.index(alias) < min(new)
    check_outputs(cluster)
