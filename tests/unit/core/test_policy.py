"""The identity policy: what it says when it is read, and the sentence for everything that is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.policy import OnConflict, Policy, Survivorship, parse_policy
from tests.support.touchpoints import shipped_policy

A_TYPE = "an identifier type is lower-case letters, digits and _, for example loyalty_card"
SMALL: dict[str, Any] = {"identifiers": {"user_id": {"limit": 1}}}


def with_type(**body: Any) -> dict[str, Any]:
    return {"identifiers": {"user_id": body}}


REFUSALS: list[tuple[object, str]] = [
    (None, "identity policy: write a mapping of settings, not NoneType"),
    ([], "identity policy: write a mapping of settings, not list"),
    ({}, "identifiers: write a mapping of settings, not NoneType"),
    ({"identifiers": {}}, "identifiers: name at least one identifier type, strongest first"),
    ({"identifiers": ["user_id"]}, "identifiers: write a mapping of settings, not list"),
    ({"identifiers": {"User": {}}}, f"identifiers.User: {A_TYPE}"),
    ({"identifiers": {1: {}}}, f"identifiers.1: {A_TYPE}"),
    ({"identifiers": {"user_id": 5}}, "identifiers.user_id: write a mapping of settings, not int"),
    (with_type(limit=0), "identifiers.user_id.limit: write a whole number of at least 1"),
    (with_type(limit=True), "identifiers.user_id.limit: write a whole number of at least 1"),
    (with_type(limit="5"), "identifiers.user_id.limit: write a whole number of at least 1"),
    (with_type(limit={"count": 3, "within": "90d"}),
     "identifiers.user_id.limit: a sliding limit is not supported by this version, write a number"),
    (with_type(unique="newest"), "identifiers.user_id.unique is not supported by this version, remove it"),
    (with_type(shared_after=0), "identifiers.user_id.shared_after: write a whole number of at least 1"),
    (with_type(shared_after=None), "identifiers.user_id.shared_after: write a whole number of at least 1"),
    (with_type(normalise="emial"),
     "identifiers.user_id.normalise: 'emial' is not known, did you mean email?"),
    (with_type(normalise=7), "identifiers.user_id.normalise: write a text"),
    (with_type(on_conflict="stay"),
     "identifiers.user_id.on_conflict: 'stay' is not known, write one of keep, move"),
    (with_type(limits=1), "identifiers.user_id.limits: 'limits' is not known, did you mean limit?"),
    (SMALL | {"version": 0}, "version: write a whole number of at least 1"),
    (SMALL | {"default_region": "br"},
     "default_region: write a two-letter country code in capitals, for example BR"),
    (SMALL | {"default_region": 55}, "default_region: write a text"),
    (SMALL | {"history": "30 days"},
     "history: '30 days' is not a duration, write for example 90s, 15m, 24h or 7d"),
    (SMALL | {"link_wait": 250}, "link_wait: '250' is not a duration, write for example 90s, 15m, 24h or 7d"),
    (SMALL | {"anonymous_retention": "0d"},
     "anonymous_retention: '0d' is not a duration, write for example 90s, 15m, 24h or 7d"),
    (SMALL | {"component_identifiers_max": 1},
     "component_identifiers_max: write a whole number of at least 2"),
    (SMALL | {"blocked": ["null"]}, "blocked: write a mapping of settings, not list"),
    (SMALL | {"blocked": {"values": "null"}}, "blocked.values: write a list"),
    (SMALL | {"blocked": {"pattern": []}}, "blocked.pattern: 'pattern' is not known, did you mean patterns?"),
    (SMALL | {"blocked": {"patterns": ["("]}},
     "blocked.patterns: '(' is not a regular expression (missing ), unterminated subpattern at position 0)"),
    (SMALL | {"traits": {"city": "latest"}},
     "traits.city: 'latest' is not known, write one of newest, first, most_frequent, union"),
    (SMALL | {"traits": ["city"]}, "traits: write a mapping of settings, not list"),
    (SMALL | {"identifier": {}}, "identifier: 'identifier' is not known, did you mean identifiers?"),
    (SMALL | {"zzz": 1}, "zzz: 'zzz' is not known, write one of"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "sentence"), REFUSALS, ids=[sentence for _, sentence in REFUSALS])
def test_each_mistake_is_refused_with_one_sentence_that_says_what_to_write(
    document: object, sentence: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_policy(document)
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


def test_what_is_not_written_has_the_documented_default() -> None:
    policy = parse_policy({"identifiers": {"user_id": None}})
    rule = policy.rules["user_id"]
    assert (rule.rank, rule.limit, rule.normalise, rule.on_conflict, rule.shared_after) == (
        0, 1, "text", OnConflict.KEEP, None,
    )  # fmt: skip
    assert (policy.version, policy.default_region, policy.component_identifiers_max) == (1, "BR", 1000)
    assert (policy.history_ms, policy.anonymous_retention_ms, policy.link_wait_ms) == (
        30 * 86_400_000, 90 * 86_400_000, 250,
    )  # fmt: skip
    assert (policy.blocked_values, policy.blocked_patterns, policy.traits) == (frozenset(), (), {})


def test_the_shipped_policy_is_that_of_the_contract() -> None:
    policy = shipped_policy()
    assert [(rule.type, rule.limit, rule.normalise, rule.shared_after) for rule in policy.rules.values()] == [
        ("user_id", 1, "text", None), ("cpf", 1, "cpf", None), ("nis", 1, "nis", None),
        ("email", 5, "email", 5), ("phone", 5, "phone", 5), ("device_id", 20, "text", 10),
        ("anonymous_id", 100, "text", None),
    ]  # fmt: skip
    assert {rule.on_conflict for rule in policy.rules.values()} == {OnConflict.KEEP}


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
