"""The generator of the reference job: repeatable, and what it promises about people and mess is so."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.core.errors import Reason, Rejection
from pipeline.core.segments.parse import parse_definitions
from pipeline.core.touchpoint import TouchpointReader
from pipeline.settings import load_policy, load_settings
from pipeline.topics import SOURCES
from pipeline.wire.avro import TouchpointDecoder
from pipeline.wire.registry import default_registry
from tests.bench import generator
from tests.bench.load import encode
from tests.bench.oracle import SEGMENTS, Oracle, clean_identifiers

END_MS: Final = 1_790_000_000_000
BENCH: Final = Path(generator.__file__).parent


def test_the_same_arguments_give_the_same_bytes() -> None:
    first = [
        (event.source, event.key, encode(event.record)) for event in generator.touchpoints(2_000, 7, END_MS)
    ]
    again = [
        (event.source, event.key, encode(event.record)) for event in generator.touchpoints(2_000, 7, END_MS)
    ]
    assert first == again


def test_another_seed_gives_other_touchpoints() -> None:
    assert list(generator.touchpoints(100, 7, END_MS)) != list(generator.touchpoints(100, 8, END_MS))


def test_moving_the_end_moves_every_instant_and_nothing_else() -> None:
    moved_ms = 3_600_000
    here_and_there = (generator.touchpoints(1_000, 7, end_ms) for end_ms in (END_MS, END_MS + moved_ms))
    for here, there in zip(*here_and_there, strict=True):
        moved = {**here.record, "occurred_at": here.record["occurred_at"] + moved_ms}
        assert (there.source, there.key, there.record) == (here.source, here.key, moved)


def test_no_touchpoint_happens_after_the_end_or_before_the_span() -> None:
    instants = [event.record["occurred_at"] for event in generator.touchpoints(5_000, 7, END_MS)]
    assert min(instants) >= END_MS - generator.SPAN_MS - generator.JITTER_MS
    assert max(instants) <= END_MS


def test_repeats_and_sources_come_in_their_shares() -> None:
    events = list(generator.touchpoints(20_000, 7, END_MS))
    repeats = len(events) - len({event.record["event_id"] for event in events})
    assert 0.015 < repeats / len(events) < 0.025
    sources = Counter(event.source for event in events)
    assert sources["web"] > sources["app"] > sources["email"] > 0 < sources["crm"]
    assert {event.source for event in events} == set(SOURCES)


@pytest.mark.parametrize(
    ("base", "cpf"), [(529982247, "52998224725"), (111444777, "11144477735"), (0, "0" * 11)]
)
def test_a_cpf_has_its_check_digits(base: int, cpf: str) -> None:
    assert generator.cpf_of(base) == cpf


def test_no_two_people_share_an_identifier_and_nobody_exceeds_a_limit() -> None:
    oracle = Oracle()
    for event in generator.touchpoints(20_000, 7, END_MS):
        oracle.add(event.record)
    for profile in oracle.profiles():
        types = Counter(identifier.partition(":")[0] for identifier in profile.identifiers)
        assert max(types["user_id"], types["cpf"], types["email"], types["phone"]) <= 1
        assert max(types["device_id"], types["anonymous_id"]) <= 3


def test_the_intake_reads_every_touchpoint_as_the_oracle_does() -> None:
    policy = load_policy(load_settings())
    reader = TouchpointReader(policy, SOURCES, TouchpointDecoder())
    for event in generator.touchpoints(5_000, 7, END_MS):
        touch = reader.read(encode(event.record), now_ms=END_MS)
        expected = clean_identifiers(event.record)
        if isinstance(touch, Rejection):
            assert (touch.reason, expected) == (Reason.NO_USABLE_IDENTIFIER, [])
        else:
            assert touch.identifiers == expected


def test_the_definitions_of_the_job_are_good_and_are_those_of_the_oracle() -> None:
    definitions = parse_definitions((BENCH / "segments.yaml").read_text(encoding="utf-8"))
    assert tuple(definition.id for definition in definitions) == SEGMENTS


def test_kafka_streams_reads_the_same_bytes_as_elo() -> None:
    file = BENCH / "kstreams/src/main/avro/touchpoint.avsc"
    theirs = json.loads(file.read_text(encoding="utf-8"))
    assert _shape(theirs) == _shape(default_registry().latest("touchpoint").raw)


def _shape(schema: Any) -> Any:
    """What of a schema decides the bytes: not the names of records, logical types, defaults and comments."""
    if not isinstance(schema, dict):
        return schema
    if "fields" in schema:
        return [(field["name"], _shape(field["type"])) for field in schema["fields"]]
    kept = {name: _shape(part) for name, part in schema.items() if name in ("type", "items", "values")}
    return kept["type"] if set(kept) == {"type"} else kept
