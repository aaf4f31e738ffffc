"""The oracle of the benchmarks, on cases small enough to see through."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.bench.generator import Record
from tests.bench.oracle import DAY_MS, Oracle, compare, compare_changes
from tests.bench.streams_oracle import HOUR_MS, StreamsOracle

NOW_MS: Final = 1_790_000_000_000
A, B, C = "bench-a", "bench-b", "bench-c"


def touch(event_id: str, type: str, at_ms: int, *identifiers: str, **more: dict[str, Any]) -> Record:
    """A touchpoint; `identifiers` are `type:value`, `more` gives traits and properties."""
    pairs = [identifier.split(":", 1) for identifier in identifiers]
    return {
        "event_id": event_id,
        "source": "web",
        "type": type,
        "occurred_at": at_ms,
        "identifiers": [{"type": kind, "value": value} for kind, value in pairs],
        "traits": json.dumps(more.get("traits", {})),
        "properties": json.dumps(more.get("properties", {"category": "bags"})),
    }


def oracle_of(*records: Record) -> Oracle:
    """The oracle after these touchpoints."""
    oracle = Oracle()
    for record in records:
        oracle.add(record)
    return oracle


def runner(event_id: str, at_ms: int, identifier: str = "user_id:u1") -> Record:
    """Somebody in the shop looks at running shoes."""
    return touch(event_id, "product_viewed", at_ms, identifier, properties={"category": "running shoes"})


def line_of(oracle: Oracle, at_ms: int) -> list[dict[str, Any]]:
    """What `elo state dump` prints when it is right."""
    return [
        {
            "profile_id": f"p{index}",
            "identifiers": [
                dict(zip(("type", "value"), one.split(":", 1), strict=True))
                for one in sorted(profile.identifiers)
            ],
            "counters": dict(profile.counters),
            "traits": {name: min(values) for name, (_, values) in profile.traits.items()},
            "memberships": {segment: {"sequence": 1, "since": 0} for segment in profile.memberships(at_ms)},
            "first_seen": profile.first_seen,
            "last_seen": profile.last_seen,
        }
        for index, profile in enumerate(oracle.profiles())
    ]


def _pair(identifier: str) -> dict[str, str]:
    kind, value = identifier.split(":", 1)
    return {"type": kind, "value": value}


def test_identifiers_seen_together_are_one_profile_also_through_others() -> None:
    oracle = oracle_of(
        touch("1", "page_viewed", 1, "anonymous_id:a1"),
        touch("2", "page_viewed", 2, "anonymous_id:a1", "user_id:u1"),
        touch("3", "page_viewed", 3, "user_id: u1 ", "email: Ana@Example.com"),
        touch("4", "page_viewed", 4, "anonymous_id:a2"),
    )
    found = {profile.identifiers: profile.counters for profile in oracle.profiles()}
    assert found == {
        frozenset({"anonymous_id:a1", "user_id:u1", "email:ana@example.com"}): {"page_viewed": 3},
        frozenset({"anonymous_id:a2"}): {"page_viewed": 1},
    }


def test_a_repeat_counts_once_and_junk_is_rejected() -> None:
    view = touch("1", "page_viewed", 1, "user_id:u1", "anonymous_id:NULL")
    oracle = oracle_of(view, view, touch("2", "page_viewed", 2, "anonymous_id: "))
    assert (oracle.taken, oracle.duplicates, oracle.rejected) == (3, 1, 1)
    [profile] = oracle.profiles()
    assert (profile.identifiers, profile.counters) == (frozenset({"user_id:u1"}), {"page_viewed": 1})


def test_the_newest_trait_survives_whatever_the_order() -> None:
    older = touch("1", "crm_updated", 1, "user_id:u1", traits={"city": "Roma", "plan": "free"})
    newer = touch("2", "crm_updated", 2, "user_id:u1", traits={"city": "Madrid"})
    wanted = {"city": (2, {"Madrid"}), "plan": (1, {"free"})}
    assert oracle_of(older, newer).profiles()[0].traits == wanted
    assert oracle_of(newer, older).profiles()[0].traits == wanted


def test_a_view_in_madrid_counts_for_exactly_seven_days_unless_there_is_an_order() -> None:
    city = touch("1", "crm_updated", NOW_MS - 9 * DAY_MS, "user_id:u1", traits={"city": "Madrid"})
    view = runner("2", NOW_MS - 7 * DAY_MS)
    [profile] = oracle_of(city, view).profiles()
    assert profile.memberships(NOW_MS - 1) == {A}
    assert profile.memberships(NOW_MS) == set()
    [profile] = oracle_of(city, view, touch("3", "order_completed", NOW_MS - DAY_MS, "user_id:u1")).profiles()
    assert profile.memberships(NOW_MS - 1) == set()


def test_three_views_within_a_day_are_needed() -> None:
    views = [touch(str(hour), "product_viewed", NOW_MS - hour * HOUR_MS, "user_id:u1") for hour in (1, 2, 23)]
    [profile] = oracle_of(*views).profiles()
    assert profile.memberships(NOW_MS) == {B}
    assert profile.memberships(NOW_MS + HOUR_MS - 1) == {B}
    assert profile.memberships(NOW_MS + HOUR_MS) == set()


def test_an_order_keeps_an_e_mail_address_out_for_thirty_days() -> None:
    known = touch("1", "page_viewed", NOW_MS - 40 * DAY_MS, "email:ana@example.com")
    order = touch("2", "order_completed", NOW_MS, "email:ana@example.com")
    assert oracle_of(known).profiles()[0].memberships(NOW_MS) == {C}
    [profile] = oracle_of(known, order).profiles()
    assert profile.memberships(NOW_MS + 30 * DAY_MS - 1) == set()
    assert profile.memberships(NOW_MS + 30 * DAY_MS) == {C}


HISTORY: Final = (
    touch(
        "1", "crm_updated", NOW_MS - DAY_MS, "user_id:u1", "email:ana@example.com", traits={"city": "Madrid"}
    ),
    runner("2", NOW_MS - 7 * DAY_MS + 5_000),
    touch("3", "page_viewed", NOW_MS - 1, "anonymous_id:a1"),
)


def test_a_dump_that_is_right_has_no_differences() -> None:
    oracle = oracle_of(*HISTORY)
    assert compare(oracle.profiles(), line_of(oracle, NOW_MS), NOW_MS, NOW_MS) == []


def test_a_membership_that_ends_meanwhile_may_be_found_either_way_and_no_other_may() -> None:
    oracle = oracle_of(*HISTORY)
    for at_ms in (NOW_MS, NOW_MS + 6_000):  # the view leaves its window at +5 s
        assert compare(oracle.profiles(), line_of(oracle, at_ms), NOW_MS, NOW_MS + 6_000) == []
    assert len(compare(oracle.profiles(), line_of(oracle, NOW_MS + 6_000), NOW_MS, NOW_MS)) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: lines.pop(),
        lambda lines: lines.append(lines[0]),
        lambda lines: lines[0]["identifiers"].pop(),
        lambda lines: lines[0]["counters"].update(page_viewed=99),
        lambda lines: lines[0]["memberships"].update({B: {}}),
        lambda lines: lines[0]["traits"].update(city="Roma"),
        lambda lines: lines[0].update(first_seen=1),
        lambda lines: lines[0].update(last_seen=1),
    ],
)
def test_whatever_is_wrong_in_a_dump_is_found(spoil: Any) -> None:
    oracle = oracle_of(*HISTORY)
    lines = sorted(line_of(oracle, NOW_MS), key=lambda line: -len(line["identifiers"]))
    spoil(lines)
    assert compare(oracle.profiles(), lines, NOW_MS, NOW_MS)


def test_entries_less_exits_must_be_those_who_are_inside() -> None:
    profiles = oracle_of(*HISTORY).profiles()
    assert compare_changes(profiles, {A: 1, B: 0, C: 1}, NOW_MS, NOW_MS) == []
    assert compare_changes(profiles, {A: 0, B: 0, C: 1}, NOW_MS, NOW_MS + 6_000) == []
    assert len(compare_changes(profiles, {A: 0, B: 1, C: 1}, NOW_MS, NOW_MS)) == 2


def test_kafka_streams_does_not_merge_and_counts_whole_hours() -> None:
    oracle = StreamsOracle()
    for record in (
        touch("1", "crm_updated", NOW_MS, "user_id:u1", "email:ana@example.com", traits={"city": "Madrid"}),
        runner("2", NOW_MS - 167 * HOUR_MS),
        runner("3", NOW_MS - 1, "anonymous_id:a1"),
        touch("4", "page_viewed", NOW_MS, "anonymous_id:a1", "user_id:u2"),
        touch("4", "page_viewed", NOW_MS, "anonymous_id:a1", "user_id:u2"),
        touch("5", "page_viewed", NOW_MS, "anonymous_id:null"),
    ):
        oracle.add(record)
    assert oracle.members() == {"A": 1, "C": 1}
    assert (oracle.duplicates, oracle.rejected) == (1, 1)
    oracle.add(touch("6", "page_viewed", NOW_MS + HOUR_MS, "user_id:u1"))
    assert oracle.members() == {"C": 1}
