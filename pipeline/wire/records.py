"""The records that Elo publishes, encoded by hand, which is the hot path.

Encoding by hand takes half of the time of fastavro. tests/unit/wire/test_records.py proves the bytes equal to
fastavro's with the newest registered schema, so a new schema version cannot be forgotten here. It must not
decide what is published. Identifiers are given as `type:value` and written as records of type and value, in
the order given; so are maps. Instants are `int` milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from pipeline.core.outbox import MembershipChange, ProfileAlias

from .registry import HEADER, MAGIC

NAMES_CACHED: Final = 4_096  # a hit costs 0.06 µs, encoding 0.2 µs
_INT64: Final = 1 << 63
_SMALL: Final = tuple(bytes([n << 1]) for n in range(64))
"""The varints of 0 to 63: nearly every length, count and version."""
_NONE: Final = b"\0"
"""A count of 0, which also ends every array and map; the first branch of a union; false."""
_TRUE: Final = b"\1"
_SECOND_BRANCH: Final = b"\2"
_CHANGES: Final = {"entered": b"\0", "exited": b"\2"}
_MEMBERSHIP_CHANGE: Final = HEADER.pack(MAGIC, 2)
_PROFILE: Final = HEADER.pack(MAGIC, 3)
_PROFILE_ALIAS: Final = HEADER.pack(MAGIC, 4)


class Profile(msgspec.Struct, frozen=True, gc=False):
    """A unified profile. `traits`: text of a JSON object; `memberships`: segment id to (sequence, since)."""

    profile_id: str
    identifiers: Sequence[str]
    traits: str
    counters: Mapping[str, int]
    consent: Mapping[str, bool]
    memberships: Mapping[str, tuple[int, int]]
    aliases: Sequence[str]
    first_seen: int
    last_seen: int
    updated_at: int
    policy_version: int


def encode_membership_change(change: MembershipChange) -> bytes:
    """The value for `segments.membership` and `segments.current`. Raises KeyError for an unknown `change`."""
    parts = [
        _MEMBERSHIP_CHANGE,
        _text(change.change_id),
        _text(change.profile_id),
        _name(change.segment_id),
        _long(change.segment_version),
        _CHANGES[change.change],
        _long(change.sequence),
        _long(change.occurred_at),
        _long(change.decided_at),
        _name(change.cause),
    ]
    _add_texts(parts, change.event_ids)
    parts.append(_TRUE if change.backfill else _NONE)
    _add_identifiers(parts, change.identifiers)
    return b"".join(parts)


def encode_profile(profile: Profile) -> bytes:
    """The value for `profiles.unified`."""
    parts = [_PROFILE, _text(profile.profile_id)]
    _add_identifiers(parts, profile.identifiers)
    parts.append(_text(profile.traits))
    if profile.counters:
        parts.append(_long(len(profile.counters)))
        for event_type, count in profile.counters.items():
            parts.append(_name(event_type))
            parts.append(_long(count))
    parts.append(_NONE)
    if profile.consent:
        parts.append(_long(len(profile.consent)))
        for purpose, granted in profile.consent.items():
            parts.append(_name(purpose))
            parts.append(_TRUE if granted else _NONE)
    parts.append(_NONE)
    if profile.memberships:
        parts.append(_long(len(profile.memberships)))
        for segment_id, (sequence, since_ms) in profile.memberships.items():
            parts.append(_name(segment_id))
            parts.append(_long(sequence))
            parts.append(_long(since_ms))
    parts.append(_NONE)
    _add_texts(parts, profile.aliases)
    parts.append(_long(profile.first_seen))
    parts.append(_long(profile.last_seen))
    parts.append(_long(profile.updated_at))
    parts.append(_long(profile.policy_version))
    return b"".join(parts)


def encode_profile_alias(alias: ProfileAlias) -> bytes:
    """The value for `profiles.merges`."""
    return b"".join(
        (
            _PROFILE_ALIAS,
            _text(alias.old_profile_id),
            _text(alias.profile_id),
            _long(alias.decided_at),
            _name(alias.cause),
            _NONE if alias.edge is None else _SECOND_BRANCH + _text(alias.edge),
        )
    )


def _text(text: str) -> bytes:
    raw = text.encode()
    length = len(raw)
    return (_SMALL[length] if length < 64 else _long(length)) + raw


_name: Final = lru_cache(maxsize=NAMES_CACHED)(_text)
"""The same for what comes again and again: segments, causes, event types, purposes, identifier types."""


def _long(number: int) -> bytes:
    """Zigzag varint. Raises OverflowError for what a long cannot hold: it would be read as another number."""
    if 0 <= number < 64:
        return _SMALL[number]
    rest = number << 1 if number >= 0 else ~(number << 1)
    if 1 << 35 <= rest < 1 << 42:  # six bytes: an instant between July 1970 and September 2039
        return bytes(
            (
                rest & 127 | 128,
                rest >> 7 & 127 | 128,
                rest >> 14 & 127 | 128,
                rest >> 21 & 127 | 128,
                rest >> 28 & 127 | 128,
                rest >> 35,
            )
        )
    if not -_INT64 <= number < _INT64:
        raise OverflowError("a long has 64 bits")
    encoded = bytearray()
    while rest > 127:
        encoded.append(rest & 127 | 128)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def _add_texts(parts: list[bytes], texts: Sequence[str]) -> None:
    if texts:
        parts.append(_long(len(texts)))
        parts.extend(map(_text, texts))
    parts.append(_NONE)


def _add_identifiers(parts: list[bytes], identifiers: Sequence[str]) -> None:
    if identifiers:
        parts.append(_long(len(identifiers)))
        for identifier in identifiers:
            type_name, _, text = identifier.partition(":")
            parts.append(_name(type_name))
            parts.append(_text(text))
    parts.append(_NONE)
