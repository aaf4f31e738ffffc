"""The comparisons, their levels, and a finding: what one comparison of two records has found, as one number.

A finding holds the comparison, its level and how many records hold the value that agrees (the rarer of two
that almost agree).
"""

from __future__ import annotations

from typing import Final

NAMES: Final = (
    "given_name", "surname", "middle_name", "name_order", "birth_date", "gender", "national_id", "other_id",
    "phone", "email", "address", "birth_place", "occupation", "mother_name", "ethnicity", "org_name",
    "record_type", "initial", "birth_year", "generation",
)  # fmt: skip
"""The comparisons, by number."""
GIVEN, FAMILY, MIDDLE, ORDER, BIRTH, GENDER, NATIONAL_ID, OTHER_ID = range(8)
PHONE, EMAIL, ADDRESS, PLACE, OCCUPATION, MOTHER, ETHNICITY, ORG = range(8, 16)
TYPE, INITIAL, BIRTH_YEAR, GENERATION = range(16, 20)

# Given and family names go by the levels of text.py up to SIMILAR; then:
MOVED = 5  # the word stands elsewhere in the other name
UNLIKE = 6
# Words between given name and surname.
ALL_WORDS, SOME_WORDS, INITIALS, NO_WORDS, CLOSE_WORDS = range(5)
IN_ORDER, TURNED = range(2)  # surname for given name
# Comparisons that have no levels of their own.
SAME, ALMOST, OTHER = range(3)
SAME_MAILBOX = 3  # the same e-mail at another provider
PARTLY = 3  # of a mother's names
# Addresses: the most exact thing that agrees.
DWELLING, NEXT_DOOR, STREET, POSTCODE, POSTCODE_ALMOST, CITY, ELSEWHERE = range(7)

LEVELS: Final = 8
COUNT_MAX: Final = 1 << 20


def finding(comparison: int, level: int, count: int) -> int:
    """The three as one number."""
    return (min(count, COUNT_MAX) * LEVELS + level) * 32 + comparison


def parts_of(found: int) -> tuple[int, int, int]:
    """Comparison, level and count of a finding."""
    return found & 31, (found >> 5) & 7, found >> 8


def level_of(found: int) -> int:
    """The level of a finding; the smaller, the more alike."""
    return (found >> 5) & 7
