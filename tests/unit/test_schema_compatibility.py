"""Every committed version of a schema stays readable, as its registry entry promises; none is ever edited.

The verdict is Apache Avro's own checker. A new version is checked as soon as it is in the registry.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import avro.schema
import fastavro.schema
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from pipeline.wire.registry import RegisteredSchema, default_registry

GOLDEN = Path(__file__).parent / "golden" / "schema_fingerprints.json"
MODES = ("BACKWARD_TRANSITIVE", "FULL_TRANSITIVE")
SCHEMAS = list(default_registry().by_id.values())
IDS = [f"{schema.subject}-v{schema.version}" for schema in SCHEMAS]


def faults(reader: Mapping[str, Any], writer: Mapping[str, Any]) -> list[str]:
    """Why `reader` cannot read all that `writer` writes; empty when it can."""
    result = ReaderWriterCompatibilityChecker().get_compatibility(
        avro.schema.parse(json.dumps(reader)), avro.schema.parse(json.dumps(writer))
    )
    if result.compatibility is SchemaCompatibilityType.compatible:
        return []
    return [f"{sorted(result.messages)} at {sorted(result.locations)}"]


def must_be_read(
    versions: tuple[RegisteredSchema, ...],
) -> Iterator[tuple[RegisteredSchema, RegisteredSchema]]:
    """Pairs (reader, writer) that the compatibility of the subject promises. Each version reads itself."""
    for older, newer in itertools.combinations_with_replacement(versions, 2):
        yield newer, older
        if newer.compatibility == "FULL_TRANSITIVE":
            yield older, newer


def added(schema: Mapping[str, Any], **field: object) -> dict[str, Any]:
    return {**schema, "fields": [*schema["fields"], field]}


@pytest.mark.parametrize("subject", sorted(default_registry().by_subject))
def test_every_version_reads_what_it_promises_to_read(subject: str) -> None:
    versions = default_registry().by_subject[subject]
    assert versions[0].compatibility in MODES
    for reader, writer in must_be_read(versions):
        assert faults(reader.raw, writer.raw) == []


def test_touchpoints_are_read_backward_and_outputs_in_both_directions() -> None:
    for subject, versions in default_registry().by_subject.items():
        expected = "BACKWARD_TRANSITIVE" if subject == "touchpoint" else "FULL_TRANSITIVE"
        assert {schema.compatibility for schema in versions} == {expected}


@pytest.mark.parametrize("schema", SCHEMAS, ids=IDS)
def test_a_field_with_a_default_may_be_added_and_one_without_may_not(schema: RegisteredSchema) -> None:
    optional = added(schema.raw, name="note", type="string", default="")
    assert faults(optional, schema.raw) == []
    assert faults(schema.raw, optional) == []
    assert faults(added(schema.raw, name="note", type="string"), schema.raw) != []


@pytest.mark.parametrize("schema", SCHEMAS, ids=IDS)
def test_a_changed_type_and_a_removed_required_field_are_found(schema: RegisteredSchema) -> None:
    first, *rest = schema.raw["fields"]
    assert (
        faults({**schema.raw, "fields": [{**first, "type": "bytes"}, *rest]}, schema.raw) == []
    )  # promotion
    assert faults({**schema.raw, "fields": [{**first, "type": "int"}, *rest]}, schema.raw) != []
    assert faults(schema.raw, {**schema.raw, "fields": rest}) != []


def test_the_check_covers_every_pair_of_versions() -> None:
    schema = SCHEMAS[1]
    pairs = list(must_be_read((schema, schema, schema)))
    assert len(pairs) == 2 * 6


@pytest.mark.parametrize("schema", SCHEMAS, ids=IDS)
def test_a_committed_version_is_never_edited(schema: RegisteredSchema) -> None:
    """Documentation may change; what is written and read may not: make a new version with a new id."""
    golden = json.loads(GOLDEN.read_text("utf-8"))
    canonical = fastavro.schema.to_parsing_canonical_form(dict(schema.raw))
    fingerprint = fastavro.schema.fingerprint(canonical, "SHA-256")
    assert golden[f"{schema.subject}/v{schema.version}"] == {"id": schema.id, "sha256": fingerprint}


def test_no_committed_version_is_removed() -> None:
    golden = json.loads(GOLDEN.read_text("utf-8"))
    assert set(golden) == {f"{schema.subject}/v{schema.version}" for schema in SCHEMAS}


@pytest.mark.parametrize("schema", SCHEMAS, ids=IDS)
def test_every_instant_is_a_timestamp_in_milliseconds(schema: RegisteredSchema) -> None:
    for path, part in _walk(schema.raw):
        name = path[-1]
        if name.endswith(("_at", "_seen")) or name == "since":
            assert part == {"type": "long", "logicalType": "timestamp-millis"}, path


def _walk(schema: Any, path: tuple[str, ...] = ("",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every field of a schema with its path and its type."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _walk(branch, path)
    elif isinstance(schema, dict):
        for field in schema.get("fields", ()):
            yield (*path, field["name"]), field["type"]
            yield from _walk(field["type"], (*path, field["name"]))
        for inner in ("items", "values"):
            yield from _walk(schema.get(inner), path)
