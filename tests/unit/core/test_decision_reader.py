"""What a decision of a steward must be, and what becomes of a source's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.core.contact import Contacts
from pipeline.core.decision_reader import DecisionReader, Told
from pipeline.core.decisions import Action, Decision, decision_in
from pipeline.core.errors import Rejection
from pipeline.core.policy import Policy, read_policy
from pipeline.core.touch import EVENT_HASH, Touch, encode_marked, encode_touch
from tests.support.touchpoints import NOW_MS, as_json, identified, reader_of, shipped_policy

GOOD: dict[str, Any] = {
    "decision_id": "d1", "action": "merge", "by": " maria ", "reason": "one person",
    "identifiers": identified(("email", " ANA@Example.com "), ("user_id", "7")),
}  # fmt: skip
ABSENT = object()


def read(key: bytes | None = None, **changes: object) -> Told | Rejection:
    document = {name: part for name, part in (GOOD | changes).items() if part is not ABSENT}
    return DecisionReader(shipped_policy()).read(key, json.dumps(document).encode(), NOW_MS - 5, NOW_MS)


def test_identifiers_are_normalised_and_the_strongest_comes_first() -> None:
    told = read()
    assert isinstance(told, Told)
    expected = Decision("decision:d1", Action.MERGE, NOW_MS - 5, "", ("user_id:7", "email:ana@example.com"),
                        (), "maria", "one person")  # fmt: skip
    assert told.decision == expected
    (touch,) = told.touches()
    assert (touch.identifiers, touch.occurred_at) == (["user_id:7", "email:ana@example.com"], NOW_MS - 5)
    assert decision_in(touch) == expected


def test_its_instant_may_be_given() -> None:
    told = read(decided_at=12)
    assert isinstance(told, Told)
    assert told.decision.at_ms == 12


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"decision_id": ABSENT}, "missing_field", "decision_id"),
        ({"action": None}, "missing_field", "action"),
        ({"by": ABSENT}, "missing_field", "by"),
        ({"reason": ABSENT}, "missing_field", "reason"),
        ({"identifiers": ABSENT}, "missing_field", "identifiers"),
        ({"identifiers": []}, "missing_field", "identifiers"),
        ({"action": "delete"}, "invalid_field", "action"),
        ({"action": ["merge"]}, "invalid_field", "action"),
        ({"decision_id": ""}, "invalid_field", "decision_id"),
        ({"decision_id": "d" * 201}, "invalid_field", "decision_id"),
        ({"decision_id": 7}, "invalid_field", "decision_id"),
        ({"by": "  "}, "invalid_field", "by"),
        ({"reason": "a\nb"}, "invalid_field", "reason"),
        ({"identifiers": "user_id:7"}, "invalid_field", "identifiers"),
        ({"identifiers": [7]}, "invalid_field", "identifiers[0]"),
        ({"identifiers": [{"type": "user_id", "value": 7}]}, "invalid_field", "identifiers[0].value"),
        ({"identifiers": identified(("user_id", "7"), ("fax", "1"))}, "invalid_field", "identifiers[1].type"),
        ({"identifiers": identified(("user_id", "7"), ("user_id", "null"))}, "no_usable_identifier",
         "identifiers[1].value"),
        ({"identifiers": identified(("user_id", "7"), ("user_id", " 7"))}, "invalid_field", "identifiers"),
        ({"identifiers": identified(*(("user_id", str(n)) for n in range(51)))}, "invalid_field",
         "identifiers"),
        ({"decided_at": "now"}, "invalid_field", "decided_at"),
        ({"decided_at": True}, "invalid_field", "decided_at"),
        ({"decided_at": NOW_MS + 300_001}, "future_event", "decided_at"),
        ({"action": "undo", "identifiers": ABSENT}, "missing_field", "identifiers"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(changes: dict[str, object], reason: str, field: str) -> None:
    told = read(**changes)
    assert isinstance(told, Rejection)
    assert (told.reason, told.field) == (reason, field)
    assert told.detail


@pytest.mark.parametrize(
    ("value", "reason"),
    [(None, "malformed_json"), (b"[]", "malformed_json"), (b"{", "malformed_json"),
     (b"\x00", "malformed_json"), (b'{"a": "' + b"x" * 262_144 + b'"}', "too_large")],
)  # fmt: skip
def test_a_value_that_is_no_decision(value: bytes | None, reason: str) -> None:
    told = DecisionReader(shipped_policy()).read(b"user_id:7", value, NOW_MS, NOW_MS)
    assert isinstance(told, Rejection)
    assert told.reason == reason


def test_an_undo_is_heard_by_whom_it_names_and_by_its_key() -> None:
    told = read(b"device_id:d", action="undo")
    assert isinstance(told, Told)
    assert [touch.identifiers for touch in told.touches()] == [
        ["user_id:7"], ["email:ana@example.com"], ["device_id:d"],
    ]  # fmt: skip
    assert {touch.event_id for touch in told.touches()} == {"undo:d1"}
    alone = read(b"EMAIL:x", action="undo", identifiers=ABSENT)
    assert isinstance(alone, Rejection)
    by_key = read(b"email: ANA@example.com", action="undo", identifiers=[])
    assert isinstance(by_key, Told)
    assert by_key.routes == ("email:ana@example.com",)


def test_a_touchpoint_cannot_repeat_a_decision() -> None:
    told = read()
    assert isinstance(told, Told)
    (touch,) = told.touches()
    assert encode_marked(touch)[EVENT_HASH] != encode_touch(touch)[EVENT_HASH]


# -- sources ------------------------------------------------------------------------------------------------


def contact(
    merged: object, *kept: tuple[str, str], kind: str = "contact_merged", policy: Policy | None = None
) -> Any:
    properties = {} if merged is ABSENT else {"merged": merged}
    value = as_json(type=kind, source="crm", identifiers=identified(*kept), properties=properties)
    policy = policy or shipped_policy()
    touch = reader_of(policy).read(value, NOW_MS)
    assert isinstance(touch, Touch), touch
    return Contacts(policy).decision_in(touch)


def test_a_merged_contact_is_a_decision_of_its_source() -> None:
    made = contact(identified(("user_id", "8"), ("email", "B@x.com")), ("user_id", "7"))
    assert made == Decision("source:crm:e-1", Action.MERGE, NOW_MS - 1_000, "crm",
                            ("user_id:7", "user_id:8", "email:b@x.com"))  # fmt: skip
    (touch,) = made.touches()
    assert decision_in(touch) == made


def test_a_parted_contact_says_who_stays() -> None:
    made = contact(identified(("user_id", "8")), ("user_id", "7"), kind="contact_split")
    assert (made.action, made.identifiers, made.kept) == (Action.PART, ("user_id:8",), ("user_id:7",))
    (touch,) = made.touches()
    assert (touch.identifiers, decision_in(touch)) == (["user_id:7"], made)


def test_of_several_values_of_a_strong_type_the_first_is_kept() -> None:
    both = identified(("user_id", "8"), ("user_id", "7"), ("email", "a@x.com"))
    value = as_json(type="contact_merged", source="crm", properties='{"merged": []}', identifiers=both)
    touch = reader_of(shipped_policy()).read(value, NOW_MS)
    assert isinstance(touch, Touch)
    assert touch.identifiers == ["user_id:8", "email:a@x.com"]
    made = Contacts(shipped_policy()).decision_in(touch)
    assert isinstance(made, Decision)
    assert made.identifiers == ("user_id:7", "user_id:8", "email:a@x.com")


def test_other_touchpoints_with_two_values_of_a_strong_type_are_still_rejected() -> None:
    value = as_json(type="contact_updated", identifiers=identified(("user_id", "8"), ("user_id", "7")))
    rejection = reader_of(shipped_policy()).read(value, NOW_MS)
    assert isinstance(rejection, Rejection)
    assert rejection.reason == "conflicting_identifiers"


@pytest.mark.parametrize(
    "merged", [ABSENT, [], identified(("user_id", "7")), identified(("user_id", "null"))]
)
def test_a_contact_with_nobody_else_is_an_ordinary_touchpoint(merged: object) -> None:
    assert contact(merged, ("user_id", "7")) is None


@pytest.mark.parametrize(
    ("merged", "field"),
    [("8", "properties.merged"), ([{"type": "user_id"}], "properties.merged[0]"),
     ([8], "properties.merged[0]"),
     (identified(*(("user_id", str(n)) for n in range(51))), "properties.merged")],
)  # fmt: skip
def test_a_list_of_merged_contacts_that_is_none(merged: object, field: str) -> None:
    made = contact(merged, ("user_id", "7"))
    assert isinstance(made, Rejection)
    assert (made.reason, made.field) == ("invalid_field", field)


def test_identifiers_are_those_of_the_namespace_of_the_source() -> None:
    policy = read_policy("identifiers: {user_id: {}, email: {limit: 2}}\nnamespaces: {crm: [user_id]}")
    made = contact(identified(("user_id", "8")), ("user_id", "7"), policy=policy)
    assert made.identifiers == ("crm.user_id:7", "crm.user_id:8")
