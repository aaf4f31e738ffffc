"""Mail between partitions: pinned bytes, decoding as the inverse, and a version that is not known."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from pipeline.core import messages
from pipeline.core.errors import InvariantViolation
from pipeline.core.messages import (
    OF_RECORDS,
    TO_IDENTIFIER,
    Absorb,
    Adopted,
    Bind,
    Claim,
    Close,
    Compare,
    Compared,
    Decided,
    Describe,
    Enter,
    Fill,
    Filled,
    Forget,
    Found,
    Join,
    Leave,
    Linked,
    Locate,
    Matches,
    Merge,
    Message,
    Repoint,
    Retouch,
    Taken,
    decode_message,
    encode_message,
)
from pipeline.core.touch import Touch

GOLDEN = Path(__file__).parents[1] / "golden" / "mail_v1.json"
TOUCH = Touch(
    "e1", "web", "page_viewed", 1_790_000_000_000, ["user_id:u1", "anonymous_id:a1"], '{"city":"Madrid"}'
)
NOTHING = msgspec.Raw(b"\xc0")
OLD_MERGE = (
    "019c05af616e6f6e796d6f75735f69643a6131af616e6f6e796d6f75735f69643a6131aa757365725f69643a75"
    "31c39192af616e6f6e796d6f75735f69643a6131c09080908092a00000"
)
MAIL: dict[str, Message] = {
    "absorb": Absorb("user_id:u1", TOUCH, [("page_viewed", 3)]),
    "absorb, after a dead end": Absorb("user_id:u1", TOUCH, [], "user_id:u0"),
    "claim": Claim("user_id:u1", "user_id:u1", True),
    "claim, by a touch": Claim("user_id:u1", "user_id:u1", False, ("e1", 1_790_000_000_000)),
    "linked": Linked("user_id:u1", "anonymous_id:a1", "shared"),
    "linked, inert": Linked("", "device_id:d1", "inert", ("e1", 1_790_000_000_000)),
    "join": Join("user_id:u1", "anonymous_id:a1", "user_id:u1"),
    "merge": Merge("anonymous_id:a1", "anonymous_id:a1", "user_id:u1", True, [("anonymous_id:a1", NOTHING)]),
    "merge, full": Merge(
        "device_id:d1", "email:e", "user_id:u1", False, [("device_id:d1", NOTHING)], ["device_id:d2"],
        {"email:x": "shared"}, ["anonymous_id:a2"],
        {"0" * 32: ("device_id:d1", "", {"everybody": [True, 1, 2, 3]})},
        ("e1", 1_790_000_000_000), 1_790_000_000_100, 2,
    ),
    "repoint": Repoint("user_id:u1"),
    "close": Close(),
    "locate": Locate("anonymous_id:a1"),
    "forget": Forget("anonymous_id:a1"),
    "retouch": Retouch("user_id:u1", TOUCH, [("page_viewed", 3)]),
    "fill": Fill("user_id:u1", "e1", 1_790_000_000_000, [("page_viewed", 3, True)], 3, 17),
    "filled": Filled(3, 17),
    "taken": Taken(17, 2),
    "bind": Bind("user_id:u1"),
    "decided": Decided({
        "decision:d1": ["split", 1_790_000_000_000, "", ["device_id:d1"], [], "maria", "two people"],
    }),
    "adopted": Adopted(3, 2),
    "describe": Describe("user_id:u1", '{"full_name":"Ana Sikorski"}'),
    "enter": Enter("user_id:u1", True),
    "leave": Leave("user_id:u1"),
    "found": Found(":0123456789abcdef", ["user_id:u2"], True, True),
    "compare": Compare("user_id:u1", 1_790_000_000_000, '{"full_name":"Ana Sikorski"}', False),
    "compared": Compared("user_id:u1", 1_790_000_000_000, 12.36, [":0123456789abcdef"]),
    "compared, no match": Compared("user_id:u1", 1_790_000_000_000, None, []),
    "matches": Matches("user_id:u1", 1_790_000_000_000, {"user_id:u2": 12.36}),
}  # fmt: skip


@pytest.mark.parametrize("name", list(MAIL))
def test_the_bytes_are_those_of_the_golden_file_and_are_read_back(name: str) -> None:
    value = encode_message(MAIL[name])
    assert value.hex() == json.loads(GOLDEN.read_text("utf-8"))[name]
    assert decode_message(value) == MAIL[name]


def test_every_kind_of_message_is_pinned() -> None:
    kinds = {
        kind
        for kind in vars(messages).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    }
    assert {type(message) for message in MAIL.values()} == kinds - {Touch}
    assert set(json.loads(GOLDEN.read_text("utf-8"))) == set(MAIL)
    assert {*TO_IDENTIFIER, *OF_RECORDS} <= kinds
    assert set(TO_IDENTIFIER).isdisjoint(OF_RECORDS)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("019402aa757365725f69643a7531aa757365725f69643a7531c3", MAIL["claim"]),
        ("019403aa757365725f69643a7531af616e6f6e796d6f75735f69643a6131a6736861726564", MAIL["linked"]),
        (OLD_MERGE, MAIL["merge"]),
    ],
)
def test_mail_with_fewer_fields_of_before_is_read(value: str, message: Message) -> None:
    assert decode_message(bytes.fromhex(value)) == message


@pytest.mark.parametrize("value", [b"", b"\x02\x91\x01", b"\x00"])
def test_mail_of_an_unknown_version_stops_the_worker(value: bytes) -> None:
    with pytest.raises(InvariantViolation, match="mail of an unknown version"):
        decode_message(value)
