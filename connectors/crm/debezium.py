"""Change events of Debezium as touchpoints: a row that is read, made, changed or deleted.

A deleted row withdraws the traits that it brought; its identifiers keep their links, for the person was that
person. It must not know Kafka: it is given the value of a record.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

import orjson

from pipeline.core.errors import Reason, Rejection
from pipeline.core.touchpoint import read_json

from .mapping import BadValue, RowMapping

OPERATIONS: Final[Mapping[str, str]] = {
    "r": "contact_read",  # of a snapshot
    "c": "contact_created",
    "u": "contact_updated",
    "d": "contact_deleted",
}
"""Operation → type of the touchpoint; others (`t` truncate, `m` message) are not about a row."""
WITHOUT_ROW: Final = frozenset(("t", "m"))
POSITION: Final = ("name", "db", "schema", "table", "lsn", "file", "pos", "row", "scn", "txId", "ts_ms")
"""What of a change's source tells it from others, whatever the database."""


_PLACEHOLDER: Final = "__debezium_unavailable_value"
UNAVAILABLE: Final = (_PLACEHOLDER, _PLACEHOLDER.encode(), b64encode(_PLACEHOLDER.encode()).decode())
"""In place of a large value that did not change, which PostgreSQL does not send: it says nothing."""
ROWS_MAX: Final = 100_000
Decode = Callable[[bytes], dict[str, Any] | Rejection]
AVRO: Final = b"\0"  # the first byte of a value with the id of a schema


class Order:
    """Keeps changes of one row apart that were committed together, as all of a transaction are.

    Of two values at the same instant the greater would count, and not the last. So each further change is a
    millisecond later. At most ROWS_MAX rows are known; those that changed longest ago are forgotten.
    """

    def __init__(self) -> None:
        self._last: dict[object, tuple[int, int]] = {}

    def instant(self, row: object, at_ms: int) -> int:
        """When a change of a row counts as made, the changes of a row in their order. `row`: names it."""
        last_ms, further = self._last.pop(row, (-1, 0))
        further = further + 1 if at_ms == last_ms else 0
        self._last[row] = at_ms, further
        if len(self._last) > ROWS_MAX:
            del self._last[next(iter(self._last))]
        return at_ms + further


def read_change(
    value: bytes | None, mapping: RowMapping, decode: Decode | None = None
) -> dict[str, Any] | Rejection | None:
    """The touchpoint of a record, why there is none, or None for what is not about a row (a tombstone).

    `value`: the JSON that Debezium writes, with or without its schema, or Avro. `decode`: reads Avro, where
    there is a registry.
    """
    if value is None:
        return None
    if value.startswith(AVRO):
        detail = "Avro needs a schema registry, give one with ELO_SCHEMA_REGISTRY"
        document = decode(value) if decode else Rejection(Reason.UNKNOWN_SCHEMA, detail=detail)
    else:
        document = read_json(value)
    if isinstance(document, Rejection):
        return document
    event = document.get("payload", document) if "schema" in document else document
    if not isinstance(event, dict):
        return None  # a tombstone in its schema
    operation = event.get("op")
    if operation in WITHOUT_ROW:
        return None
    if operation not in OPERATIONS:
        return Rejection(Reason.INVALID_FIELD, "op", f"must be one of {', '.join(OPERATIONS)}")
    is_deleted = operation == "d"
    row, source = event.get("before" if is_deleted else "after"), event.get("source")
    if not isinstance(row, dict) or not isinstance(source, dict):
        field = ("before" if is_deleted else "after") if isinstance(source, dict) else "source"
        return Rejection(Reason.INVALID_FIELD, field, "must be an object; of deleted rows Debezium has it")
    committed_ms = source.get("ts_ms")
    if isinstance(committed_ms, bool) or not isinstance(committed_ms, int):
        return Rejection(Reason.INVALID_FIELD, "source.ts_ms", "must be milliseconds")
    try:
        row = {name: _as_in_json(given) for name, given in row.items() if given not in UNAVAILABLE}
        told = [operation, row, *(source.get(name) for name in POSITION)]
        event_id = sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except (TypeError, RecursionError):  # what orjson reads may be deeper than what it writes
        return Rejection(Reason.MALFORMED_JSON, detail="a row is nested too deep")
    if is_deleted:
        # Only whose row it was: where `before` has the key alone, the rest is null, or made up.
        names = {column.name for _, column in mapping.identifiers}
        row = {name: given for name, given in row.items() if name in names}
    try:
        touchpoint = mapping.touchpoint(row, event_id, committed_ms, takes_back=True)
    except BadValue as bad:
        return Rejection(Reason.INVALID_FIELD, bad.field, bad.detail)
    if is_deleted:
        touchpoint["traits"] = dict.fromkeys(mapping.traits)
    return touchpoint | {"type": OPERATIONS[operation]}


def _as_in_json(given: Any) -> Any:
    """A value of Avro as Debezium writes it in JSON, where bytes (a numeric is some) are base64."""
    if isinstance(given, bytes):
        return b64encode(given).decode()
    if isinstance(given, dict):
        return {name: _as_in_json(part) for name, part in given.items()}
    return [_as_in_json(part) for part in given] if isinstance(given, list) else given
