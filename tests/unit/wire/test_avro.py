"""Values in the wire format: pinned by a golden file, read in any version, refused with a reason."""

from __future__ import annotations

import dataclasses
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

from pipeline.core.errors import Reason, Rejection
from pipeline.wire.avro import TouchpointDecoder, decode_record, encode_record, encode_touchpoint
from pipeline.wire.registry import RegisteredSchema, Registry, default_registry

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "wire_v1.json").read_text("utf-8"))
TOUCHPOINT: dict[str, Any] = {
    "event_id": "e1",
    "source": "web",
    "type": "page_viewed",
    "occurred_at": 1_790_000_000_000,
    "identifiers": [{"type": "user_id", "value": "u1"}],
    "traits": "{}",
    "properties": "{}",
    "consent": {},
    "context": {},
}


@pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
def test_the_wire_bytes_are_those_of_the_golden_file(case: dict[str, Any]) -> None:
    value = bytes.fromhex(case["hex"])
    assert encode_record(case["subject"], case["record"]) == value
    assert decode_record(value) == case["record"]
    json.dumps(decode_record(value))


def test_every_subject_is_in_the_golden_file() -> None:
    assert {case["subject"] for case in GOLDEN} == set(default_registry().by_subject)


def registry_with_a_second_touchpoint() -> Registry:
    """The shipped registry, and a version 2 whose touchpoints have one more field."""
    shipped = default_registry()
    first = shipped.by_id[1]
    raw = dict(first.raw)
    raw["fields"] = [*raw["fields"], {"name": "channel", "type": "string", "default": "none"}]
    second = dataclasses.replace(first, id=7, version=2, raw=raw, parsed=_parsed(first, raw))
    return Registry([*shipped.by_id.values(), second])


def _parsed(first: RegisteredSchema, raw: dict[str, Any]) -> Any:
    assert isinstance(first.parsed, dict)
    plain = {key: part for key, part in first.parsed.items() if not key.startswith("__")}
    return fastavro.parse_schema({**plain, "fields": [*plain["fields"], raw["fields"][-1]]}, named_schemas={})


def test_an_older_writer_is_read_in_the_shape_of_the_newest() -> None:
    registry = registry_with_a_second_touchpoint()
    decode = TouchpointDecoder(registry)
    assert decode(encode_touchpoint(TOUCHPOINT)) == TOUCHPOINT | {"channel": "none"}
    newest = encode_record("touchpoint", TOUCHPOINT | {"channel": "shop"}, registry)
    assert newest[:5] == b"\x00\x00\x00\x00\x07"
    assert decode(newest) == TOUCHPOINT | {"channel": "shop"}


def test_a_newer_writer_than_ours_is_an_unknown_schema() -> None:
    newest = encode_record(
        "touchpoint", TOUCHPOINT | {"channel": "shop"}, registry_with_a_second_touchpoint()
    )
    answer = TouchpointDecoder()(newest)
    assert isinstance(answer, Rejection)
    assert answer.reason == Reason.UNKNOWN_SCHEMA


def test_bytes_with_logical_types_are_read_as_integers() -> None:
    stream = BytesIO()
    stream.write(b"\x00\x00\x00\x00\x01")
    fastavro.schemaless_writer(
        stream, fastavro.parse_schema(dict(default_registry().by_id[1].raw)), TOUCHPOINT
    )
    assert TouchpointDecoder()(stream.getvalue()) == TOUCHPOINT
    assert stream.getvalue() == encode_touchpoint(TOUCHPOINT)


BROKEN = [
    (b"", Reason.MALFORMED_AVRO),
    (b"\x00\x00\x00", Reason.MALFORMED_AVRO),
    (b"\x01\x00\x00\x00\x01", Reason.MALFORMED_AVRO),
    (b"\x00\x00\x00\x00\x63", Reason.UNKNOWN_SCHEMA),
    (b"\x00\x00\x00\x00\x01", Reason.MALFORMED_AVRO),
    (encode_touchpoint(TOUCHPOINT)[:-3], Reason.MALFORMED_AVRO),
    (encode_touchpoint(TOUCHPOINT) + b"x", Reason.MALFORMED_AVRO),
]


@pytest.mark.parametrize(("value", "reason"), BROKEN)
def test_broken_bytes_are_a_rejection(value: bytes, reason: Reason) -> None:
    for answer in (TouchpointDecoder()(value), decode_record(value)):
        assert isinstance(answer, Rejection)
        assert answer.reason == reason


def test_a_touchpoint_of_the_json_shape_is_written_as_avro() -> None:
    given = {name: TOUCHPOINT[name] for name in ("event_id", "source", "type", "occurred_at", "identifiers")}
    assert encode_touchpoint(given) == encode_touchpoint(TOUCHPOINT)
    given |= {"traits": {"city": "São Paulo"}, "properties": None, "context": None, "ignored": 1}
    assert TouchpointDecoder()(encode_touchpoint(given)) == TOUCHPOINT | {"traits": '{"city":"São Paulo"}'}


@pytest.mark.parametrize(
    "changes",
    [
        {"event_id": None},
        {"event_id": 1},
        {"occurred_at": "now"},
        {"occurred_at": True},
        {"occurred_at": 1 << 63},
        {"identifiers": {}},
        {"identifiers": [1]},
        {"identifiers": [{"type": "email"}]},
        {"identifiers": [{"type": "email", "value": 1}]},
        {"traits": []},
        {"traits": {"a": {1, 2}}},
        {"consent": {"marketing": 1}},
        {"context": {"page": {}}},
        {"event_id": "\ud800"},
    ],
)
def test_what_avro_cannot_hold_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be|fit|written"):
        encode_touchpoint(TOUCHPOINT | changes)
