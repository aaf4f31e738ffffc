"""Hand-written bytes equal fastavro's with the newest registered schema, for every record that we publish."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.outbox import MembershipChange, ProfileAlias
from pipeline.wire.avro import decode_record, encode_record
from pipeline.wire.records import (
    Profile,
    encode_membership_change,
    encode_profile,
    encode_profile_alias,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "wire_v1.json").read_text("utf-8"))
TEXT = st.one_of(
    st.text(max_size=10), st.text(min_size=55, max_size=75), st.text("é", min_size=4_000, max_size=4_200)
)
LONG = st.one_of(
    st.integers(-70, 70),
    st.integers(1 << 33, 1 << 43),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.sampled_from([63, 64, (1 << 34) - 1, 1 << 34, (1 << 41) - 1, 1 << 41, -(1 << 63), (1 << 63) - 1]),
)
INT = st.integers(-(1 << 31), (1 << 31) - 1)
NAMES = st.lists(st.text(max_size=12), max_size=3)
IDENTIFIERS = st.lists(
    st.builds("{}:{}".format, st.sampled_from(["email", "user_id"]), st.text(max_size=12)), max_size=70
)
CHANGES = st.builds(
    MembershipChange,
    change_id=TEXT,
    profile_id=TEXT,
    segment_id=TEXT,
    segment_version=INT,
    change=st.sampled_from(["entered", "exited"]),
    sequence=LONG,
    occurred_at=LONG,
    decided_at=LONG,
    cause=TEXT,
    event_ids=NAMES,
    backfill=st.booleans(),
    identifiers=IDENTIFIERS,
)
PROFILES = st.builds(
    Profile,
    profile_id=TEXT,
    identifiers=IDENTIFIERS,
    traits=TEXT,
    counters=st.dictionaries(st.text(max_size=12), LONG, max_size=3),
    consent=st.dictionaries(st.text(max_size=12), st.booleans(), max_size=3),
    memberships=st.dictionaries(st.text(max_size=12), st.tuples(LONG, LONG), max_size=3),
    aliases=NAMES,
    first_seen=LONG,
    last_seen=LONG,
    updated_at=LONG,
    policy_version=INT,
)
ALIASES = st.builds(
    ProfileAlias, old_profile_id=TEXT, profile_id=TEXT, decided_at=LONG, cause=TEXT, edge=st.none() | TEXT
)


def record_of(published: MembershipChange | Profile | ProfileAlias) -> dict[str, Any]:
    """The record as its schema has it."""
    record = msgspec.structs.asdict(published) if isinstance(published, Profile) else asdict(published)
    record.pop("silent", None)  # Where it is told, not what.
    if "identifiers" in record:
        record["identifiers"] = _split(record["identifiers"])
    if "memberships" in record:
        record["memberships"] = {
            segment_id: {"sequence": sequence, "since": since}
            for segment_id, (sequence, since) in record["memberships"].items()
        }
    return record


def _split(identifiers: Sequence[str]) -> list[dict[str, str]]:
    return [dict(zip(("type", "value"), identifier.split(":", 1), strict=True)) for identifier in identifiers]


@given(CHANGES)
@settings(max_examples=200)
def test_a_membership_change_by_hand_equals_fastavro(change: MembershipChange) -> None:
    value = encode_membership_change(change)
    assert value == encode_record("membership_change", record_of(change))
    assert decode_record(value) == record_of(change)


@given(PROFILES)
@settings(max_examples=200)
def test_a_profile_by_hand_equals_fastavro(profile: Profile) -> None:
    value = encode_profile(profile)
    assert value == encode_record("profile", record_of(profile))
    assert decode_record(value) == record_of(profile)


@given(ALIASES)
def test_a_profile_alias_by_hand_equals_fastavro(alias: ProfileAlias) -> None:
    value = encode_profile_alias(alias)
    assert value == encode_record("profile_alias", record_of(alias))
    assert decode_record(value) == record_of(alias)


@pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
def test_published_records_have_the_bytes_of_the_golden_file(case: dict[str, Any]) -> None:
    record = dict(case["record"])
    if case["subject"] == "membership_change":
        record["identifiers"] = _join(record["identifiers"])
        assert encode_membership_change(MembershipChange(**record)).hex() == case["hex"]
    elif case["subject"] == "profile":
        record["identifiers"] = _join(record["identifiers"])
        record["memberships"] = {
            name: (membership["sequence"], membership["since"])
            for name, membership in record["memberships"].items()
        }
        assert encode_profile(Profile(**record)).hex() == case["hex"]
    elif case["subject"] == "profile_alias":
        assert encode_profile_alias(ProfileAlias(**record)).hex() == case["hex"]


def _join(identifiers: list[dict[str, str]]) -> list[str]:
    return [f"{identifier['type']}:{identifier['value']}" for identifier in identifiers]


def test_what_a_record_cannot_hold_is_an_error() -> None:
    alias = ProfileAlias("p1", "p2", 1 << 63, "merge")
    with pytest.raises(OverflowError):
        encode_profile_alias(alias)
    change = MembershipChange("c", "p", "s", 1, "left", 1, 1, 1, "event")
    with pytest.raises(KeyError):
        encode_membership_change(change)
