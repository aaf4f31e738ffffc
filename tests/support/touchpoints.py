"""Touchpoints for tests: one good touchpoint, ways to change it, and a reader under the shipped policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from pipeline.core.policy import Policy, parse_policy
from pipeline.core.touch import Touch
from pipeline.core.touchpoint import TouchpointReader
from pipeline.topics import SOURCES
from pipeline.wire.avro import TouchpointDecoder, encode_record

DEFAULTS = Path(__file__).parents[2] / "pipeline" / "defaults" / "identity.yaml"
NOW_MS = 1_790_000_000_000
ABSENT = object()
"""For `touchpoint`: leave the field out."""
GOOD: dict[str, Any] = {
    "event_id": "e-1",
    "source": "web",
    "type": "product_viewed",
    "occurred_at": NOW_MS - 1_000,
    "identifiers": [{"type": "anonymous_id", "value": "a-1"}, {"type": "user_id", "value": " u1 "}],
    "traits": '{"city": "Madrid"}',
    "properties": '{"category":"running shoes","price":123.45}',
    "consent": {"marketing": True},
    "context": {"library": "web.js"},
}
"""As any source may send it."""
TOUCH = Touch(
    event_id="e-1",
    source="web",
    type="product_viewed",
    occurred_at=NOW_MS - 1_000,
    identifiers=["user_id:u1", "anonymous_id:a-1"],
    traits='{"city": "Madrid"}',
    properties='{"category":"running shoes","price":123.45}',
    consent={"marketing": True},
)
"""What becomes of the good touchpoint."""


def shipped_policy() -> Policy:
    """The identity policy that Elo ships."""
    return parse_policy(yaml.safe_load(DEFAULTS.read_text("utf-8")))


def reader_of(policy: Policy) -> TouchpointReader:
    """A reader of Avro and JSON for the usual sources."""
    return TouchpointReader(policy, SOURCES, TouchpointDecoder())


def touchpoint(**changes: object) -> dict[str, Any]:
    """The good touchpoint with other fields; ABSENT takes one away."""
    return {name: part for name, part in (GOOD | changes).items() if part is not ABSENT}


def as_json(**changes: object) -> bytes:
    """The same as a JSON value."""
    return json.dumps(touchpoint(**changes)).encode()


def as_avro(**changes: object) -> bytes:
    """The same as an Avro value; raises ValueError for what Avro cannot hold."""
    return encode_record("touchpoint", touchpoint(**changes))


def identified(*pairs: tuple[object, object]) -> list[dict[str, object]]:
    """Identifiers from pairs of type and value."""
    return [{"type": name, "value": value} for name, value in pairs]


def nested(levels: int) -> str:
    """A JSON object of so many levels."""
    return '{"a":' * (levels - 1) + "{}" + "}" * (levels - 1)
