"""Touchpoints that must be rejected, each with the reason that Elo must give.

They carry identifiers of the shop's people: if one of them got through, counters or groups would differ.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

TOO_LARGE_BYTES: Final = 300 * 1024  # the limit is 256 KiB
DAY_MS: Final = 86_400_000

Made = tuple[str, dict[str, Any] | bytes]


def make_malformed(rng: Random, event_id: str, source: str, due_ms: int, one: str, other: str) -> Made:
    """A reason and a value that must be rejected with it. `one`, `other`: user ids of two people."""
    good: dict[str, Any] = {
        "event_id": event_id,
        "source": source,
        "type": "page_viewed",
        "occurred_at": due_ms,
        "identifiers": [{"type": "user_id", "value": one}],
        "traits": {},
        "properties": {},
        "consent": {},
        "context": {},
    }
    return rng.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))[0](good, other)


def as_json(touchpoint: dict[str, Any]) -> bytes:
    """The JSON form of a touchpoint, as a browser sends it."""
    return json.dumps(touchpoint, ensure_ascii=False, separators=(",", ":")).encode()


def _not_json(good: dict[str, Any], other: str) -> Made:
    return "malformed_json", b"<html>502 Bad Gateway</html>"


def _wrong_magic(good: dict[str, Any], other: str) -> Made:
    return "malformed_avro", b"\x01\x00\x00\x00\x01\x10web"


def _cut_json(good: dict[str, Any], other: str) -> Made:
    return "malformed_json", as_json(good)[:-20]


def _cut_avro(good: dict[str, Any], other: str) -> Made:
    return "malformed_avro", b"\x00\x00\x00\x00\x01\x10web"


def _foreign_schema(good: dict[str, Any], other: str) -> Made:
    return "unknown_schema", b"\x00\x00\x0f\x42\x3f\x06abc"


def _empty(good: dict[str, Any], other: str) -> Made:
    return "malformed_json", b""


def _no_event_id(good: dict[str, Any], other: str) -> Made:
    return "missing_field", as_json({name: value for name, value in good.items() if name != "event_id"})


def _no_identifiers(good: dict[str, Any], other: str) -> Made:
    return "missing_field", as_json({name: value for name, value in good.items() if name != "identifiers"})


def _wrong_type(good: dict[str, Any], other: str) -> Made:
    return "invalid_field", {**good, "type": "Page Viewed"}


def _wrong_source(good: dict[str, Any], other: str) -> Made:
    return "invalid_field", {**good, "source": "fax"}


def _wrong_time(good: dict[str, Any], other: str) -> Made:
    return "invalid_field", as_json({**good, "occurred_at": "yesterday"})


def _tomorrow(good: dict[str, Any], other: str) -> Made:
    return "future_event", {**good, "occurred_at": good["occurred_at"] + DAY_MS}


def _nobody(good: dict[str, Any], other: str) -> Made:
    nobody = [{"type": "email", "value": " NULL "}, {"type": "user_id", "value": "undefined"}]
    return "no_usable_identifier", {**good, "identifiers": nobody}


def _two_people(good: dict[str, Any], other: str) -> Made:
    both = [*good["identifiers"], {"type": "user_id", "value": other}]
    return "conflicting_identifiers", {**good, "identifiers": both}


def _traits_list(good: dict[str, Any], other: str) -> Made:
    return "invalid_field", as_json({**good, "traits": ["city", "Madrid"]})


def _huge(good: dict[str, Any], other: str) -> Made:
    return "too_large", as_json({**good, "properties": {"note": "x" * TOO_LARGE_BYTES}})


WEIGHTS: Final = {
    _not_json: 6,
    _wrong_magic: 6,
    _cut_json: 8,
    _cut_avro: 8,
    _foreign_schema: 6,
    _empty: 4,
    _no_event_id: 10,
    _no_identifiers: 6,
    _wrong_type: 10,
    _wrong_source: 6,
    _wrong_time: 8,
    _tomorrow: 10,
    _nobody: 10,
    _two_people: 12,
    _traits_list: 6,
    _huge: 1,
}
