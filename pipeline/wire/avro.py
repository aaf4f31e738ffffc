"""Avro values in the Confluent wire format: five bytes of header, then the record.

Bad bytes are a `Rejection`, never an exception. It must not judge what a record says: that is the core's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Final

import orjson
from fastavro import schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException

from pipeline.core.errors import Reason, Rejection

from .fast import FAST_TOUCHPOINT_VERSION, read_touchpoint
from .registry import HEADER, HEADER_BYTES, MAGIC, Registry, Schema, default_registry, parse

_BROKEN: Final = (EOFError, ValueError, IndexError, OverflowError, MemoryError, TypeError)
# What fastavro raises on bytes that are not the record: cut off, no UTF-8, union or enum index out of range.


class TouchpointDecoder:
    """Reads touchpoints that any registered version wrote, in the shape of the newest; instants are `int` ms.

    Calling it is the hot path. The common shape is read by `fast.read_touchpoint`, all the rest by fastavro.
    """

    def __init__(
        self, registry: Registry | None = None, lookup: Callable[[int], Schema | None] | None = None
    ) -> None:
        """`lookup`: where a schema is asked for whose id the registry does not have for touchpoints."""
        registry = registry or default_registry()
        versions = registry.by_subject["touchpoint"]
        newest = versions[-1]
        self._registry = registry
        self._lookup = lookup
        self._newest = newest
        # Header to (writer, reader); no resolution for the newest.
        self._schemas: dict[bytes, tuple[Schema, Schema | None]] = {
            schema.header: (schema.parsed, None if schema is newest else newest.parsed) for schema in versions
        }
        is_newest_fast = newest.version == FAST_TOUCHPOINT_VERSION
        self._header_fast = newest.header if is_newest_fast else None

    def __call__(self, value: bytes) -> dict[str, Any] | Rejection:
        """`value`: the whole value, header included. Returns the record, or why it cannot be read."""
        header = value[:HEADER_BYTES]
        if header == self._header_fast and (record := read_touchpoint(value)) is not None:
            return record
        schemas = self._schemas.get(header)
        if schemas is None:
            schemas = self._looked_up(header)
        if schemas is None:
            return _unknown_header(self._registry, value, "touchpoint")
        return _read(value, *schemas)

    def _looked_up(self, header: bytes) -> tuple[Schema, Schema | None] | None:
        """Writer and reader for an id of somebody else's registry, from now on known; None: there is none."""
        if self._lookup is None or len(header) != HEADER_BYTES or header[0] != MAGIC:
            return None
        raw = self._lookup(HEADER.unpack(header)[1])
        if raw is None:
            return None
        try:
            writer = parse(raw)
        except (SchemaParseException, ValueError, TypeError):
            return None
        schemas = self._schemas[header] = (writer, self._newest.parsed)
        return schemas


class RecordDecoder:
    """Reads values of whatever schema a registry has for their id, by that schema alone.

    Logical types are taken off: a decimal is `bytes`, an instant an `int`.
    """

    def __init__(self, lookup: Callable[[int], Schema | None]) -> None:
        """`lookup`: asks for the schema of an id, once for each; what it raises is raised."""
        self._lookup = lookup
        self._schemas: dict[int, Schema] = {}

    def __call__(self, value: bytes) -> dict[str, Any] | Rejection:
        """`value`: the whole value, header included. Returns the record, or why it cannot be read."""
        if len(value) < HEADER_BYTES or value[0] != MAGIC:
            return Rejection(Reason.MALFORMED_AVRO, detail="it has no header with the id of a schema")
        schema_id: int = HEADER.unpack(value[:HEADER_BYTES])[1]
        if schema_id not in self._schemas:
            raw = self._lookup(schema_id)
            try:
                if raw is None:
                    return Rejection(Reason.UNKNOWN_SCHEMA, detail=f"schema id {schema_id} is not registered")
                self._schemas[schema_id] = parse(raw)
            except (SchemaParseException, ValueError, TypeError):
                return Rejection(Reason.UNKNOWN_SCHEMA, detail=f"schema id {schema_id} cannot be read")
        return _read(value, self._schemas[schema_id], None)


def decode_record(value: bytes, registry: Registry | None = None) -> dict[str, Any] | Rejection:
    """Read a value of any registered subject. The record is plain JSON-able data: instants are `int` ms.

    Field names are those of the schema that wrote it. Not a hot path: for commands and tests.
    """
    registry = registry or default_registry()
    header = value[:HEADER_BYTES]
    schema = registry.by_id.get(HEADER.unpack(header)[1]) if len(header) == HEADER_BYTES else None
    if schema is None or header[0] != MAGIC:
        return _unknown_header(registry, value, "")
    return _read(value, schema.parsed, None)


def encode_record(subject: str, record: Mapping[str, Any], registry: Registry | None = None) -> bytes:
    """Write a record with the newest schema of a subject, by fastavro: for what is not on the hot path.

    Raises: ValueError when the record does not fit its schema.
    """
    schema = (registry or default_registry()).latest(subject)
    stream = BytesIO()
    stream.write(schema.header)
    try:
        schemaless_writer(stream, schema.parsed, record)
    except (TypeError, AttributeError, KeyError, OverflowError, ValueError) as error:
        raise ValueError(f"{subject} does not fit its schema: {error!r}") from error
    return stream.getvalue()


def encode_touchpoint(touchpoint: Mapping[str, Any]) -> bytes:
    """Write a touchpoint of the JSON shape as Avro: `traits` and `properties` may be objects, null is absent.

    Only what Avro cannot hold is refused; whether the touchpoint is a good one is for the intake to say.
    Raises: ValueError when a field has the wrong type or a required one is missing.
    """
    record: dict[str, Any] = {"traits": "{}", "properties": "{}", "consent": {}, "context": {}}
    record.update((name, part) for name, part in touchpoint.items() if part is not None)
    for name in ("traits", "properties"):
        if isinstance(record[name], Mapping):
            try:
                record[name] = orjson.dumps(record[name]).decode()
            except TypeError as error:  # orjson.JSONEncodeError: nested too deep, or not JSON
                raise ValueError(f"{name} cannot be written as JSON: {error}") from error
    for name, kinds in _AVRO_KINDS:
        part = record.get(name)
        if not isinstance(part, kinds) or isinstance(part, bool):
            raise ValueError(f"{name} must be given as {kinds.__name__}")
    for purpose, granted in record["consent"].items():
        if not isinstance(granted, bool):  # fastavro would write the truth of any value
            raise ValueError(f"consent.{purpose} must be given as bool")
    return encode_record("touchpoint", record)


_AVRO_KINDS: Final[tuple[tuple[str, type], ...]] = (
    ("event_id", str),
    ("source", str),
    ("type", str),
    ("occurred_at", int),
    ("identifiers", list),
    ("traits", str),
    ("properties", str),
    ("consent", dict),
    ("context", dict),
)


def _read(value: bytes, writer: Schema, reader: Schema | None) -> dict[str, Any] | Rejection:
    stream = BytesIO(value)
    stream.seek(HEADER_BYTES)
    try:
        record: dict[str, Any] = schemaless_reader(stream, writer, reader)  # type: ignore[assignment]
    except UnicodeDecodeError:
        return Rejection(Reason.MALFORMED_AVRO, detail="a string is not UTF-8")
    except SchemaResolutionError:
        return Rejection(Reason.UNKNOWN_SCHEMA, detail="its schema cannot be read as a touchpoint")
    except _BROKEN as error:
        return Rejection(Reason.MALFORMED_AVRO, detail=f"the record breaks off ({type(error).__name__})")
    if surplus := len(value) - stream.tell():
        return Rejection(Reason.MALFORMED_AVRO, detail=f"{surplus} bytes follow the record")
    return record


def _unknown_header(registry: Registry, value: bytes, expected: str) -> Rejection:
    """Say what is wrong with the first five bytes; `expected`: the subject that should be there, or empty."""
    if len(value) < HEADER_BYTES:
        return Rejection(Reason.MALFORMED_AVRO, detail=f"{len(value)} bytes are less than a header")
    magic, schema_id = HEADER.unpack(value[:HEADER_BYTES])
    if magic != MAGIC:
        return Rejection(Reason.MALFORMED_AVRO, detail=f"wrong magic byte 0x{magic:02x}")
    known = registry.by_id.get(schema_id)
    if known is None:
        return Rejection(Reason.UNKNOWN_SCHEMA, detail=f"schema id {schema_id} is not registered")
    return Rejection(Reason.UNKNOWN_SCHEMA, detail=f"schema {schema_id} is {known.subject}, not {expected}")
