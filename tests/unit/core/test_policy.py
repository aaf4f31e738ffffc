"""The identity policy: what it says when it is read. What is refused: test_policy_refusals.py."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pipeline.core.policy import OnConflict, Policy, Survivorship, Unique, parse_policy, read_policy
from tests.support.touchpoints import DEFAULTS, shipped_policy

SMALL: dict[str, Any] = {"identifiers": {"user_id": {"limit": 1}}}


def test_what_is_not_written_has_the_documented_default() -> None:
    policy = parse_policy({"identifiers": {"user_id": None}})
    rule = policy.rules["user_id"]
    assert (rule.rank, rule.limit, rule.normalise, rule.on_conflict, rule.shared_after) == (
        0, 1, "text", OnConflict.KEEP, None,
    )  # fmt: skip
    assert (policy.version, policy.default_region, policy.component_identifiers_max) == (1, "BR", 1000)
    assert (policy.history_ms, policy.anonymous_retention_ms, policy.link_wait_ms) == (
        30 * 86_400_000, 90 * 86_400_000, 10_000,
    )  # fmt: skip
    assert (policy.blocked_values, policy.blocked_patterns, policy.traits) == (frozenset(), (), {})
    assert (rule.within_ms, rule.unique, policy.apart_traits, policy.namespaces) == (None, None, (), {})


def test_the_shipped_policy_is_that_of_the_contract() -> None:
    policy = shipped_policy()
    assert [(rule.type, rule.limit, rule.normalise, rule.shared_after) for rule in policy.rules.values()] == [
        ("user_id", 1, "text", None), ("cpf", 1, "cpf", None), ("nis", 1, "nis", None),
        ("email", 5, "email", 5), ("phone", 5, "phone", 5), ("device_id", 20, "text", 10),
        ("anonymous_id", 100, "text", None),
    ]  # fmt: skip
    assert {rule.on_conflict for rule in policy.rules.values()} == {OnConflict.KEEP}
    assert policy.strong_types == {"user_id", "cpf", "nis"}
    assert (policy.sliding_types, policy.unique_types, policy.timed_types) == (frozenset(),) * 3
    assert (policy.apart_traits, policy.namespaces, policy.traits) == ((), {}, {})


def test_traits_have_the_survivorship_that_is_written() -> None:
    policy = parse_policy(SMALL | {"traits": {"city": "first", "likes": "union"}})
    assert policy.traits == {"city": Survivorship.FIRST, "likes": Survivorship.UNION}


@pytest.fixture(scope="module")
def blocking() -> Policy:
    return parse_policy(
        SMALL | {"blocked": {"values": ["Null", " x ", 0], "patterns": ["^test-", "[0-9]{9}$"]}}
    )


@pytest.mark.parametrize(
    ("value", "blocked"),
    [("null", True), (" NULL ", True), ("x", True), ("0", True), ("test-1", True), ("TEST-1", True),
     ("a123456789", True), ("a test-1", False), ("nullable", False), ("", False), ("10", False)],
)  # fmt: skip
def test_values_are_blocked_trimmed_and_without_case(blocking: Policy, value: str, blocked: bool) -> None:
    assert blocking.is_blocked(value) is blocked


def test_the_total_order_is_rank_then_text() -> None:
    policy = shipped_policy()
    identifiers = ["anonymous_id:a", "email:b", "user_id:z", "email:a", "cpf:1"]
    assert sorted(identifiers, key=policy.order_of) == [
        "user_id:z",
        "cpf:1",
        "email:a",
        "email:b",
        "anonymous_id:a",
    ]
    assert policy.ordered("email:b", "email:a") == ("email:a", "email:b")
    assert policy.rule_of("phone:+55:11").type == "phone"
    with pytest.raises(KeyError):
        policy.rule_of("fax:1")


def test_a_sliding_limit_and_a_unique_type_are_read_and_a_sliding_limit_of_one_is_not_strong() -> None:
    policy = read_policy("""
identifiers:
  user_id: {limit: 1}
  phone: {limit: {count: 1, within: 90d}}
  device_id: {limit: 9, unique: oldest}
""")
    phone, device = policy.rules["phone"], policy.rules["device_id"]
    assert (phone.limit, phone.within_ms, phone.unique) == (1, 90 * 86_400_000, None)
    assert (device.limit, device.within_ms, device.unique) == (9, None, Unique.OLDEST)
    assert policy.strong_types == {"user_id"}
    assert policy.timed_types == {"phone", "device_id"}


def test_a_text_and_its_parsed_form_give_the_same_policy() -> None:
    text = DEFAULTS.read_text("utf-8")
    assert read_policy(text) == parse_policy(yaml.safe_load(text)) == shipped_policy()
