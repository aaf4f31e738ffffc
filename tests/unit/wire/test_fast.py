"""The hand-written reader is equal to fastavro, or leaves the value to it: on good and on broken bytes."""

from __future__ import annotations

import random
from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_reader
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.wire.avro import encode_record
from pipeline.wire.fast import FAST_TOUCHPOINT_VERSION, read_touchpoint
from pipeline.wire.registry import default_registry

TEXT = st.one_of(
    st.text(max_size=12), st.text(min_size=50, max_size=80), st.text("x", min_size=60, max_size=70)
)
TOUCHPOINTS = st.fixed_dictionaries(
    {
        "event_id": TEXT,
        "source": st.text(max_size=8),
        "type": TEXT,
        "occurred_at": st.one_of(
            st.integers(0, 1 << 43),
            st.integers(1_790_000_000_000, 1_790_000_900_000),
            st.integers(-(1 << 63), (1 << 63) - 1),
        ),
        "identifiers": st.lists(
            st.fixed_dictionaries({"type": st.text(max_size=9), "value": TEXT}), max_size=4
        ),
        "traits": TEXT,
        "properties": TEXT,
        "consent": st.dictionaries(TEXT, st.booleans(), max_size=3),
        "context": st.dictionaries(TEXT, TEXT, max_size=3),
    }
)
TYPICAL: dict[str, Any] = {
    "event_id": "e-00000001-0123456789ab",
    "source": "web",
    "type": "product_viewed",
    "occurred_at": 1_790_000_000_000,
    "identifiers": [
        {"type": "anonymous_id", "value": "a-0123456789abcdef"},
        {"type": "user_id", "value": "u1"},
    ],
    "traits": "{}",
    "properties": '{"category":"running shoes","price":123.45,"sku":"sku-1234","title":"São Paulo 10 km"}',
    "consent": {"marketing": True, "profiling": False},
    "context": {"library": "web.js"},
}


def read_by_fastavro(value: bytes) -> dict[str, Any] | None:
    """The whole record, or None where fastavro fails or leaves bytes."""
    stream = BytesIO(value)
    stream.seek(5)
    try:
        record = schemaless_reader(stream, default_registry().by_id[1].parsed, None)
    except (EOFError, ValueError, IndexError, OverflowError):
        return None
    assert isinstance(record, dict)
    return record if stream.tell() == len(value) else None


def test_the_fast_reader_is_of_the_newest_version() -> None:
    assert default_registry().latest("touchpoint").version == FAST_TOUCHPOINT_VERSION


@given(TOUCHPOINTS)
@settings(max_examples=300)
def test_what_is_read_equals_fastavro(touchpoint: dict[str, Any]) -> None:
    value = encode_record("touchpoint", touchpoint)
    assert read_by_fastavro(value) == touchpoint
    assert read_touchpoint(value) in (touchpoint, None)


def test_the_typical_touchpoint_is_read() -> None:
    assert read_touchpoint(encode_record("touchpoint", TYPICAL)) == TYPICAL
    bare = TYPICAL | {"consent": {}, "context": {}, "identifiers": TYPICAL["identifiers"][:1]}
    assert read_touchpoint(encode_record("touchpoint", bare)) == bare


@pytest.mark.parametrize("seed", range(20))
def test_what_is_read_of_broken_bytes_equals_fastavro(seed: int) -> None:
    rnd = random.Random(seed)
    good = encode_record("touchpoint", TYPICAL)
    for _ in range(500):
        value = bytearray(good)
        for _ in range(rnd.randrange(1, 4)):
            value[rnd.randrange(5, len(value))] = rnd.choice(
                (0, 1, 2, 127, 128, 129, 255, rnd.randrange(256))
            )
        if rnd.random() < 0.3:
            del value[rnd.randrange(5, len(value)) :]
        record = read_touchpoint(bytes(value))
        assert record is None or record == read_by_fastavro(bytes(value))


def test_every_cut_is_left_to_fastavro() -> None:
    good = encode_record("touchpoint", TYPICAL)
    assert [end for end in range(5, len(good)) if read_touchpoint(good[:end]) is not None] == []
    assert read_touchpoint(good + b"\x00") is None
