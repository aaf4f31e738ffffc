"""Part of the segment oracle: single values, lengths of time, calendars. Shares no code with `pipeline`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EDGE_DAYS = 400  # for which calendar days are looked at


@cache
def midnights(zone: str, day: int) -> list[int]:
    """When the calendar turns a page in a zone, from a day on."""
    first, last = day // 50, (day + EDGE_DAYS) // 50
    return [at for fifty in range(first, last + 1) for at in _midnights_of(zone, fifty)]


@cache
def _midnights_of(zone: str, fifty: int) -> list[int]:
    """The same in one stretch of fifty days: tried every quarter of an hour."""
    quarter, found = UNITS["m"] * 15, []
    first = fifty * 50 * UNITS["d"]
    before = local(first - quarter, zone).date()
    for at in range(first, first + 50 * UNITS["d"], quarter):
        shown = local(at, zone).date()
        if shown != before:
            found.append(at)
        before = shown
    return found


def local(at_ms: int, zone: str) -> datetime:
    """What clocks and calendars show in a zone."""
    return (EPOCH + timedelta(milliseconds=at_ms)).astimezone(ZoneInfo(zone))


def duration_ms(text: str) -> int:
    """A length of time, as it is written, in ms."""
    number, unit = re.fullmatch(r"(\d+)([a-z]+)", text).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


def passes(value: Any, tests: Mapping[str, Any]) -> bool:
    """Whether a value passes all tests."""
    return all(_passes_one(value, operator, operand) for operator, operand in tests.items())


def _passes_one(value: Any, operator: str, operand: Any) -> bool:
    if operator == "exists":
        return bool((value is not None) == operand)
    if operator == "is_not":
        return not _same(value, operand)
    if value is None:
        return False
    if operator == "is":
        return _same(value, operand)
    if operator == "in":
        return any(_same(value, one) for one in operand)
    if operator == "contains":
        if isinstance(value, list):
            return any(_same(one, operand) for one in value)
        return isinstance(value, str) and isinstance(operand, str) and operand in value
    if operator == "matches":
        return isinstance(value, str) and bool(re.search(operand, value[:1024]))
    if operator in ("before", "after"):
        left, right = instant_of(value), instant_of(operand)
        if left is None or right is None:
            return False
        return left < right if operator == "before" else left > right
    if not is_number(value):
        return False
    return {
        "gt": value > operand, "gte": value >= operand, "lt": value < operand, "lte": value <= operand
    }[operator]  # fmt: skip


def is_number(value: Any) -> bool:
    """Whether a value is a number: true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(a: Any, b: Any) -> bool:
    if is_number(a) and is_number(b):
        return bool(a == b)
    return type(a) is type(b) and bool(a == b)


def instant_of(value: Any) -> datetime | None:
    """The instant that a value names, if it does."""
    if is_number(value):
        return (
            datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value) if value == int(value) else None
        )
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
