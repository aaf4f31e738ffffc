"""What of an identity policy may change while workers run: the rest is refused with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.policy import Policy, parse_policy
from pipeline.core.policy_change import OTHERWISE, PolicyChange, fault_of, notes_on

IDENTIFIERS: dict[str, Any] = {
    "user_id": {"limit": 1},
    "email": {"limit": 5, "normalise": "email", "shared_after": 5},
    "device_id": {"limit": 20},
}


def policy(version: int = 1, **changes: Any) -> Policy:
    identifiers = {name: dict(rule) for name, rule in IDENTIFIERS.items()}
    return parse_policy({"version": version, "identifiers": identifiers} | changes)


def with_rule(name: str, **rule: Any) -> dict[str, Any]:
    """All identifiers, one with another rule."""
    return IDENTIFIERS | {name: IDENTIFIERS.get(name, {}) | rule}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"identifiers": dict(reversed(IDENTIFIERS.items()))}, "identifiers.device_id has another rank"),
        ({"identifiers": {"ticket": {}} | IDENTIFIERS}, "identifiers.ticket is not below all types"),
        ({"identifiers": {"user_id": {}, "email": IDENTIFIERS["email"]}}, "identifiers.device_id is removed"),
        ({"identifiers": with_rule("email", normalise="text")}, "identifiers.email.normalise is email"),
        ({"identifiers": with_rule("email", limit=1)}, "identifiers.email.limit changes between 1"),
        ({"identifiers": with_rule("user_id", limit=2)}, "identifiers.user_id.limit changes between 1"),
        ({"identifiers": with_rule("user_id", limit={"count": 1, "within": "9d"})}, "user_id.limit changes"),
        ({"identifiers": IDENTIFIERS, "history": "60d"}, "history is 30d in force"),
        ({"identifiers": IDENTIFIERS, "default_region": "PT"}, "default_region is BR in force"),
        ({"identifiers": IDENTIFIERS, "namespaces": {"crm": ["user_id"]}}, "crm.user_id"),
        ({"identifiers": IDENTIFIERS, "namespaces": {"crm": ["device_id"]}}, "namespaces is another one"),
    ],
)
def test_what_names_and_routes_stored_things_may_not_change(changes: dict[str, Any], problem: str) -> None:
    fault = fault_of(policy(), policy(2, **changes))
    assert problem in fault
    assert fault.endswith(OTHERWISE)
    assert "\n" not in fault


@pytest.mark.parametrize("version", [1, 2])
def test_the_version_must_be_greater(version: int) -> None:
    assert fault_of(policy(2), policy(version)) == (
        f"version {version} is not greater than version 2, which is in force, write version: 3"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"identifiers": with_rule("email", limit=2, shared_after=3, unique="newest")},
        {"identifiers": with_rule("device_id", limit={"count": 3, "within": "90d"}, on_conflict="move")},
        {"identifiers": with_rule("ticket", limit=3)},
        {"cannot_link": {"traits": ["cpf"]}, "traits": {"city": "first"}, "blocked": {"values": ["x"]}},
        {"link_wait": "1s", "anonymous_retention": "7d", "component_identifiers_max": 50},
    ],
)
def test_rules_may_change(changes: dict[str, Any]) -> None:
    assert fault_of(policy(), policy(2, **changes)) == ""


def test_notes_say_what_is_not_made_good_for_what_is_kept() -> None:
    changed = policy(
        2, identifiers=with_rule("email", shared_after=9), traits={"city": "first"},
        blocked={"values": ["x"]}, component_identifiers_max=2_000,
    )  # fmt: skip
    notes = list(notes_on(policy(), changed))
    assert [note.split()[0] for note in notes] == ["email", "kept", "blocked", "components"]
    assert list(notes_on(policy(), policy(2, link_wait="1s"))) == []


@pytest.mark.parametrize(
    ("before", "after", "recounted"), [(5, 3, True), (None, 3, True), (3, 5, False), (3, None, False)]
)
def test_who_is_shared_is_counted_again_where_it_takes_fewer_people(
    before: int | None, after: int | None, recounted: bool
) -> None:
    old, new = (
        policy(version, identifiers=with_rule("device_id", **({} if n is None else {"shared_after": n})))
        for version, n in ((1, before), (2, after))
    )
    change = PolicyChange(old, new)
    assert change.recounted == ({"device_id"} if recounted else set())
    assert change.kept_shared == (set() if recounted else {"device_id"})
    assert change.tells_partners == (before is None)
    people = ["device_id:d", *(f"user_id:{number}" for number in range(4))]
    assert change.may_share(people) == recounted
    assert not change.may_share(people[:4])
