"""The schema registry: which id stands for which version of which schema, from the committed `registry.json`.

It decides how a schema is parsed (logical types are taken off, so that an instant stays an `int` of
milliseconds). It must not know what any schema means.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from struct import Struct
from types import MappingProxyType
from typing import Any, Final

import fastavro

from pipeline.core.errors import ConfigError

SCHEMAS: Final = Path(__file__).resolve().parents[2] / "schemas"
"""The package `schemas`, beside `pipeline` in the repository and when installed. Found by its place, since
another module of so common a name may come first on the import path."""
MAGIC: Final = 0
"""First byte of the Confluent wire format; the schema id follows, 4 bytes, big-endian."""
HEADER: Final = Struct(">BI")
HEADER_BYTES: Final = HEADER.size
Schema = str | list[Any] | dict[str, Any]
"""A schema as JSON has it; what fastavro parses and what it returns."""


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """One version of one schema. `raw` is the file as committed, `parsed` the same without logical types."""

    id: int
    subject: str
    version: int
    compatibility: str
    topics: tuple[str, ...]
    raw: Mapping[str, Any]
    parsed: Schema

    @property
    def header(self) -> bytes:
        """The five bytes before a value written with this schema."""
        return HEADER.pack(MAGIC, self.id)


class Registry:
    """All registered schemas, by id and by subject. Immutable."""

    def __init__(self, schemas: Iterable[RegisteredSchema]) -> None:
        """`schemas`: versions of a subject in ascending order. Raises ConfigError if they clash."""
        by_id: dict[int, RegisteredSchema] = {}
        by_subject: dict[str, tuple[RegisteredSchema, ...]] = {}
        for schema in schemas:
            if schema.id in by_id:
                raise ConfigError(f"schema registry: id {schema.id} is given twice, use the next free id")
            versions = by_subject.get(schema.subject, ())
            if schema.version != len(versions) + 1:
                expected = len(versions) + 1
                raise ConfigError(f"schema registry: the next version of {schema.subject} must be {expected}")
            by_id[schema.id] = schema
            by_subject[schema.subject] = (*versions, schema)
        self.by_id: Mapping[int, RegisteredSchema] = MappingProxyType(by_id)
        self.by_subject: Mapping[str, tuple[RegisteredSchema, ...]] = MappingProxyType(by_subject)

    def latest(self, subject: str) -> RegisteredSchema:
        """The newest version of a subject. Raises KeyError for a subject that is not registered."""
        return self.by_subject[subject][-1]


@lru_cache(maxsize=1)
def default_registry() -> Registry:
    """The registry that is shipped with Elo."""
    return load_registry(SCHEMAS)


def load_registry(directory: Path) -> Registry:
    """Read `registry.json` and the schema files beside it. Raises ConfigError when they do not fit."""
    try:
        entries = json.loads(directory.joinpath("registry.json").read_text("utf-8"))["schemas"]
        return Registry(_read_schema(directory, entry) for entry in entries)
    except (OSError, KeyError, TypeError, ValueError, fastavro.schema.SchemaParseException) as error:
        raise ConfigError(f"schema registry: cannot be read, install Elo again ({error!r})") from error


def _read_schema(directory: Path, entry: Mapping[str, Any]) -> RegisteredSchema:
    raw = json.loads(directory.joinpath(entry["file"]).read_text("utf-8"))
    return RegisteredSchema(
        id=entry["id"],
        subject=entry["subject"],
        version=entry["version"],
        compatibility=entry["compatibility"],
        topics=tuple(entry["topics"]),
        raw=raw,
        parsed=parse(raw),
    )


def parse(raw: Schema) -> Schema:
    """A schema as fastavro reads by it. Raises SchemaParseException."""
    parsed: Schema = fastavro.parse_schema(_without_logical_types(raw), named_schemas={})
    return parsed


def _without_logical_types(schema: Schema) -> Schema:
    """The same schema, same bytes, in which an instant is read as an `int` and not as a `datetime`."""
    if isinstance(schema, dict):
        return {key: _without_logical_types(part) for key, part in schema.items() if key != "logicalType"}
    return [_without_logical_types(part) for part in schema] if isinstance(schema, list) else schema
