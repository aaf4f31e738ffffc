"""Birth dates as people write them, and what two of them have in common."""

from __future__ import annotations

import re
from typing import Final

from rapidfuzz.distance import OSA

from .text import digits_of

EXACT: Final = 0
SWAPPED: Final = 1  # day and month turned round
SLIP: Final = 2  # one digit wrong, or two digits turned round
TWO_PARTS: Final = 3  # two of year, month and day agree
TWO_SLIPS: Final = 4
NEAR: Final = 5  # the years are at most one apart
DIFFERENT: Final = 6

Date = tuple[int, int, int]
"""Year, month and day; 0 for what is not known."""

_ISO: Final = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_PARTS: Final = re.compile(r"(\d{1,4})[/.\- ](\d{1,2})[/.\- ](\d{1,4})")
_COMPACT: Final = re.compile(r"(\d{4})(0\d|1[0-2])(\d{2})")
_MONTHS: Final = "jan; feb fev; mar; apr abr; may mai; jun; jul; aug ago; sep set; oct out; nov; dec dez"
_NAMED: Final = {name: str(at) for at, names in enumerate(_MONTHS.split(";"), 1) for name in names.split()}
_LETTERS: Final = re.compile(r"[^\W\d_]+")
_YEAR: Final = re.compile(r"(\d{4})(?:-(\d{1,2}))?")
_TIME: Final = re.compile(r"[ T]\d{1,2}:\d{2}.*")
DATE_DIGITS: Final = 8
MARKS_MAX: Final = 4
FILLER: Final = (1900, 1, 1)  # the first day of spreadsheets and of some databases
CENTURIES: Final = ("18", "19", "20")
CENTURY_PIVOT: Final = 30  # a year of two digits up to it is of this century


def parse_date(text: str) -> Date | None:
    """Any of the usual layouts; where day and month could be either, the day comes first if it must.

    A day that could be a month is read in the order of `DD/MM`; comparison forgives the other order. A time
    of day is left out. The year 0 and `FILLER` are what programs write for no date.
    """
    date = _read_date(_numbered(_TIME.sub("", text.strip())))
    return date if date is not None and date[0] and date != FILLER else None


def _read_date(text: str) -> Date | None:
    found = _ISO.match(text) or _COMPACT.fullmatch(text)
    if found is not None:
        return int(found[1]), int(found[2]), int(found[3])
    found = _PARTS.fullmatch(text)
    if found is not None:
        first, second, third = int(found[1]), int(found[2]), int(found[3])
        if len(found[1]) == 4:
            return first, second, third
        year = third if len(found[3]) == 4 else third + (2000 if third <= CENTURY_PIVOT else 1900)
        return (year, first, second) if second > 12 else (year, second, first)
    found = _YEAR.fullmatch(text)
    if found is not None:
        return int(found[1]), int(found[2] or 0), 0
    return _parse_digits(text)


def _parse_digits(text: str) -> Date | None:
    """A date whose marks were typed wrongly or left out: eight digits, the year first or last."""
    digits = digits_of(text)
    if len(digits) != DATE_DIGITS or len(text) > DATE_DIGITS + MARKS_MAX:
        return None
    year_first, year_last = digits[:2] in CENTURIES, digits[4:6] in CENTURIES
    if year_last and (not year_first or digits[2:4] <= "12"):
        return int(digits[4:]), int(digits[2:4]), int(digits[:2])
    if year_first:
        return int(digits[:4]), int(digits[4:6]), int(digits[6:])
    return None


def _numbered(text: str) -> str:
    """A date with its month as a number: `Mar 1 1970` and `1 de março de 1970` as day, month and year."""
    months = (_NAMED.get(word[:3].lower()) for word in _LETTERS.findall(text))
    month = next((month for month in months if month is not None), None)
    if month is None:
        return text
    numbers = re.findall(r"\d+", text)
    return f"{numbers[0]}/{month}/{numbers[1]}" if len(numbers) == 2 else text


def write_date(date: Date) -> str:
    """Year, month and day as eight digits."""
    return f"{date[0]:04}{date[1]:02}{date[2]:02}"


def compare_dates(a: Date, b: Date) -> int:
    """EXACT to DIFFERENT, of two whole dates. Symmetric."""
    if a == b:
        return EXACT
    year, month, day = a[0] == b[0], a[1] == b[1], a[2] == b[2]
    if year and a[1] == b[2] and a[2] == b[1]:
        return SWAPPED
    slips = OSA.distance(write_date(a), write_date(b), score_cutoff=2)
    if slips == 1:
        return SLIP
    if year + month + day == 2:
        return TWO_PARTS
    if slips == 2:
        return TWO_SLIPS
    return NEAR if abs(a[0] - b[0]) <= 1 else DIFFERENT


def same_as_far_as_known(a: Date, b: Date) -> bool:
    """Whether two dates, of which one is not whole, agree in the parts that both have."""
    return a[0] == b[0] and (a[1] == b[1] or not a[1] or not b[1])
