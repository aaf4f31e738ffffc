"""A touch: a touchpoint that passed the intake, and its stored bytes on `elo.touches`.

The bytes are pinned by tests/unit/golden/touch_v1.json. A new field goes to the end with a default; anything
else is a new version byte, and the old one stays readable as long as `elo.touches` is kept.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import msgspec

from .errors import InvariantViolation

TOUCH_VERSION: Final = 1
EVENT_HASH_BYTES: Final = 8
EVENT_HASH: Final = slice(1, 1 + EVENT_HASH_BYTES)
"""Where an encoded touch holds the hash of its event id: a restore of the de-dup table reads nothing else."""

_BODY: Final = EVENT_HASH.stop
_VERSION: Final = bytes([TOUCH_VERSION])


class Touch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A checked touchpoint with normalised identifiers. Stored in the order of these fields.

    `occurred_at` is milliseconds. `identifiers` are `type:value`, strongest first, distinct and at least one.
    `traits` and `properties` are JSON text and hold an object; they are parsed only where they are needed.
    `traceparent` is empty when the producer gave none.
    """

    event_id: str
    source: str
    type: str
    occurred_at: int
    identifiers: list[str]
    traits: str = "{}"
    properties: str = "{}"
    consent: dict[str, bool] = {}  # msgspec gives each touch its own
    traceparent: str = ""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Touch).decode


def event_hash(event_id: str) -> bytes:
    """The eight bytes that stand for an event id in the de-dup table (BLAKE2b)."""
    return blake2b(event_id.encode(), digest_size=EVENT_HASH_BYTES).digest()


def encode_touch(touch: Touch) -> bytes:
    """Version byte, hash of the event id, then the fields in msgpack."""
    digest = blake2b(touch.event_id.encode(), digest_size=EVENT_HASH_BYTES).digest()  # inlined: hot path
    return _VERSION + digest + _encode(touch)


def encode_marked(touch: Touch) -> bytes:
    """As `encode_touch`, for a touch that Elo makes itself: no event id of a touchpoint repeats it."""
    return _VERSION + event_hash(f"\x1f{touch.event_id}") + _encode(touch)


def decode_touch(encoded: bytes) -> Touch:
    """Inverse of `encode_touch`. Raises InvariantViolation for bytes that this version did not write."""
    if encoded[:1] != _VERSION:
        raise InvariantViolation("touch of an unknown version, upgrade this worker", version=encoded[:1])
    try:
        return _decode(memoryview(encoded)[_BODY:])
    except msgspec.MsgspecError as error:
        raise InvariantViolation("touch cannot be decoded", error=str(error)) from error
