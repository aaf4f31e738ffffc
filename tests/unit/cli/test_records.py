"""What `elo tail` prints for each kind of record."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

import orjson
import pytest
from rich.text import Text

from pipeline.cli.options import console
from pipeline.cli.profile import _tree
from pipeline.cli.records import FORMS
from pipeline.core.errors import InvariantViolation
from pipeline.wire.avro import encode_record

ANA = {"type": "email", "value": "ana@example.com"}
CHANGE = {
    "change_id": "c1", "profile_id": "p1", "segment_id": "in-madrid", "segment_version": 2,
    "change": "entered", "sequence": 3, "occurred_at": 1_760_000_000_123, "decided_at": 1_760_000_000_200,
    "cause": "event", "event_ids": ["e1"], "backfill": False, "identifiers": [ANA],
}  # fmt: skip
PROFILE = {
    "profile_id": "p1", "identifiers": [ANA], "traits": '{"city":"Madrid"}', "counters": {"page_viewed": 3},
    "consent": {"marketing": True}, "memberships": {"in-madrid": {"sequence": 3, "since": 1_760_000_000_123}},
    "aliases": ["p0"], "first_seen": 1, "last_seen": 2, "updated_at": 3, "policy_version": 1,
}  # fmt: skip
REVIEW = {
    "review_id": "r1", "kind": "pair", "component": "email:ana@example.com", "profile_ids": ["p1", "p2"],
    "identifiers": [ANA, {"type": "device_id", "value": "d1"}], "score": 7.561, "evidence": '{"model":"m"}',
    "decided_at": 1_760_000_000_123, "policy_version": 2,
}  # fmt: skip
NASTY: Final = "[b]x[/] :smile: \x1b[31m\\"
NASTY_SHOWN: Final = "[b]x[/] :smile: \ufffd[31m\\"
ALIAS = {"old_profile_id": "p0", "profile_id": "p1", "decided_at": 5, "cause": "merge", "edge": None}


class Record:
    """As much of a message of Kafka as the printing looks at."""

    def __init__(
        self, value: bytes | None, key: bytes = b"p1", headers: list[tuple[str, bytes]] | None = None
    ) -> None:
        self._value, self._key, self._headers = value, key, headers

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes:
        return self._key

    def headers(self) -> list[tuple[str, bytes]] | None:
        return self._headers

    def topic(self) -> str:
        return "some.topic"

    def partition(self) -> int:
        return 2

    def offset(self) -> int:
        return 7


def shown(stream: str, record: Record) -> tuple[dict[str, Any], str]:
    """The JSON document and the line for people, without colours."""
    to_json, to_line = FORMS[stream]
    document = to_json(record)  # type: ignore[arg-type]
    orjson.dumps(document)
    return document, Text.from_markup(to_line(document)).plain


@pytest.mark.parametrize(
    ("stream", "kind", "record"),
    [
        ("membership", "membership_change", {**CHANGE, "identifiers": [{"type": "email", "value": NASTY}]}),
        ("profiles", "profile", {**PROFILE, "traits": orjson.dumps({"name": NASTY}).decode()}),
        ("merges", "profile_alias", {**ALIAS, "edge": NASTY}),
    ],
)
def test_what_others_have_written_is_no_markup_and_no_control_of_the_terminal(
    stream: str, kind: str, record: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    to_json, to_line = FORMS[stream]
    found = to_json(Record(encode_record(kind, record)))  # type: ignore[arg-type]
    console().print(to_line(found))
    if kind == "profile":
        console().print(_tree(found))
    assert capsys.readouterr().out.count(NASTY_SHOWN) == (2 if kind == "profile" else 1)


def test_a_membership_change_has_the_fields_of_its_schema() -> None:
    document, line = shown("membership", Record(encode_record("membership_change", CHANGE)))
    assert document == CHANGE
    assert line == "2025-10-09 08:53:20.123 entered in-madrid p1 #3 event email:ana@example.com"


def test_a_tombstone_on_current_names_profile_and_segment() -> None:
    document, line = shown("current", Record(None, b"p1|in-madrid"))
    assert document == {"profile_id": "p1", "segment_id": "in-madrid", "tombstone": True}
    assert line.split() == ["out", "in-madrid", "p1"]


def test_a_profile_has_its_traits_as_an_object() -> None:
    document, line = shown("profiles", Record(encode_record("profile", PROFILE)))
    assert document == {**PROFILE, "traits": {"city": "Madrid"}}
    assert "email:ana@example.com city=Madrid 3 events in in-madrid" in line


def test_a_tombstone_of_a_profile_is_marked() -> None:
    assert shown("profiles", Record(None))[0] == {"profile_id": "p1", "tombstone": True}


def test_an_alias_has_the_fields_of_its_schema() -> None:
    document, line = shown("merges", Record(encode_record("profile_alias", ALIAS)))
    assert document == ALIAS
    assert "p0 → p1 merge" in line


def test_a_finding_for_a_steward_has_its_evidence_as_an_object() -> None:
    document, line = shown("review", Record(encode_record("review", REVIEW)))
    assert document == {**REVIEW, "evidence": {"model": "m"}}
    assert line == "2025-10-09 08:53:20.123 pair weight +7.56 email:ana@example.com, device_id:d1"


def test_a_finding_about_one_component_has_no_weight() -> None:
    line = shown("review", Record(encode_record("review", {**REVIEW, "kind": "oversized", "score": None})))[1]
    assert "oversized email:ana@example.com" in line


def test_a_rejected_touchpoint_shows_reason_origin_and_its_bytes() -> None:
    headers = [
        ("elo.reason", b"missing_field"), ("elo.field", b"event_id"), ("elo.detail", b"[b]is missing[/b]"),
        ("elo.topic", b"touchpoints.web"), ("elo.partition", b"3"), ("elo.offset", b"12"), ("other", b"x"),
    ]  # fmt: skip
    document, line = shown("rejected", Record(b"\xff{}", headers=headers))
    assert document == {
        "reason": "missing_field", "field": "event_id", "detail": "[b]is missing[/b]",
        "topic": "touchpoints.web", "partition": 3, "offset": 12,
        "value_base64": b64encode(b"\xff{}").decode(),
    }  # fmt: skip
    assert line == "missing_field event_id [b]is missing[/b] touchpoints.web[3] offset 12"


def test_a_rejected_null_value_has_no_bytes() -> None:
    assert shown("rejected", Record(None, headers=[]))[0]["value_base64"] is None


def test_what_nobody_can_read_is_named_with_its_place() -> None:
    with pytest.raises(InvariantViolation, match=r"some\.topic\[2\] offset 7 cannot be read"):
        shown("membership", Record(b"\x09broken"))
