"""What two records have in common, field by field: findings (levels.py).

It must not know weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rapidfuzz import fuzz

from . import dates, text
from .levels import (
    ADDRESS,
    ALL_WORDS,
    ALMOST,
    BIRTH,
    BIRTH_YEAR,
    CITY,
    CLOSE_WORDS,
    COUNT_MAX,
    DWELLING,
    ELSEWHERE,
    EMAIL,
    ETHNICITY,
    FAMILY,
    GENDER,
    GENERATION,
    GIVEN,
    IN_ORDER,
    INITIAL,
    INITIALS,
    MIDDLE,
    MOTHER,
    MOVED,
    NATIONAL_ID,
    NEXT_DOOR,
    NO_WORDS,
    OCCUPATION,
    ORDER,
    ORG,
    OTHER,
    OTHER_ID,
    PARTLY,
    PHONE,
    PLACE,
    POSTCODE,
    POSTCODE_ALMOST,
    SAME,
    SAME_MAILBOX,
    SOME_WORDS,
    STREET,
    TURNED,
    TYPE,
    UNLIKE,
    finding,
    level_of,
)  # fmt: skip
from .record import Address, Name, Record
from .text import compare_words, digits_of, is_slip, same_initial

REMEMBERED_MAX: Final = 400_000
"""Pairs of values whose findings are kept, 100 MB; then all are forgotten."""
STREET_LIKENESS_MIN: Final = 80.0
FREE_TEXT_LIKENESS_MIN: Final = 85.0
EMAIL_LIKENESS_MIN: Final = 86.0


class Comparer:
    """Compares records, and remembers what pairs of values have in common."""

    __slots__ = ("_addresses", "_counts", "_dates", "_names", "_texts", "_words")

    def __init__(self, counts: Mapping[str, int]) -> None:
        """`counts`: how many records hold a value, by `terms_of`."""
        self._counts = counts
        self._names: dict[tuple[str, str], tuple[int, ...]] = {}
        self._addresses: dict[tuple[str, str], int] = {}
        self._dates: dict[tuple[dates.Date, dates.Date], int] = {}
        self._texts: dict[tuple[int, str, str], int] = {}
        self._words: dict[tuple[str, str], int] = {}

    def compare(self, a: Record, b: Record) -> tuple[int, ...]:
        """The findings of two records, for the fields that both have. Symmetric."""
        kept = len(self._names) + len(self._addresses) + len(self._dates) + len(self._texts)
        if kept + len(self._words) > REMEMBERED_MAX:
            self._forget()
        found: list[int] = []
        if a.name is not None and b.name is not None:
            found.extend(self._name(a.name, b.name))
        if a.birth is not None and b.birth is not None:
            found.append(self._date(a.birth, b.birth))
        if a.gender and b.gender:
            found.append(GENDER if a.gender == b.gender else finding(GENDER, OTHER, 0))
        if a.national_ids and b.national_ids:
            found.append(self._any(NATIONAL_ID, "n:", a.national_ids, b.national_ids))
        if a.other_ids and b.other_ids:
            self._other_ids(a.other_ids, b.other_ids, found)
        if a.phones and b.phones:
            found.append(self._any(PHONE, "p:", a.phones, b.phones))
        if a.emails and b.emails:
            found.append(self._any(EMAIL, "e:", a.emails, b.emails))
        if a.address is not None and b.address is not None:
            one = self._address(a.address, b.address)
            if one >= 0:
                found.append(one)
        if a.place and b.place:
            found.append(self._free(PLACE, "b:", a.place, b.place))
        if a.occupation and b.occupation:
            found.append(self._free(OCCUPATION, "o:", a.occupation, b.occupation))
        if a.mother is not None and b.mother is not None:
            found.append(self._mother(a.mother, b.mother))
        if a.ethnicity and b.ethnicity:
            found.append(self._free(ETHNICITY, "r:", a.ethnicity, b.ethnicity))
        if a.orgs and b.orgs:
            found.append(min((self._free(ORG, "g:", x, y) for x in a.orgs for y in b.orgs), key=level_of))
        if a.type and b.type:
            found.append(TYPE if a.type == b.type else finding(TYPE, OTHER, 0))
        return tuple(found)

    def _forget(self) -> None:
        for remembered in (self._names, self._addresses, self._dates, self._texts, self._words):
            remembered.clear()

    def _alike(self, a: str, b: str) -> int:
        """`compare_words`, remembered: few words make most names."""
        if a == b:
            return text.EXACT
        key = (a, b) if a < b else (b, a)
        found = self._words.get(key)
        if found is None:
            found = self._words[key] = compare_words(a, b)
        return found

    def _rarer(self, table: str, a: str, b: str) -> int:
        counts = self._counts
        return min(counts.get(table + a, 0), counts.get(table + b, 0))

    def _date(self, a: dates.Date, b: dates.Date) -> int:
        key = (a, b) if a <= b else (b, a)
        found = self._dates.get(key)
        if found is None:
            if not a[2] or not b[2]:
                found = finding(BIRTH_YEAR, SAME if dates.same_as_far_as_known(a, b) else OTHER, 0)
            else:
                level = dates.compare_dates(a, b)
                count = self._counts.get("d:" + dates.write_date(a), 0) if level == dates.EXACT else 0
                found = finding(BIRTH, level, count)
            self._dates[key] = found
        return found

    def _any(self, comparison: int, table: str, a: tuple[str, ...], b: tuple[str, ...]) -> int:
        """The best that any value of one record has in common with any of the other."""
        same = [self._counts.get(table + value, 0) for value in a if value in b]
        if same:
            return finding(comparison, SAME, min(same))
        for x in a:
            for y in b:
                if comparison != EMAIL:
                    if is_slip(x, y):
                        return finding(comparison, ALMOST, 0)
                elif (local := x.partition("@")[0]) == y.partition("@")[0]:
                    return finding(EMAIL, SAME_MAILBOX, self._counts.get("x:" + local, 0))
                elif _almost_same_email(x, y):
                    return finding(EMAIL, ALMOST, 0)
        return finding(comparison, OTHER, 0)

    def _other_ids(self, a: tuple[str, ...], b: tuple[str, ...], found: list[int]) -> None:
        kinds = {value.partition(":")[0] for value in b}
        comparable = tuple(value for value in a if value.partition(":")[0] in kinds)
        if comparable:
            found.append(self._any(OTHER_ID, "i:", comparable, b))

    def _free(self, comparison: int, table: str, a: str, b: str) -> int:
        if a == b:
            return finding(comparison, SAME, self._counts.get(table + a, 0))
        key = (comparison, a, b) if a < b else (comparison, b, a)
        found = self._texts.get(key)
        if found is None:
            alike = fuzz.token_sort_ratio(a, b) >= FREE_TEXT_LIKENESS_MIN
            found = finding(comparison, ALMOST if alike else OTHER, self._rarer(table, a, b) if alike else 0)
            self._texts[key] = found
        return found

    def _mother(self, a: Name, b: Name) -> int:
        if a.key == b.key:
            return finding(MOTHER, SAME, self._counts.get("m:" + a.key, 0))
        if self._alike(a.first, b.first) > text.CLOSE:
            return finding(MOTHER, OTHER, 0)
        words_a, words_b = [*a.middle, a.last], [*b.middle, b.last]
        shared = sum(1 for x in words_a if any(self._alike(x, y) <= text.CLOSE for y in words_b))
        if shared == min(len(words_a), len(words_b)):
            return finding(MOTHER, ALMOST, 0)
        return finding(MOTHER, PARTLY if shared else OTHER, 0)

    def _name(self, a: Name, b: Name) -> tuple[int, ...]:
        key = (a.key, b.key) if a.key <= b.key else (b.key, a.key)
        found = self._names.get(key)
        if found is None:
            if a.key > b.key:
                a, b = b, a
            straight = self._aligned(a, b, False)
            found = straight
            if straight and level_of(straight[0]) >= text.SIMILAR:
                turned = self._aligned(a, Name(b.last, b.middle, b.first, b.generation), True)
                if _sum_of_levels(turned) + 2 < _sum_of_levels(straight):
                    found = turned
            self._names[key] = found
        return found

    def _aligned(self, a: Name, b: Name, turned: bool) -> tuple[int, ...]:
        """Given name, surname and the words between, word by word."""
        found: list[int] = []
        middle_a, middle_b = list(a.middle), list(b.middle)
        if a.first and b.first:
            found.append(self._word(GIVEN, "f:", a.first, b.first, middle_a, middle_b))
        if a.last and b.last:
            found.append(self._word(FAMILY, "l:", a.last, b.last, middle_a, middle_b))
        if middle_a and middle_b:
            found.append(self._between(middle_a, middle_b))
        if found:
            found.append(finding(ORDER, TURNED if turned else IN_ORDER, 0))
        if a.generation and b.generation:
            found.append(finding(GENERATION, SAME if a.generation == b.generation else OTHER, 0))
        return tuple(found)

    def _word(self, slot: int, table: str, a: str, b: str, middle_a: list[str], middle_b: list[str]) -> int:
        if len(a) == 1 or len(b) == 1:
            if not same_initial(a, b):
                return finding(INITIAL, OTHER, 0)
            letter = a if len(a) == 1 else b
            return finding(INITIAL, SAME, self._counts.get(("y:" if slot == GIVEN else "v:") + letter, 0))
        level = self._alike(a, b)
        if level != text.EXACT and (self._broken(slot, a, b, middle_a) or self._broken(slot, b, a, middle_b)):
            level = text.CLOSE
        if level <= text.CLOSE:
            return finding(slot, level, self._rarer(table, a, b))
        if a in middle_b:
            middle_b.remove(a)
            return finding(slot, MOVED, self._counts.get("l:" + a, 0))
        if b in middle_a:
            middle_a.remove(b)
            return finding(slot, MOVED, self._counts.get("l:" + b, 0))
        return (
            finding(slot, level, self._rarer(table, a, b))
            if level == text.SIMILAR
            else finding(slot, UNLIKE, 0)
        )

    def _broken(self, slot: int, word: str, whole: str, middle: list[str]) -> bool:
        """Whether a word and the one beside it are the whole one, with a blank in it."""
        if not middle:
            return False
        joined = word + middle[0] if slot == GIVEN else middle[-1] + word
        if len(joined) < 4 or not is_slip(joined, whole):
            return False
        middle.pop(0 if slot == GIVEN else -1)
        return True

    def _between(self, a: list[str], b: list[str]) -> int:
        """How many of the words between given name and surname the other name has too."""
        if len(a) > len(b):
            a, b = b, a
        rest = list(b)
        exact = close = initials = 0
        count = COUNT_MAX
        for word in a:
            best = min(rest, key=lambda other: self._alike(word, other))
            level = self._alike(word, best)
            if level > text.CLOSE:
                continue
            rest.remove(best)
            if level == text.INITIAL or (level == text.EXACT and len(word) == 1):
                initials += 1
                count = min(count, self._counts.get("v:" + word[0], 0))
            else:
                exact += level != text.CLOSE
                close += level == text.CLOSE
                count = min(count, self._rarer("l:", word, best))
        if exact + initials == len(a):
            return finding(MIDDLE, ALL_WORDS if exact else INITIALS, count)
        if exact + close + initials == len(a):
            return finding(MIDDLE, CLOSE_WORDS, count)
        return (
            finding(MIDDLE, SOME_WORDS, count) if exact + close + initials else finding(MIDDLE, NO_WORDS, 0)
        )

    def _address(self, a: Address, b: Address) -> int:
        key = (a.key, b.key) if a.key <= b.key else (b.key, a.key)
        found = self._addresses.get(key)
        if found is None:
            found = self._addresses[key] = self._compare_addresses(a, b)
        return found

    def _compare_addresses(self, a: Address, b: Address) -> int:
        """The most exact thing that two addresses agree in; -1 if nothing can be compared.

        A street of another town is another street, unless the house number agrees too.
        """
        counts = self._counts
        postcodes, cities = bool(a.postcode and b.postcode), bool(a.city and b.city)
        same_postcode = postcodes and a.postcode == b.postcode
        near_postcode = postcodes and is_slip(a.postcode, b.postcode)
        same_city = cities and self._alike(a.city, b.city) <= text.CLOSE
        elsewhere = (postcodes or cities) and not (near_postcode or same_city)
        if a.street and b.street and _same_street(a, b):
            count = min(counts.get("s:" + a.street, 0), counts.get("s:" + b.street, 0))
            if a.number and a.number == b.number:
                level = NEXT_DOOR if a.unit and b.unit and a.unit != b.unit else DWELLING
                return finding(ADDRESS, level, self._rarer("h:", dwelling(a), dwelling(b)))
            if not elsewhere:
                next_door = a.number and b.number and is_slip(a.number, b.number)
                return finding(ADDRESS, NEXT_DOOR if next_door else STREET, count)
        if same_postcode:
            return finding(ADDRESS, POSTCODE, counts.get("z:" + a.postcode, 0))
        if near_postcode and (same_city or not cities):
            return finding(ADDRESS, POSTCODE_ALMOST, self._rarer("z:", a.postcode, b.postcode))
        if same_city:
            return finding(ADDRESS, CITY, max(counts.get("c:" + a.city, 0), counts.get("c:" + b.city, 0)))
        if (a.street and b.street) or postcodes or cities:
            return finding(ADDRESS, ELSEWHERE, 0)
        return -1


def dwelling(address: Address) -> str:
    """Street and number as one value."""
    return f"{address.street} {address.number}"


def _same_street(a: Address, b: Address) -> bool:
    if a.street == b.street or fuzz.token_set_ratio(a.street, b.street) >= STREET_LIKENESS_MIN:
        return True
    return fuzz.ratio(a.joined, b.joined) >= STREET_LIKENESS_MIN


def _sum_of_levels(found: tuple[int, ...]) -> int:
    return sum(level_of(one) for one in found if one & 31 in (GIVEN, FAMILY))


def _almost_same_email(a: str, b: str) -> bool:
    """Letters typed wrongly; another number is another mailbox."""
    return fuzz.ratio(a, b) >= EMAIL_LIKENESS_MIN and sorted(digits_of(a)) == sorted(digits_of(b))


def terms_of(record: Record) -> list[str]:
    """The values of a record whose frequency counts, each behind the letter of its table."""
    terms: list[str] = []
    name = record.name
    if name is not None:
        words = {name.last, *name.middle} - {""}
        if name.first:
            terms.append("f:" + name.first)
            terms.append("y:" + name.first[0])
        terms.extend(f"l:{word}" for word in sorted(words))
        terms.extend(f"v:{letter}" for letter in sorted({word[0] for word in words}))
    if record.birth is not None:
        terms.append("d:" + dates.write_date(record.birth))
    for table, values in (
        ("n:", record.national_ids),
        ("i:", record.other_ids),
        ("p:", record.phones),
        ("e:", record.emails),
    ):
        terms.extend(table + value for value in values)
    terms.extend("x:" + local for local in sorted({value.partition("@")[0] for value in record.emails}))
    address = record.address
    if address is not None:
        if address.street:
            terms.append("s:" + address.street)
            if address.number:
                terms.append("h:" + dwelling(address))
        if address.postcode:
            terms.append("z:" + address.postcode)
        if address.city:
            terms.append("c:" + address.city)
    for table, value in (("b:", record.place), ("o:", record.occupation), ("r:", record.ethnicity)):
        if value:
            terms.append(table + value)
    if record.mother is not None:
        terms.append("m:" + record.mother.key)
    terms.extend(f"g:{value}" for value in record.orgs)
    return terms
