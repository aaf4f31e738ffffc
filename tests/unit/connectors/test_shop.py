"""The shop plays the same under a seed, and its truth is what an independent recomputation finds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from connectors.shop import SEGMENTS, Emission, Shop
from tests.unit.connectors.naive import Naive, normalise

START_MS = 1_790_000_000_000
MINUTE_MS = 60_000


def play(seed: int, seconds: int = 20, rate: float = 200.0) -> tuple[Shop, list[Emission]]:
    shop = Shop(seed, START_MS, rate)
    return shop, list(shop.until(START_MS + 1_000 * seconds))


def accepted(emissions: list[Emission]) -> list[dict[str, Any]]:
    return [one.value for one in emissions if not one.reason and isinstance(one.value, dict)]


def test_equal_seeds_play_equal_shops_however_time_is_sliced() -> None:
    _, whole = play(3, seconds=10)
    sliced = Shop(3, START_MS)
    pieces = [one for step in range(0, 10_001, 7) for one in sliced.until(START_MS + step)]
    pieces += list(sliced.until(START_MS + 10_000))
    assert pieces == whole
    assert play(4, seconds=10)[1] != whole


@pytest.mark.parametrize("seed", range(5))
def test_truth_equals_a_naive_union_find_over_the_raw_touchpoints(seed: int) -> None:
    shop, emissions = play(seed)
    naive = Naive(accepted(emissions))
    groups, counters = naive.groups(), naive.counters()
    traits = naive.newest("traits")
    expected = {frozenset(group.identifiers): group for group in shop.truth.groups()}
    assert set(expected) == set(groups.values())
    for root, members in groups.items():
        group = expected[members]
        assert group.counters() == counters[root]
        assert {name: value for name, (_, value) in group.traits.items()} == traits[root]
        for purpose, words in group.words.items():
            if len({yes for _, yes, _ in words}) == 1:
                assert group.granted(purpose) == next(iter(words))[1]


@pytest.mark.parametrize("seed", range(2))
def test_truth_counts_each_touchpoint_once_and_each_rejection(seed: int) -> None:
    shop, emissions = play(seed)
    ids = [one["event_id"] for one in accepted(emissions)]
    assert shop.truth.accepted == len(set(ids))
    assert shop.truth.resent == len(ids) - len(set(ids)) > 0
    assert shop.truth.rejected == Counter(one.reason for one in emissions if one.reason)
    assert sum(sum(group.counters().values()) for group in shop.truth.groups()) == shop.truth.accepted


@pytest.mark.parametrize("seed", range(3))
def test_no_group_holds_two_people_or_comes_near_a_limit(seed: int) -> None:
    shop, _ = play(seed, seconds=120)
    for group in shop.truth.groups():
        assert len(group.people) == 1
        kinds = Counter(identifier.partition(":")[0] for identifier in group.identifiers)
        assert max(kinds["user_id"], kinds["cpf"], kinds["nis"]) <= 1
        assert max(kinds["email"], kinds["phone"]) <= 2
        assert kinds["device_id"] <= 8
        assert kinds["anonymous_id"] <= 15


def test_nothing_happens_in_the_future_and_two_touchpoints_of_a_person_never_share_an_instant() -> None:
    shop, emissions = play(5, seconds=60)
    assert [one.due_ms for one in emissions] == sorted(one.due_ms for one in emissions)
    for one in emissions:
        if not one.reason and isinstance(one.value, dict):
            assert one.value["occurred_at"] <= one.due_ms
    for group in shop.truth.groups():
        instants = [t for t, _, _ in group.events]
        assert len(instants) == len(set(instants))


@pytest.mark.parametrize("rate", [20.0, 200.0, 1_000.0])
def test_the_rate_is_kept_from_the_first_second(rate: float) -> None:
    _, emissions = play(1, seconds=20, rate=rate)
    assert len(emissions) == pytest.approx(20 * rate, rel=0.2)
    first = [one for one in emissions if one.due_ms < START_MS + 5_000]
    assert len(first) == pytest.approx(5 * rate, rel=0.35)


def test_the_shop_shows_every_kind_of_trouble() -> None:
    shop, emissions = play(2, seconds=120)
    good = accepted(emissions)
    assert {one.source for one in emissions} == {"web", "app", "crm", "email"}
    assert set(shop.truth.rejected) == {
        "malformed_json",
        "malformed_avro",
        "unknown_schema",
        "missing_field",
        "invalid_field",
        "future_event",
        "no_usable_identifier",
        "conflicting_identifiers",
        "too_large",
    }
    late = sum(one.due_ms - one.value["occurred_at"] > MINUTE_MS for one in emissions
               if isinstance(one.value, dict) and not one.reason)  # fmt: skip
    assert late > 100
    messy = [(i["type"], i["value"]) for one in good for i in one["identifiers"]
             if normalise(i["type"], i["value"]) not in (None, i["value"])]  # fmt: skip
    assert {kind for kind, _ in messy} >= {"email", "phone", "cpf", "user_id"}
    assert any(normalise(i["type"], i["value"]) is None for one in good for i in one["identifiers"])
    assert shop.truth.merges > 100
    assert len(shop.truth.groups()) > len(shop.people)


def test_every_segment_gains_and_loses_members() -> None:
    shop = Shop(2, START_MS)
    gained: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    before: dict[str, set[int]] = {segment: set() for segment in SEGMENTS}
    for step in range(0, 90_000, 5_000):
        now_ms = START_MS + step
        list(shop.until(now_ms))
        for segment in SEGMENTS:
            inside = {person for group in shop.truth.members(segment, now_ms) for person in group.people}
            gained[segment] += len(inside - before[segment])
            lost[segment] += len(before[segment] - inside)
            before[segment] = inside
    assert all(gained[segment] > 3 for segment in SEGMENTS), gained
    assert sum(lost[segment] > 0 for segment in SEGMENTS) >= 6, lost


def test_settled_says_nothing_about_a_membership_that_changes_in_between() -> None:
    shop, _ = play(1, seconds=10)
    end_ms = START_MS + 10_000
    group = next(group for group in shop.truth.members("shopping-now", end_ms))
    assert shop.truth.settled(group, "shopping-now", end_ms, end_ms) is True
    assert shop.truth.settled(group, "shopping-now", end_ms, end_ms + 20_000) is None
    assert shop.truth.settled(group, "shopping-now", end_ms + 20_000, end_ms + 30_000) is False


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="rate"):
        Shop(1, START_MS, rate=0)
