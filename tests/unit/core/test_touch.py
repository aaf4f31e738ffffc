"""The stored bytes of a touch: pinned by a golden file, readable by later versions, refused when unknown."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import InvariantViolation
from pipeline.core.touch import EVENT_HASH, Touch, decode_touch, encode_touch, event_hash

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "touch_v1.json").read_text("utf-8"))
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
    assert encode_touch(touch).hex() == case["hex"]
    assert decode_touch(bytes.fromhex(str(case["hex"]))) == touch


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
    longer = msgspec.msgpack.encode([*msgspec.msgpack.decode(encoded[9:]), "new"])
    assert decode_touch(encoded[:9] + longer) == touch


def test_a_touch_without_the_fields_that_have_a_default_is_read() -> None:
    body = msgspec.msgpack.encode(["e1", "web", "page_viewed", 1, ["user_id:u1"]])
    assert decode_touch(b"\x01" + event_hash("e1") + body) == Touch(
        "e1", "web", "page_viewed", 1, ["user_id:u1"]
    )


@pytest.mark.parametrize(
    "encoded", [b"", b"\x01", b"\x02" + bytes(8), b"\x01" + bytes(8) + b"\x93", b"\x00{}"]
)
def test_other_bytes_stop_the_worker(encoded: bytes) -> None:
    with pytest.raises(InvariantViolation):
        decode_touch(encoded)
