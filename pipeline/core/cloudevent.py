"""CloudEvents on the touchpoint topics: a touchpoint whose head is in the envelope.

In structured mode the envelope is the JSON value, in binary mode it is in the headers of the record and the
value is the data. The data has the rest of a touchpoint: identifiers, traits, properties, consent, context.
It is asked only about a record that is no touchpoint by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from .errors import Rejection
from .names import snake_case
from .touchpoint import EVENT_ID_CHARS_MAX, TRACEPARENT, Headers, read_json

PREFIX: Final = "ce_"
VERSION: Final = "specversion"


def touchpoint_of(value: bytes, headers: Headers, source: str) -> dict[str, Any] | None:
    """The touchpoint of a CloudEvent in the shape of JSON, or None when the record is no CloudEvent.

    `source`: that of the topic, since a CloudEvent names its own by a URI. What is missing is left out: the
    judge of touchpoints names it.
    """
    document = read_json(value)
    if isinstance(document, Rejection):
        return None
    if VERSION in document:
        envelope: Mapping[str, Any] = document
        data = document.get("data")
    else:
        envelope = {
            name.removeprefix(PREFIX): _text(text) for name, text in headers if name.startswith(PREFIX)
        }
        data = document
    if VERSION not in envelope or not isinstance(data, dict):
        return None
    found: dict[str, Any] = {"source": source} | data
    origin, number = envelope.get("source"), envelope.get("id")
    if isinstance(number, str) and isinstance(origin, str):
        # An id is unique within its source only.
        key = f"{origin}#{number}"
        found["event_id"] = key if len(key) <= EVENT_ID_CHARS_MAX else sha256(key.encode()).hexdigest()
    if isinstance(kind := envelope.get("type"), str):
        found["type"] = _type_of(kind)
    if isinstance(time := envelope.get("time"), str) and (at_ms := _instant(time)) is not None:
        found["occurred_at"] = at_ms
    parent, context = envelope.get(TRACEPARENT), found.get("context", {})
    if isinstance(parent, str) and isinstance(context, dict):
        found["context"] = {TRACEPARENT: parent} | context
    return found


def _type_of(given: str) -> str:
    """The last part of a reverse domain name, without a version: `com.acme.OrderCompleted.v1`."""
    parts = given.split(".")
    if len(parts) > 1 and parts[-1][:1] in "vV" and parts[-1][1:].isdecimal():
        parts.pop()
    return snake_case(parts[-1])


def _instant(text: str) -> int | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _text(given: bytes | str | None) -> str:
    return given.decode("utf-8", "replace") if isinstance(given, bytes) else given or ""
