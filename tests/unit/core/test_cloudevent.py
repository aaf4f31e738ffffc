"""CloudEvents in both modes become touchpoints; what is none is left alone."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from pipeline.core.cloudevent import touchpoint_of

DATA: Final = {"identifiers": [{"type": "email", "value": "a@b.c"}], "properties": {"total": 3}}
ENVELOPE: Final = {
    "specversion": "1.0", "id": "7", "source": "/shop", "type": "com.acme.OrderCompleted.v1",
    "time": "2026-11-23T01:14:55Z",
}  # fmt: skip
TOUCHPOINT: Final = {
    **DATA, "event_id": "/shop#7", "source": "crm", "type": "order_completed",
    "occurred_at": 1_795_396_495_000,
}  # fmt: skip


def structured(**changes: Any) -> dict[str, Any] | None:
    return touchpoint_of(json.dumps({**ENVELOPE, "data": DATA, **changes}).encode(), (), "crm")


def binary(**changes: Any) -> dict[str, Any] | None:
    envelope = {**ENVELOPE, **changes}
    headers = [(f"ce_{name}", text.encode()) for name, text in envelope.items() if text is not None]
    return touchpoint_of(json.dumps(DATA).encode(), [("content-type", b"application/json"), *headers], "crm")


def test_both_modes_say_the_same() -> None:
    assert structured() == binary() == TOUCHPOINT


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        ("order.completed", "completed"),
        ("Order Completed", "order_completed"),
        ("v1", "v1"),
        ("a.v2x", "v2x"),
    ],
)
def test_the_type_is_the_last_part(type_: str, expected: str) -> None:
    found = structured(type=type_)
    assert found is not None
    assert found["type"] == expected


def test_the_trace_of_the_envelope_is_that_of_the_touchpoint_unless_it_names_one() -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert structured(traceparent=parent) == binary(traceparent=parent)
    assert structured(traceparent=parent) == {**TOUCHPOINT, "context": {"traceparent": parent}}
    own = {**DATA, "context": {"traceparent": "own", "page": "/"}}
    assert (structured(traceparent=parent, data=own) or {})["context"] == own["context"]
    assert (structured(traceparent=parent, data={**DATA, "context": "page"}) or {})["context"] == "page"


def test_what_is_missing_is_left_for_the_judge_to_name() -> None:
    found = binary(time=None, id=None)
    assert found is not None
    assert "event_id" not in found
    assert "occurred_at" not in found
    assert len((structured(id="x" * 300) or {})["event_id"]) == 64


def test_what_is_no_cloudevent_is_left_alone() -> None:
    assert binary(specversion=None) is None
    assert touchpoint_of(b"{broken", (), "crm") is None
    assert touchpoint_of(b"{}", (), "crm") is None
    assert structured(data="text") is None


RECORDED = (
    (
        b'{"identifiers": [{"type": "user_id", "value": "u1"}]}',
        [
            ("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/crm"),
            ("ce_type", b"com.acme.ContactCreated.v1"), ("ce_time", b"2026-11-23T01:00:00Z"),
            ("content-type", b"application/json"), ("ce_partitionkey", b"u1"),
        ],
    ),
    (
        (b'{"specversion": "1.0", "id": "1", "source": "/crm", "type": "com.acme.ContactCreated.v1", '
         b'"time": "2026-11-23T01:00:00Z", "datacontenttype": "application/json", "partitionkey": "u1", '
         b'"data": {"identifiers": [{"type": "user_id", "value": "u1"}]}}'),
        [("content-type", b"application/cloudevents+json")],
    ),
)  # fmt: skip
"""What the package `cloudevents` 2.2.0 makes of one event, in binary and in structured mode."""


@pytest.mark.parametrize(("value", "headers"), RECORDED, ids=["binary", "structured"])
def test_what_the_library_of_cloudevents_writes_is_read(
    value: bytes, headers: list[tuple[str, bytes | str | None]]
) -> None:
    assert touchpoint_of(value, headers, "crm") == {
        "source": "crm", "identifiers": [{"type": "user_id", "value": "u1"}], "event_id": "/crm#1",
        "type": "contact_created", "occurred_at": 1_795_395_600_000,
    }  # fmt: skip
