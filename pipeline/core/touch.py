"""A touch: a touchpoint that passed the intake, and its stored bytes on `elo.touches`.

The bytes are pinned by tests/unit/golden/touch_v2.json. A new field goes to the end with a default; anything
else is a new version byte, and the old one stays readable as long as `elo.touches` is kept. Version 2 holds
where the touchpoint came from, before the fields; version 1 did not.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from typing import Final

import msgspec

from .errors import InvariantViolation

TOUCH_VERSION: Final = 2
EVENT_HASH_BYTES: Final = 8
EVENT_HASH: Final = slice(1, 1 + EVENT_HASH_BYTES)
"""Where an encoded touch holds the hash of its event id: a restore of the de-dup table reads nothing else."""
ORIGIN: Final = slice(EVENT_HASH.stop, EVENT_HASH.stop + 8)
"""Where it holds its origin: the partition of an input (`partition_origin`) plus an offset; 0 is nowhere."""
OFFSET_BITS: Final = 44
"""Of an origin. 17 million million records of a partition: 16 years of a million a minute."""
PARTITION_BITS: Final = 16

_HEAD: Final = Struct(">B8sQ").pack
_BODIES: Final = {1: EVENT_HASH.stop, TOUCH_VERSION: ORIGIN.stop}
"""Version → where the fields begin."""


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


def partition_origin(number: int, partition: int) -> int:
    """What is added to an offset to get its origin. `number`: of the input topic, from 1."""
    return (number << PARTITION_BITS | partition) << OFFSET_BITS


def origin_of(encoded: bytes) -> tuple[int, int]:
    """Partition of the origin, as `partition_origin(…) >> OFFSET_BITS`, and offset; (0, 0) if it has none."""
    if encoded[0] != TOUCH_VERSION:
        return 0, 0
    origin = int.from_bytes(encoded[ORIGIN])
    return origin >> OFFSET_BITS, origin & ((1 << OFFSET_BITS) - 1)


def encode_touch(touch: Touch, origin: int = 0) -> bytes:
    """Version byte, hash of the event id, origin, then the fields in msgpack."""
    digest = blake2b(touch.event_id.encode(), digest_size=EVENT_HASH_BYTES).digest()  # inlined: hot path
    return _HEAD(TOUCH_VERSION, digest, origin) + _encode(touch)


def encode_marked(touch: Touch, origin: int = 0) -> bytes:
    """As `encode_touch`, for a touch that Elo makes itself: no event id of a touchpoint repeats it."""
    return _HEAD(TOUCH_VERSION, event_hash(f"\x1f{touch.event_id}"), origin) + _encode(touch)


def decode_touch(encoded: bytes) -> Touch:
    """Inverse of `encode_touch`. Raises InvariantViolation for bytes that no version so far has written."""
    body = _BODIES.get(encoded[0]) if encoded else None
    if body is None:
        raise InvariantViolation("touch of an unknown version, upgrade this worker", version=encoded[:1])
    try:
        return _decode(memoryview(encoded)[body:])
    except msgspec.MsgspecError as error:
        raise InvariantViolation("touch cannot be decoded", error=str(error)) from error
