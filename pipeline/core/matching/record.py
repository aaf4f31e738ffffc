"""A comparison record: what of a person's fields can be compared, in one form whatever the source wrote.

It decides what a field means. It must not know weights, nor other records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from .dates import Date, parse_date
from .text import digits_of, fold, split_words
from .words import GENERATIONS, LEGAL_FORMS, PARTICLES, PLACEHOLDERS, STREET_WORDS, TITLES, UNIT_WORDS

SUFFIXES: Final = ("", "_2", "_3")
"""A field may hold up to three values, by the suffix of its name. `surname_2` is a second surname."""
OTHER_IDS: Final = ("social_id", "passport", "drivers_license", "tax_id", "lei", "other_id")
CHARS_MAX: Final = 400  # of a value; comparing two texts takes the product of their lengths
WITHOUT_NUMBER: Final = "sn"  # "S/N", sem número
NAME_WORDS_MAX: Final = 12
PHONE_DIGITS: Final = 8  # the end of a number; country, area and Brazil's ninth digit stand before it
GENDERS: Final = {
    "m": "m",
    "male": "m",
    "masculino": "m",
    "masc": "m",
    "homem": "m",
    "f": "f",
    "female": "f",
    "feminino": "f",
    "fem": "f",
    "mulher": "f",
}


class Name:
    """A person's name in parts: the first given name, the last surname, and all words between."""

    __slots__ = ("first", "generation", "key", "last", "middle")

    def __init__(self, first: str, middle: tuple[str, ...], last: str, generation: str = "") -> None:
        self.first = first
        self.middle = middle
        self.last = last
        self.generation = generation
        self.key = f"{first}|{' '.join(middle)}|{last}|{generation}"


class Address:
    """A dwelling, with what is known of the place it lies in. Empty where nothing is known."""

    __slots__ = ("city", "joined", "key", "number", "postcode", "state", "street", "unit")

    def __init__(
        self, street: str, joined: str, number: str, unit: str, postcode: str, city: str, state: str
    ) -> None:
        self.street = street
        self.joined = joined
        self.number = number
        self.unit = unit
        self.postcode = postcode
        self.city = city
        self.state = state
        self.key = f"{street}|{number}|{unit}|{postcode}|{city}|{state}"


class Record:
    """One comparison record. Absent parts are None or empty."""

    __slots__ = (
        "address", "birth", "emails", "ethnicity", "gender", "mother", "name", "national_ids", "occupation",
        "orgs", "other_ids", "phones", "place", "record_id", "type",
    )  # fmt: skip

    def __init__(self, record_id: str, fields: Mapping[str, str]) -> None:
        self.record_id = record_id
        if any(len(value) > CHARS_MAX for value in fields.values()):
            fields = {name: value[:CHARS_MAX] for name, value in fields.items()}
        self.name: Name | None = read_name(fields)
        self.birth: Date | None = parse_date(fields.get("birth_date", ""))
        self.gender: str = GENDERS.get(fold(fields.get("gender", "")).strip("."), "")
        self.national_ids: tuple[str, ...] = _values(fields, "national_id", _read_id)
        self.other_ids: tuple[str, ...] = tuple(
            f"{name}:{value}" for name in OTHER_IDS for value in _values(fields, name, _read_id)
        )
        self.phones: tuple[str, ...] = _values(fields, "phone", _read_phone)
        self.emails: tuple[str, ...] = _values(fields, "email", _read_email)
        self.address: Address | None = read_address(fields)
        self.place: str = _read_words(fields.get("birth_place", ""))
        self.occupation: str = _read_words(fields.get("occupation", "") or fields.get("employer", ""))
        self.mother: Name | None = _name_of_words(split_words(fields.get("mother_name", "")))
        self.ethnicity: str = _read_words(fields.get("race_ethnicity", ""))
        self.orgs: tuple[str, ...] = _values(fields, "org_name", _read_org)
        self.type: str = fold(fields.get("record_type", ""))


def _values(fields: Mapping[str, str], name: str, read: Callable[[str], str]) -> tuple[str, ...]:
    found: list[str] = []
    for suffix in SUFFIXES:
        raw = fields.get(name + suffix)
        if raw is not None:
            value = read(raw)
            if value and value not in found:
                found.append(value)
    return tuple(found)


def _read_words(text: str) -> str:
    return " ".join(split_words(text))


def _read_org(text: str) -> str:
    """The name of an organisation without particles and its legal form, be it written `S/A` or `L.L.C.`"""
    words = kept = split_words(text)
    while kept:
        letters = next((at for at in range(len(kept), 0, -1) if len(kept[at - 1]) > 1), 0)
        form = "".join(kept[letters:]) or kept[-1]
        if form not in LEGAL_FORMS:
            break
        kept = kept[: min(letters, len(kept) - 1)]
    return " ".join([word for word in kept if word not in PARTICLES and word != "and"] or words)


def _read_id(text: str) -> str:
    """Letters and digits, without the zeros before a number: spreadsheets cut them off."""
    value = "".join(split_words(text))
    if len(value) < 4 or len(set(value)) == 1 or value in PLACEHOLDERS:
        return ""
    return value.lstrip("0").zfill(4) if value.isdigit() else value


def _read_phone(text: str) -> str:
    digits = digits_of(text)[-PHONE_DIGITS:]
    return "" if len(digits) < 6 or len(set(digits)) <= 1 else digits


def _read_email(text: str) -> str:
    value = fold(text).strip()
    return "" if len(value) < 5 or value in PLACEHOLDERS else value


def _name_of_words(words: list[str]) -> Name | None:
    """A full name, in the order in which it is spoken."""
    words = [word for word in words if word not in PARTICLES][:NAME_WORDS_MAX]
    if not words or _is_placeholder(words):
        return None
    generation = _generation(words)
    kept = [word for word in words if word not in TITLES and not word[0].isdigit()]
    if not kept:
        return None
    last = kept[-1] if len(kept) > 1 else ""
    return Name(kept[0], tuple(kept[1:-1]), last, generation)


def _is_placeholder(words: list[str]) -> bool:
    return "".join(words) in PLACEHOLDERS or all(word in PLACEHOLDERS for word in words)


def _generation(words: list[str]) -> str:
    """What tells father, son and grandson of one name apart; taken from the end of a longer name."""
    if len(words) > 1 and words[-1] in GENERATIONS:
        return GENERATIONS[words.pop()]
    return ""


def read_name(fields: Mapping[str, str]) -> Name | None:
    """The name of a record: its full name if there is one, else its parts."""
    full = fields.get("full_name")
    if full:
        before, comma, after = full.partition(",")
        turned = comma and not _is_suffix(after)  # "Hughes, Howard"
        name = _name_of_words(split_words(after) + split_words(before) if turned else split_words(full))
        if name is not None:
            return name
    given = _kept(fields.get("given_name", ""))
    middle = _kept(fields.get("middle_name", ""))
    family = _kept(fields.get("surname", "")) + _kept(fields.get("surname_2", ""))
    generation = _generation(family) or _generation(given)
    if not given and not family:
        return None
    first = given[0] if given else ""
    last = family[-1] if family else ""
    return Name(first, tuple((given[1:] + middle + family[:-1])[:NAME_WORDS_MAX]), last, generation)


def _is_suffix(text: str) -> bool:
    return all(
        word in TITLES or word in GENERATIONS or word[0].isdigit() or word in PARTICLES
        for word in split_words(text)
    )


def _kept(text: str) -> list[str]:
    words = [word for word in split_words(text) if word not in PARTICLES]
    if _is_placeholder(words):
        return []
    return [word for word in words if word not in TITLES] or words


def read_address(fields: Mapping[str, str]) -> Address | None:
    """The dwelling of a record. None if it says nothing of one."""
    full = fields.get("address_full", "")
    street = split_words(fields.get("street", "") or full)
    number = "".join(split_words(fields.get("house_number", "")))
    if number == WITHOUT_NUMBER:
        number = ""
    if not number:
        number = next((word for word in street if word[0].isdigit()), "")
    kept = [
        word for word in street if word not in STREET_WORDS and word not in PARTICLES and word != number
    ] or street
    unit_words = split_words(fields.get("unit", "")) + split_words(fields.get("complement", ""))
    unit = " ".join(word for word in unit_words if word not in UNIT_WORDS)
    postcode = "".join(split_words(fields.get("postcode", "")))
    if len(set(postcode)) <= 1:
        postcode = ""
    city = " ".join(split_words(fields.get("city", "")))
    state = " ".join(split_words(fields.get("state", "")))
    if not (kept or postcode or city or state):
        return None
    return Address(" ".join(kept[:6]), "".join(street), number, unit, postcode, city, state)
