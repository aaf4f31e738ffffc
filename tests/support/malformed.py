"""Malformed touchpoints of every kind, each with the reason and the field that it must be rejected with.

Faults of a field are given as changes to the good touchpoint (tests/support/touchpoints.py), faults of the
value as a whole as bytes. `malformed` gives all of them as values for a topic.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from pipeline.core.errors import Reason
from pipeline.core.touchpoint import NESTING_MAX, TOUCHPOINT_BYTES_MAX

from .touchpoints import ABSENT, GOOD, NOW_MS, as_avro, as_json, identified, nested

Fault = tuple[dict[str, object], Reason, str]
"""Changes to the good touchpoint, reason, field."""

FAULTS: list[Fault] = [
    *(({name: ABSENT}, Reason.MISSING_FIELD, name) for name in ("event_id", "source", "type", "occurred_at")),
    *(({name: None}, Reason.MISSING_FIELD, name) for name in ("event_id", "source", "type", "occurred_at")),
    ({"identifiers": ABSENT}, Reason.MISSING_FIELD, "identifiers"),
    ({"identifiers": None}, Reason.MISSING_FIELD, "identifiers"),
    ({"event_id": 7}, Reason.INVALID_FIELD, "event_id"),
    ({"event_id": ["e-1"]}, Reason.INVALID_FIELD, "event_id"),
    ({"event_id": ""}, Reason.INVALID_FIELD, "event_id"),
    ({"event_id": "e" * 201}, Reason.INVALID_FIELD, "event_id"),
    ({"event_id": "e\x00"}, Reason.INVALID_FIELD, "event_id"),
    ({"event_id": "e\n1"}, Reason.INVALID_FIELD, "event_id"),
    ({"event_id": "é\x9f"}, Reason.INVALID_FIELD, "event_id"),
    ({"source": "shop"}, Reason.INVALID_FIELD, "source"),
    ({"source": "WEB"}, Reason.INVALID_FIELD, "source"),
    ({"source": ""}, Reason.INVALID_FIELD, "source"),
    ({"source": {}}, Reason.INVALID_FIELD, "source"),
    ({"source": 1}, Reason.INVALID_FIELD, "source"),
    *(
        ({"type": name}, Reason.INVALID_FIELD, "type")
        for name in (
            "",
            "Order Completed",
            "orderCompleted",
            "order-completed",
            "_order",
            "order_",
            "a__b",
            "1st",
            "é",
            "order_completed\n",
            "t" * 101,
            5,
            True,
            [],
        )
    ),
    *(
        ({"occurred_at": instant}, Reason.INVALID_FIELD, "occurred_at")
        for instant in (-1, True, 1.5, 1.79e12, "1790000000000", "2026-11-22T15:00:00Z", {}, 10**30)
    ),
    ({"occurred_at": NOW_MS + 300_001}, Reason.FUTURE_EVENT, "occurred_at"),
    ({"occurred_at": NOW_MS * 1_000}, Reason.FUTURE_EVENT, "occurred_at"),  # microseconds
    ({"occurred_at": (1 << 64) - 1}, Reason.FUTURE_EVENT, "occurred_at"),
    ({"identifiers": {"email": "a@b.co"}}, Reason.INVALID_FIELD, "identifiers"),
    ({"identifiers": "email:a@b.co"}, Reason.INVALID_FIELD, "identifiers"),
    (
        {"identifiers": identified(("device_id", "d"), *[("anonymous_id", "a")] * 50)},
        Reason.INVALID_FIELD,
        "identifiers",
    ),
    ({"identifiers": ["email:a@b.co"]}, Reason.INVALID_FIELD, "identifiers[0]"),
    ({"identifiers": [*identified(("user_id", "u1")), None]}, Reason.INVALID_FIELD, "identifiers[1]"),
    ({"identifiers": identified(("email", None))}, Reason.INVALID_FIELD, "identifiers[0].value"),
    (
        {"identifiers": identified(("user_id", "u1"), ("email", "a@b.co"), ("cpf", 52998224725))},
        Reason.INVALID_FIELD,
        "identifiers[2].value",
    ),
    ({"identifiers": [{"value": "u1"}]}, Reason.INVALID_FIELD, "identifiers[0].type"),
    ({"identifiers": [{"type": "user_id"}]}, Reason.INVALID_FIELD, "identifiers[0].value"),
    ({"identifiers": identified((3, "u1"))}, Reason.INVALID_FIELD, "identifiers[0].type"),
    ({"identifiers": []}, Reason.NO_USABLE_IDENTIFIER, "identifiers"),
    ({"identifiers": identified(("user_id", "null"))}, Reason.NO_USABLE_IDENTIFIER, "identifiers"),
    (
        {"identifiers": identified(("user_id", "[object Object]"), ("email", "UNDEFINED"))},
        Reason.NO_USABLE_IDENTIFIER,
        "identifiers",
    ),
    ({"identifiers": identified(("cpf", "111.111.111-11"))}, Reason.NO_USABLE_IDENTIFIER, "identifiers"),
    (
        {"identifiers": identified(("phone", "12345"), ("email", "ana"))},
        Reason.NO_USABLE_IDENTIFIER,
        "identifiers",
    ),
    (
        {"identifiers": identified(("anonymous_id", "x" * 100_000))},
        Reason.NO_USABLE_IDENTIFIER,
        "identifiers",
    ),
    ({"identifiers": identified(("loyalty_card", "77"))}, Reason.NO_USABLE_IDENTIFIER, "identifiers"),
    (
        {"identifiers": identified(("user_id", "u1"), ("user_id", "u2"))},
        Reason.CONFLICTING_IDENTIFIERS,
        "identifiers[1].value",
    ),
    (
        {
            "identifiers": identified(
                ("cpf", "529.982.247-25"), ("email", "a@b.co"), ("cpf", "123.456.789-09")
            )
        },
        Reason.CONFLICTING_IDENTIFIERS,
        "identifiers[2].value",
    ),
    *(
        ({name: given}, Reason.INVALID_FIELD, name)
        for name in ("traits", "properties")
        for given in (
            5,
            True,
            [],
            "",
            "[]",
            "null",
            "text",
            '"text"',
            '{"a":}',
            '{"a":NaN}',
            '{"a":1e999}',
            '{"a":"\\ud800"}',
            '{"a":1} x',
            "{'a':1}",
            nested(NESTING_MAX + 1),
            nested(2_000),
        )
    ),
    ({"traits": json.loads(nested(500))}, Reason.MALFORMED_JSON, "traits"),
    ({"properties": json.loads(nested(NESTING_MAX + 1))}, Reason.MALFORMED_JSON, "properties"),
    ({"consent": []}, Reason.INVALID_FIELD, "consent"),
    ({"consent": False}, Reason.INVALID_FIELD, "consent"),
    ({"consent": "marketing"}, Reason.INVALID_FIELD, "consent"),
    ({"consent": {"marketing": "yes"}}, Reason.INVALID_FIELD, "consent.marketing"),
    ({"consent": {"marketing": 1}}, Reason.INVALID_FIELD, "consent.marketing"),
    ({"consent": {"marketing": None}}, Reason.INVALID_FIELD, "consent.marketing"),
    (
        {"consent": {"ana@example.com": 1}},
        Reason.INVALID_FIELD,
        "consent",
    ),  # a name that may be personal is left out
    ({"context": []}, Reason.INVALID_FIELD, "context"),
    ({"context": 0}, Reason.INVALID_FIELD, "context"),
    ({"context": {"page": {"url": "/"}}}, Reason.INVALID_FIELD, "context.page"),
    ({"context": {"traceparent": 1}}, Reason.INVALID_FIELD, "context.traceparent"),
]
"""Of a field, sent as JSON."""

AVRO_FAULTS: list[Fault] = [
    ({"event_id": ""}, Reason.INVALID_FIELD, "event_id"),
    ({"event_id": "e" * 201}, Reason.INVALID_FIELD, "event_id"),
    ({"source": "tv"}, Reason.INVALID_FIELD, "source"),
    ({"type": "Page Viewed"}, Reason.INVALID_FIELD, "type"),
    ({"occurred_at": -5}, Reason.INVALID_FIELD, "occurred_at"),
    ({"occurred_at": NOW_MS + 86_400_000}, Reason.FUTURE_EVENT, "occurred_at"),
    ({"traits": "not json"}, Reason.INVALID_FIELD, "traits"),
    ({"traits": '{"a":Infinity}'}, Reason.INVALID_FIELD, "traits"),
    ({"properties": "[1]"}, Reason.INVALID_FIELD, "properties"),
    ({"identifiers": []}, Reason.NO_USABLE_IDENTIFIER, "identifiers"),
    (
        {"identifiers": identified(("user_id", "1"), ("user_id", "2"))},
        Reason.CONFLICTING_IDENTIFIERS,
        "identifiers[1].value",
    ),
    ({"identifiers": identified(*[("anonymous_id", "a")] * 51)}, Reason.INVALID_FIELD, "identifiers"),
]
"""Of a field, sent as Avro."""

AVRO = as_avro()
VALUES: list[tuple[str, bytes | None, Reason]] = [
    ("no value", None, Reason.MALFORMED_JSON),
    ("empty", b"", Reason.MALFORMED_JSON),
    ("blank", b"  \n ", Reason.MALFORMED_JSON),
    ("wrong magic byte 1", b"\x01" + AVRO[1:], Reason.MALFORMED_AVRO),
    ("wrong magic byte 127", b"\x7f" + AVRO[1:], Reason.MALFORMED_AVRO),
    ("wrong magic byte 255", b"\xff" + AVRO[1:], Reason.MALFORMED_AVRO),
    ("the magic byte only", b"\x00", Reason.MALFORMED_AVRO),
    ("half a header", AVRO[:4], Reason.MALFORMED_AVRO),
    ("the header only", AVRO[:5], Reason.MALFORMED_AVRO),
    *((f"cut off at {end}", AVRO[:end], Reason.MALFORMED_AVRO) for end in range(6, len(AVRO), 7)),
    ("one byte cut off", AVRO[:-1], Reason.MALFORMED_AVRO),
    ("one byte more", AVRO + b"\x00", Reason.MALFORMED_AVRO),
    ("two records", AVRO + AVRO[5:], Reason.MALFORMED_AVRO),
    ("a string that is not UTF-8", AVRO.replace(b"e-1", b"\xed\xa0\x80"), Reason.MALFORMED_AVRO),
    ("a huge length", AVRO[:5] + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f" + AVRO[6:], Reason.MALFORMED_AVRO),
    ("a negative length", AVRO[:5] + b"\x05" + AVRO[6:], Reason.MALFORMED_AVRO),
    ("an endless number", AVRO[:5] + b"\xff" * 100, Reason.MALFORMED_AVRO),
    ("an unknown schema", b"\x00\x00\x00\x03\xe7" + AVRO[5:], Reason.UNKNOWN_SCHEMA),
    ("the schema of an output", b"\x00\x00\x00\x00\x02" + AVRO[5:], Reason.UNKNOWN_SCHEMA),
    ("a schema id in the wrong byte order", b"\x00\x01\x00\x00\x00" + AVRO[5:], Reason.UNKNOWN_SCHEMA),
    ("Avro without a header", AVRO[5:], Reason.MALFORMED_AVRO),
    ("cut off JSON", as_json()[:-1], Reason.MALFORMED_JSON),
    ("two objects", as_json() + as_json(), Reason.MALFORMED_JSON),
    ("an array", b"[" + as_json() + b"]", Reason.MALFORMED_JSON),
    ("a string", b'"touchpoint"', Reason.MALFORMED_JSON),
    ("a number", b"42", Reason.MALFORMED_JSON),
    ("null", b"null", Reason.MALFORMED_JSON),
    ("plain text", b"hello", Reason.MALFORMED_JSON),
    ("XML", b"<touchpoint/>", Reason.MALFORMED_JSON),
    ("single quotes", repr(GOOD).encode(), Reason.MALFORMED_JSON),
    ("a trailing comma", as_json()[:-1] + b",}", Reason.MALFORMED_JSON),
    ("NaN", as_json(traits={"score": float("nan")}), Reason.MALFORMED_JSON),
    ("Infinity", as_json(traits={"score": float("inf")}), Reason.MALFORMED_JSON),
    ("a number above all doubles", as_json().replace(b'"web"', b"1e999"), Reason.MALFORMED_JSON),
    ("a lone high surrogate", as_json(traits={"name": "\ud800"}), Reason.MALFORMED_JSON),
    ("a lone low surrogate", as_json(event_id="\udc00"), Reason.MALFORMED_JSON),
    ("a raw surrogate", as_json().replace(b"e-1", b"\xed\xa0\x80"), Reason.MALFORMED_JSON),
    ("Latin-1", as_json().replace(b"Madrid", b"Lisb\xf3n"), Reason.MALFORMED_JSON),
    ("a raw control character", as_json().replace(b"e-1", b"e\n1"), Reason.MALFORMED_JSON),
    ("a byte order mark", b"\xef\xbb\xbf" + as_json(), Reason.MALFORMED_JSON),
    ("UTF-16", as_json().decode().encode("utf-16"), Reason.MALFORMED_JSON),
    ("100,000 levels", b"[" * 100_000, Reason.MALFORMED_JSON),
    ("2,000 levels", b'{"a":' * 2_000 + b"1" + b"}" * 2_000, Reason.MALFORMED_JSON),
    ("5 MB of JSON", as_json(event_id="e" * 5_000_000), Reason.TOO_LARGE),
    ("5 MB of Avro", as_avro(traits=json.dumps({"a": "x" * 5_000_000})), Reason.TOO_LARGE),
    ("5 MB of zeros", bytes(5_000_000), Reason.TOO_LARGE),
    ("a byte too many", as_json() + b" " * (TOUCHPOINT_BYTES_MAX - len(as_json()) + 1), Reason.TOO_LARGE),
]
"""Of the value as a whole: what it is, value, reason."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """One malformed value and its verdict: `kind` says what is wrong with it, for the name of a test."""

    kind: str
    value: bytes | None
    reason: Reason
    field: str = ""


def malformed(now_ms: int = NOW_MS) -> list[Malformed]:
    """Every malformed value. `now_ms`: the clock of the test; for a running worker, an hour ahead."""
    later_ms = now_ms - NOW_MS
    return [
        *(Malformed(what, value, reason) for what, value, reason in VALUES),
        *(
            Malformed(_kind(fault, way), encode(**_later(fault, later_ms)), fault[1], fault[2])
            for way, encode, faults in (("JSON", as_json, FAULTS), ("Avro", as_avro, AVRO_FAULTS))
            for fault in faults
        ),
    ]


def _kind(fault: Fault, way: str) -> str:
    (name, given), *_ = fault[0].items()
    text = "absent" if given is ABSENT else ascii(given)
    return f"{name} {text if len(text) < 40 else text[:40] + '…'} in {way}"


def _later(fault: Fault, later_ms: int) -> dict[str, object]:
    """The changes of a fault, by another clock: event times that are too late for NOW_MS stay so."""
    changes, reason, _ = fault
    occurred_at = changes.get("occurred_at")
    if reason is Reason.FUTURE_EVENT and isinstance(occurred_at, int) and occurred_at < 1 << 62:
        return {**changes, "occurred_at": occurred_at + later_ms}
    return changes
