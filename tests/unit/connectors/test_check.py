"""The truth check passes a perfect state and names each way in which a state can be wrong."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.demo.check import Verdict, compare
from connectors.demo.ledger import Ledger
from connectors.shop import Shop
from tests.unit.connectors.fake_state import perfect_state

START_MS = 1_790_000_000_000
END_MS = START_MS + 20_000


@pytest.fixture(scope="module")
def shop() -> Shop:
    shop = Shop(1, START_MS)
    list(shop.until(END_MS))
    return shop


@pytest.fixture
def state(shop: Shop) -> list[dict[str, Any]]:
    return perfect_state(shop, END_MS)


def verdict_of(shop: Shop, state: list[dict[str, Any]], to_ms: int = END_MS) -> Verdict:
    return compare(shop.truth, state, shop.truth.rejected, from_ms=END_MS, to_ms=to_ms)


def test_a_perfect_state_passes(shop: Shop, state: list[dict[str, Any]]) -> None:
    verdict = verdict_of(shop, state)
    assert verdict.passed
    assert not verdict.undecided
    assert all(row.same and row.expected == row.actual for row in verdict.rows)


def test_a_membership_that_ends_while_the_state_is_read_is_not_held_against_it(
    shop: Shop, state: list[dict[str, Any]]
) -> None:
    verdict = verdict_of(shop, state, to_ms=END_MS + 15_000)
    assert verdict.passed
    assert {segment for _, segment in verdict.undecided} >= {"shopping-now"}
    assert not compare(
        shop.truth, state, shop.truth.rejected, from_ms=END_MS + 15_000, to_ms=END_MS + 15_000
    ).passed


def test_a_person_in_two_profiles_is_named(shop: Shop, state: list[dict[str, Any]]) -> None:
    whole = max(state, key=lambda profile: len(profile["identifiers"]))
    moved = whole["identifiers"].pop()
    state.append({**whole, "profile_id": "new", "identifiers": [moved], "counters": {}, "memberships": {}})
    lines = verdict_of(shop, state).differences
    assert any(line.startswith("one person is 2 profiles") and "new" in line for line in lines)


def test_two_people_in_one_profile_are_named(shop: Shop, state: list[dict[str, Any]]) -> None:
    state[0]["identifiers"] += state.pop(1)["identifiers"]
    assert "holds 2 people" in verdict_of(shop, state).differences[0]


def test_wrong_counts_traits_members_identifiers_and_rejections_are_named(
    shop: Shop, state: list[dict[str, Any]]
) -> None:
    seen = next(profile for profile in state if "product_viewed" in profile["counters"])
    seen["counters"]["product_viewed"] += 1
    named = next(profile for profile in state if "city" in profile["traits"])
    named["traits"]["city"] = "Atlantis"
    buyer = next(profile for profile in state if "recent-buyer" in profile["memberships"])
    del buyer["memberships"]["recent-buyer"]
    state[-1]["identifiers"].append({"type": "email", "value": "ghost@example.com"})
    verdict = compare(shop.truth, state, {"malformed_json": 999}, from_ms=END_MS, to_ms=END_MS)
    text = "\n".join(verdict.differences)
    assert "1 identifiers should not be there: email:ghost@example.com" in text
    assert "product_viewed expected" in text
    assert "trait city expected" in text
    assert "found 'Atlantis'" in text
    assert "segment recent-buyer" in text
    assert "should be inside" in text
    assert "rejected: malformed_json: expected" in text
    wrong = {row.name for row in verdict.rows if not row.same}
    assert wrong >= {"identifiers", "touchpoints counted", "traits and consents", "members: recent-buyer"}


def change(pid: str, kind: str, sequence: int, decided_at: int = 1) -> dict[str, Any]:
    return {
        "profile_id": pid,
        "segment_id": "vip",
        "change": kind,
        "sequence": sequence,
        "decided_at": decided_at,
    }


def test_the_ledger_follows_a_stream_without_faults() -> None:
    ledger, verdict = Ledger(), Verdict()
    for record in (change("a", "entered", 1), change("a", "exited", 2), change("b", "entered", 1)):
        ledger.change(record)
    ledger.alias({"old_profile_id": "a", "decided_at": 5})
    ledger.check(verdict, [{"profile_id": "b", "memberships": {"vip": {}}}])
    assert verdict.passed
    assert ledger.inside["vip"] == 1


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([change("a", "entered", 2)], "sequence 2 came after 0"),
        ([change("a", "entered", 1), change("a", "entered", 2)], "entered twice in a row"),
        ([change("a", "entered", 1, decided_at=9), change("a", "exited", 2)], "entered after it was merged"),
        ([change("b", "entered", 1)], "profile b is inside in the stream only"),
    ],
)
def test_the_ledger_names_what_must_not_happen(records: list[dict[str, Any]], said: str) -> None:
    ledger, verdict = Ledger(), Verdict()
    for record in records:
        ledger.change(record)
    ledger.alias({"old_profile_id": "a", "decided_at": 5})
    ledger.check(verdict, [])
    assert any(said in line for line in verdict.differences)
