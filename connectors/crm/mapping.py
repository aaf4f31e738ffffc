"""The mapping of a row's columns to a touchpoint, read from YAML and checked.

It decides how a value of a CSV file or of Debezium becomes a trait, an identifier, a consent, an instant. It
must not know where rows come from. Whether the touchpoint is a good one is for the intake to say.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from math import isinf
from typing import Any, Final

from pipeline.core.segments.document import NOWHERE, DefinitionError, Node, read_yaml, similar_to

KEYS: Final = ("source", "type", "identifiers", "traits", "properties", "consent", "occurred_at")
COLUMN_KEYS: Final = ("column", "as", "scale", "unit")
EXAMPLE: Final = "identifiers: {email: E-mail}"
TYPE: Final = "contact_updated"
YES: Final = frozenset(("true", "t", "yes", "y", "1", "sim", "s"))
NO: Final = frozenset(("false", "f", "no", "n", "0", "não", "nao"))
EPOCH: Final = date(1970, 1, 1)
MICROSECONDS_MIN: Final = 100_000_000_000_000  # as milliseconds this were the year 5138
NANOSECONDS_MIN: Final = MICROSECONDS_MIN * 1_000
MILLISECONDS_MIN: Final = 100_000_000_000  # as seconds this were the year 5138
WHOLE_MAX: Final = 1 << 63
"""What JSON and Avro hold as a whole number. 1e999999999 as one would fill the memory."""
DAY_NS: Final = 86_400_000_000_000
UNITS: Final[Mapping[str, int]] = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
"""Unit of an instant that is a number → nanoseconds."""

Row = Mapping[str, Any]


class BadValue(Exception):
    """A value that is not what the mapping says of its column; `field` is the path in the touchpoint."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field, self.detail = field, detail


@dataclass(frozen=True, slots=True)
class Column:
    """Where a value comes from and what it is."""

    name: str
    read: Callable[[Any], Any]
    what: str

    def of(self, row: Row, field: str) -> Any:
        """The value in a row, None when it is empty. Raises BadValue."""
        given = row.get(self.name)
        if isinstance(given, str):
            given = given.strip()
        if given is None or given == "":
            return None
        try:
            return self.read(given)
        except (ValueError, TypeError, KeyError, OverflowError, InvalidOperation, binascii.Error):
            raise BadValue(field, f"the column {self.name} must be {self.what}") from None


@dataclass(frozen=True, slots=True)
class RowMapping:
    """A checked mapping. `identifiers` in the order of the file; a type may have several columns."""

    source: str
    type: str
    identifiers: tuple[tuple[str, Column], ...]
    traits: dict[str, Column]
    properties: dict[str, Column]
    consent: dict[str, Column]
    occurred_at: Column | None

    def columns(self) -> set[str]:
        """Every column that is asked for."""
        parts = [*self.traits.values(), *self.properties.values(), *self.consent.values()]
        parts += [column for _, column in self.identifiers]
        return {column.name for column in parts + ([self.occurred_at] if self.occurred_at else [])}

    def touchpoint(self, row: Row, event_id: str, now_ms: int, *, takes_back: bool) -> dict[str, Any]:
        """The touchpoint of a row. `now_ms`: when nothing says when it happened.

        `takes_back`: an empty trait withdraws what was there before; otherwise it says nothing. A column that
        the row does not have never says anything. Raises BadValue.
        """
        there = {name: column for name, column in self.traits.items() if column.name in row}
        values = {name: column.of(row, f"traits.{name}") for name, column in there.items()}
        at = self.occurred_at.of(row, "occurred_at") if self.occurred_at else None
        found = [
            {"type": kind, "value": str(value)}
            for kind, column in self.identifiers
            if (value := column.of(row, f"identifiers.{kind}")) is not None
        ]
        return {
            "event_id": event_id,
            "source": self.source,
            "type": self.type,
            "occurred_at": now_ms if at is None else at,
            "identifiers": found,
            "traits": values if takes_back else _without_none(values),
            "properties": _without_none(
                {name: column.of(row, f"properties.{name}") for name, column in self.properties.items()}
            ),
            "consent": _without_none(
                {name: column.of(row, f"consent.{name}") for name, column in self.consent.items()}
            ),
            "context": {},
        }


def read_mapping(text: str) -> RowMapping:
    """The mapping of a YAML text. Raises DefinitionError with line, column and a suggestion."""
    trees = read_yaml(text)
    if len(trees) != 1:
        raise DefinitionError(
            trees[1].place if trees else NOWHERE, "one mapping is needed", f"write {EXAMPLE}"
        )
    top = trees[0].mapping("the mapping", EXAMPLE)
    _check_keys(top, KEYS)
    if "identifiers" not in top:
        trees[0].refuse("identifiers is missing", f"write {EXAMPLE}")
    identifiers: list[tuple[str, Column]] = []
    for kind, node in top["identifiers"].mapping("identifiers", "{email: E-mail}").items():
        for entry in node.value if isinstance(node.value, list) else [node]:
            identifiers.append((kind, _column(entry, "text")))
    at = top.get("occurred_at")
    return RowMapping(
        _text(top, "source", "crm"),
        _text(top, "type", TYPE),
        tuple(identifiers),
        _columns(top, "traits", "text"),
        _columns(top, "properties", "text"),
        _columns(top, "consent", "boolean"),
        None if at is None else _column(at, "instant", as_ms=True),
    )


def _check_keys(entries: dict[str, Node], known: tuple[str, ...]) -> None:
    for key, node in entries.items():
        if key not in known:
            raise DefinitionError(node.key_place, f"{key!r} is not known here", similar_to(key, known))


def _text(entries: dict[str, Node], key: str, default: str) -> str:
    return entries[key].text(key, default) if key in entries else default


def _columns(top: dict[str, Node], key: str, kind: str) -> dict[str, Column]:
    if key not in top:
        return {}
    entries = top[key].mapping(key, "{city: City}")
    return {name: _column(node, kind) for name, node in entries.items()}


def _column(node: Node, kind: str, *, as_ms: bool = False) -> Column:
    """A column by its name, or a mapping of `column`, `as`, of a decimal `scale`, of an instant `unit`."""
    if not isinstance(node.value, dict):
        return Column(node.text("a column", "E-mail"), _reader(kind, 0, "", as_ms), READERS[kind][1])
    entries = node.mapping("a column", "{column: Born, as: date}")
    _check_keys(entries, COLUMN_KEYS)
    if "column" not in entries:
        node.refuse("column is missing", "write for example {column: Born, as: date}")
    given = _text(entries, "as", kind)
    if given not in READERS:
        entries["as"].refuse(f"{given!r} is no kind of value", similar_to(given, tuple(READERS)))
    scale = entries["scale"].value if "scale" in entries else 0
    if isinstance(scale, bool) or not isinstance(scale, int) or not 0 <= scale <= 30:
        entries["scale"].refuse("scale is a whole number from 0 to 30", "write for example scale: 2")
    unit = _text(entries, "unit", "")
    if "unit" in entries and (unit not in UNITS or given not in ("instant", "date")):
        entries["unit"].refuse(
            "unit is s, ms, us or ns, of an instant or a date", "write for example unit: us"
        )
    read = _reader(given, scale, unit, as_ms)
    return Column(entries["column"].text("column", "Born"), read, READERS[given][1])


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


# -- values ------------------------------------------------------------------------------------------------


def _as_text(given: Any) -> Any:
    """As it is; what is not text keeps its kind."""
    return given


def _as_number(given: Any) -> int | float:
    if isinstance(given, bool):
        raise ValueError
    number = Decimal(str(given).strip())
    if not number.is_finite():
        raise ValueError
    is_whole = -WHOLE_MAX <= number < WHOLE_MAX and number == number.to_integral_value()
    found = int(number) if is_whole else float(number)
    if isinf(found):
        raise ValueError
    return found


def _as_boolean(given: Any) -> bool:
    word = str(given).strip().lower()
    if word not in YES and word not in NO:
        raise ValueError
    return word in YES


def _as_date(given: Any, unit: str = "") -> str:
    """An ISO date, of a longer instant its day; a number without a unit is days since 1970."""
    if isinstance(given, int) and not isinstance(given, bool):
        days = given * UNITS[unit] // DAY_NS if unit else given
        return (EPOCH + timedelta(days=days)).isoformat()
    return date.fromisoformat(str(given)[:10]).isoformat()


def _to_ms(given: Any, unit: str = "") -> int:
    """ISO 8601 without a zone is UTC; a number without a unit is s, ms, µs or ns since 1970, by its size."""
    if isinstance(given, bool):
        raise ValueError
    if isinstance(given, str) and not given.isdecimal():
        at = datetime.fromisoformat(given)
        return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    number = int(given)
    size = abs(number)
    if not unit:
        unit = "ns" if size >= NANOSECONDS_MIN else "us" if size >= MICROSECONDS_MIN else "ms"
        unit = unit if size >= MILLISECONDS_MIN else "s"
    return number * UNITS[unit] // UNITS["ms"]


def _as_instant(given: Any, unit: str = "") -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=_to_ms(given, unit))
    return at.isoformat(timespec="milliseconds")


def _as_decimal(given: Any, scale: int) -> int | float:
    """Debezium's bytes of a numeric: base64 of the unscaled number, big-endian.

    A numeric without a scale of its own brings it along with each value.
    """
    if isinstance(given, Mapping):
        given, scale = given["value"], given["scale"]
    unscaled = int.from_bytes(b64decode(given, validate=True), "big", signed=True)
    return _as_number(Decimal(unscaled).scaleb(-scale))


READERS: Final[Mapping[str, tuple[Callable[..., Any], str]]] = {
    "text": (_as_text, "a text"),
    "number": (_as_number, "a number such as 12.50"),
    "boolean": (_as_boolean, "yes or no"),
    "date": (_as_date, "a date such as 2026-11-23"),
    "instant": (_as_instant, "an instant such as 2026-11-23T10:00:00Z"),
    "decimal": (_as_decimal, "the bytes of a decimal in base64"),
}
"""What a value may be: how it is read, and what it must be in words."""


def _reader(kind: str, scale: int, unit: str, as_ms: bool) -> Callable[[Any], Any]:
    if as_ms:
        return lambda given: _to_ms(given, unit)
    if kind == "decimal":
        return lambda given: _as_decimal(given, scale)
    if kind == "instant":
        return lambda given: _as_instant(given, unit)
    if kind == "date":
        return lambda given: _as_date(given, unit)
    return READERS[kind][0]
