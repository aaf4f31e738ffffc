"""Dates of a person that are compared with now: on a day, on its anniversary, in the next or last days.

Decides the instants at which a calendar day begins and ends in a time zone. The tables of time zones are
data, like those of phone numbers; it must not know what time it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from ..duration import UNITS_MS
from .definition import DateOperator, Day, TraitDate
from .operators import instant_ms
from .signed import NO, during

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_DAY_MS: Final = UNITS_MS["d"]
_DATE: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_YEARS: Final = range(1, 9_998)  # years whose days and anniversaries can be reckoned with
_SHIFTS: Final = {Day.YESTERDAY: 1, Day.TODAY: 0, Day.TOMORROW: -1}
"""Days from the date to the day on which it is said: a date is "tomorrow" on the day before."""


def zone_of(name: str) -> tzinfo | None:
    """The time zone of an IANA name; None if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


@lru_cache(maxsize=1)
def zone_names() -> tuple[str, ...]:
    """All names, sorted, for suggestions."""
    return tuple(sorted(available_timezones()))


def compile_date(condition: TraitDate) -> Callable[[Any, int], int]:
    """(value of the trait, now in ms) → signed instant. A value that is no date never holds."""
    named = None if condition.timezone is None else zone_of(condition.timezone)
    zone: tzinfo = UTC if named is None else named
    operator, operand = condition.operator, condition.operand
    if isinstance(operand, Day):
        yearly, shift = operator is DateOperator.ANNIVERSARY, _SHIFTS[operand]

        def on_day(value: Any, now_ms: int) -> int:
            day = _day_of(value, zone)
            if day is None:
                return NO
            if yearly:
                return _anniversary(day, shift, zone, now_ms)
            return during(*_span(day, shift, zone), now_ms)

        return on_day
    length_ms, calendar = operand, named is not None and operand % _DAY_MS == 0
    ahead = operator is DateOperator.WITHIN_NEXT

    def in_window(value: Any, now_ms: int) -> int:
        at_ms = _instant_of(value, zone)
        if at_ms is None:
            return NO
        signed_ms = -length_ms if ahead else length_ms
        other_ms = _days_later(at_ms, signed_ms // _DAY_MS, zone) if calendar else at_ms + signed_ms
        return during(min(at_ms, other_ms), max(at_ms, other_ms), now_ms)

    return in_window


def _anniversary(day: date, shift: int, zone: tzinfo, now_ms: int) -> int:
    """The day itself and every year after it; 29 February is 28 February in other years."""
    this_year = _local(now_ms, zone).year
    first = max(day.year, this_year - 1)
    for year in range(first, first + 3):
        if year not in _YEARS:
            return NO
        begin_ms, end_ms = _span(_in_year(day, year), shift, zone)
        if now_ms < end_ms:
            return during(begin_ms, end_ms, now_ms)
    return NO


def _in_year(day: date, year: int) -> date:
    try:
        return day.replace(year=year)
    except ValueError:
        return date(year, 2, 28)


def _span(day: date, shift: int, zone: tzinfo) -> tuple[int, int]:
    """The first instant of a calendar day and that of the next one: 23 to 25 hours where clocks change."""
    shifted = day + timedelta(days=shift)
    return _midnight(shifted, zone), _midnight(shifted + timedelta(days=1), zone)


def _midnight(day: date, zone: tzinfo) -> int:
    # Where clocks skip midnight this is the instant at which they do; of two midnights it is the first.
    return (datetime(day.year, day.month, day.day, tzinfo=zone) - _EPOCH) // _MS


def _local(at_ms: int, zone: tzinfo) -> datetime:
    return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone)


def _days_later(at_ms: int, days: int, zone: tzinfo) -> int:
    """The same time of day so many calendar days later."""
    return (_local(at_ms, zone) + timedelta(days=days) - _EPOCH) // _MS


def _day_of(value: Any, zone: tzinfo) -> date | None:
    """The calendar day of a date, or of an instant in the zone."""
    found = _DATE.fullmatch(value) if isinstance(value, str) else None
    try:
        if found is not None:
            day = date(*map(int, found.groups()))
        else:
            at_ms = instant_ms(value)
            if at_ms is None:
                return None
            day = _local(at_ms, zone).date()
    except (ValueError, OverflowError):
        return None
    return day if day.year in _YEARS and day.year > 1 else None


def _instant_of(value: Any, zone: tzinfo) -> int | None:
    """The instant itself, or the midnight with which a date begins."""
    day = _day_of(value, zone)
    if day is None:
        return None
    if isinstance(value, str) and _DATE.fullmatch(value) is not None:
        return _midnight(day, zone)
    return instant_ms(value)
