"""The stored bytes of a touch: pinned by a golden file, readable by later versions, refused when unknown."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import InvariantViolation
from pipeline.core.touch import (
    EVENT_HASH,
    OFFSET_BITS,
    PARTITION_BITS,
    Touch,
    decode_touch,
    encode_marked,
    encode_touch,
    event_hash,
    origin_of,
    partition_origin,
)

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = json.loads((FOLDER / "touch_v2.json").read_text("utf-8"))
OLD = json.loads((FOLDER / "touch_v1.json").read_text("utf-8"))
TEXT = st.text(max_size=20)
TOUCHES = st.builds(
    Touch,
    event_id=TEXT,
    source=TEXT,
    type=TEXT,
    occurred_at=st.integers(0, (1 << 63) - 1),
    identifiers=st.lists(TEXT, max_size=3),
    traits=TEXT,
    properties=TEXT,
    consent=st.dictionaries(TEXT, st.booleans(), max_size=3),
    traceparent=TEXT,
)


@pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
def test_the_stored_bytes_are_those_of_the_golden_file(case: dict[str, object]) -> None:
    touch = msgspec.convert(list(case["touch"].values()), Touch)  # type: ignore[attr-defined]
    assert msgspec.structs.asdict(touch) == case["touch"]
    assert encode_touch(touch, int(str(case["origin"]), 16)).hex() == case["hex"]
    assert decode_touch(bytes.fromhex(str(case["hex"]))) == touch


@pytest.mark.parametrize("case", OLD, ids=[case["name"] for case in OLD])
def test_what_version_1_has_stored_is_read_and_has_no_origin(case: dict[str, object]) -> None:
    stored = bytes.fromhex(str(case["hex"]))
    assert msgspec.structs.asdict(decode_touch(stored)) == case["touch"]
    assert origin_of(stored) == (0, 0)


@given(
    TOUCHES,
    st.integers(1, 15),
    st.integers(0, (1 << PARTITION_BITS) - 1),
    st.integers(0, (1 << OFFSET_BITS) - 1),
)
def test_the_origin_is_read_without_decoding(touch: Touch, number: int, partition: int, offset: int) -> None:
    begin = partition_origin(number, partition)
    for encoded in (encode_touch(touch, begin + offset), encode_marked(touch, begin + offset)):
        assert origin_of(encoded) == (begin >> OFFSET_BITS, offset)
        assert decode_touch(encoded) == touch
    assert origin_of(encode_touch(touch)) == (0, 0)


@given(TOUCHES)
def test_decoding_is_the_inverse_of_encoding(touch: Touch) -> None:
    assert decode_touch(encode_touch(touch)) == touch


@given(TOUCHES)
def test_the_hash_of_the_event_id_is_read_without_decoding(touch: Touch) -> None:
    assert encode_touch(touch)[EVENT_HASH] == event_hash(touch.event_id)
    assert slice(1, 9) == EVENT_HASH


def test_a_touch_with_a_field_more_is_read_without_it() -> None:
    touch = Touch("e1", "web", "page_viewed", 1, ["user_id:u1"])
    encoded = encode_touch(touch)
    longer = msgspec.msgpack.encode([*msgspec.msgpack.decode(encoded[17:]), "new"])
    assert decode_touch(encoded[:17] + longer) == touch


def test_a_touch_without_the_fields_that_have_a_default_is_read() -> None:
    body = msgspec.msgpack.encode(["e1", "web", "page_viewed", 1, ["user_id:u1"]])
    assert decode_touch(b"\x01" + event_hash("e1") + body) == Touch(
        "e1", "web", "page_viewed", 1, ["user_id:u1"]
    )


@pytest.mark.parametrize(
    "encoded",
    [b"", b"\x01", b"\x02" + bytes(8), b"\x03" + bytes(40), b"\x01" + bytes(8) + b"\x93", b"\x00{}"],
)
def test_other_bytes_stop_the_worker(encoded: bytes) -> None:
    with pytest.raises(InvariantViolation):
        decode_touch(encoded)
