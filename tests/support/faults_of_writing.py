"""What goes wrong when people's data are written down: one function a kind of fault.

Each takes a source of chance and the fields of a record as they should be, and changes them in place.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

Fields = dict[str, str]
Fault = Callable[[random.Random, Fields], None]

ROWS: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890")
OCR: Final = (("rn", "m"), ("m", "rn"), ("l", "1"), ("o", "0"), ("i", "l"), ("s", "5"), ("b", "6"),
              ("e", "c"), ("0", "8"), ("1", "7"), ("5", "6"), ("u", "v"), ("n", "h"), ("z", "2"))  # fmt: skip
SOUNDS: Final = (("ph", "f"), ("f", "ph"), ("z", "s"), ("s", "z"), ("ss", "c"), ("y", "i"), ("i", "y"),
                 ("w", "v"), ("k", "c"), ("c", "k"), ("th", "t"), ("t", "th"), ("l", "ll"), ("n", "nn"),
                 ("x", "ch"), ("ch", "x"), ("e", "i"), ("o", "u"), ("ei", "ey"), ("h", ""))  # fmt: skip
SHORT: Final = {
    "francisco": "chico", "jose": "ze", "maria": "mariazinha", "antonio": "toninho", "eduardo": "dudu",
    "luiz": "lula", "joao": "joaozinho", "paulo": "paulinho", "rafael": "rafa", "gabriel": "biel",
    "beatriz": "bia", "patricia": "paty", "fernanda": "nanda", "robert": "bob", "william": "bill",
    "elizabeth": "liz", "margaret": "peggy", "james": "jim", "john": "jack", "richard": "dick",
    "katherine": "kate", "michael": "mike", "thomas": "tom", "jennifer": "jen", "manuel": "manolo",
    "dolores": "lola", "guadalupe": "lupe", "rosario": "charo", "ignacio": "nacho",
}  # fmt: skip
WRITTEN: Final = ("given_name", "middle_name", "surname", "surname_2", "street", "city", "mother_name")
TYPED: Final = (*WRITTEN, "birth_date", "phone", "email", "national_id", "postcode", "house_number")
NAMES: Final = ("given_name", "surname")


def _change(rng: random.Random, fields: Fields, among: tuple[str, ...], edit: Callable[[str], str]) -> None:
    """Edit one or two of the fields that are there."""
    there = [name for name in among if len(fields.get(name, "")) > 2]
    for name in rng.sample(there, k=min(len(there), rng.choice((1, 1, 2)))):
        fields[name] = edit(fields[name])


def keyboard(rng: random.Random, fields: Fields) -> None:
    """A neighbouring key, one too many, one missing, two turned round."""

    def edit(text: str) -> str:
        at = rng.randrange(len(text) - 1)
        row = next((row for row in ROWS if text[at].lower() in row), None)
        kind = rng.randrange(4)
        if kind == 0 and row is not None:
            place = row.index(text[at].lower()) + rng.choice((-1, 1))
            return text[:at] + row[place % len(row)] + text[at + 1 :]
        if kind == 1:
            return text[:at] + text[at] + text[at:]
        if kind == 2:
            return text[:at] + text[at + 1 :]
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]

    _change(rng, fields, TYPED, edit)


def _replaced(rng: random.Random, text: str, table: tuple[tuple[str, str], ...]) -> str:
    low = text.lower()
    there = [(a, b) for a, b in table if a in low[1:]]
    if not there:
        return text
    a, b = rng.choice(there)
    at = low.index(a, 1)
    return text[:at] + b + text[at + len(a) :]


def scanned(rng: random.Random, fields: Fields) -> None:
    """Letters that a scanner takes for others."""
    _change(rng, fields, TYPED, lambda text: _replaced(rng, text, OCR))


def heard(rng: random.Random, fields: Fields) -> None:
    """Names written as they sound."""
    _change(rng, fields, WRITTEN, lambda text: _replaced(rng, text, SOUNDS))


def swapped(rng: random.Random, fields: Fields) -> None:
    """Surname and given name in each other's place, more often than not."""
    if rng.random() < 0.6 and all(name in fields for name in NAMES):
        fields["given_name"], fields["surname"] = fields["surname"], fields["given_name"]


def missing(rng: random.Random, fields: Fields) -> None:
    """Half of the fields, but never the surname."""
    for name in [name for name in fields if name != "surname" and rng.random() < 0.5]:
        del fields[name]


def nickname(rng: random.Random, fields: Fields) -> None:
    """A short form of the given name."""
    given = fields.get("given_name", "")
    if given.lower() in SHORT and rng.random() < 0.8:
        fields["given_name"] = SHORT[given.lower()].capitalize()


def married(rng: random.Random, fields: Fields) -> None:
    """Another surname, or one more."""
    if "surname" in fields and fields.get("gender") != "M":
        new = rng.choice(("Machado", "Tavares", "Brandt", "Okafor", "Ruiz", "Delgado", "Fischer", "Amaral"))
        if rng.random() < 0.5:
            fields["middle_name"] = f"{fields.get('middle_name', '')} {fields['surname']}".strip()
        fields["surname"] = new


def dates(rng: random.Random, fields: Fields) -> None:
    """Day and month or two digits turned round, a wrong year, only the year, the first of a year."""
    if "birth_date" in fields:
        year, month, day = fields["birth_date"].split("-")
        fields["birth_date"] = rng.choice((
            f"{year}-{day}-{month}" if int(day) <= 12 else f"{year}-{month}-{day[::-1]}",
            f"{year[:2]}{year[3]}{year[2]}-{month}-{day}",
            f"{int(year) + rng.choice((-1, 1, 10, -10))}-{month}-{day}",
            year,
            f"{year}-01-01",
        ))  # fmt: skip


def cut(rng: random.Random, fields: Fields) -> None:
    """Columns that are too narrow."""
    for name in ("given_name", "middle_name", "surname", "street", "city"):
        if name in fields:
            fields[name] = fields[name][: rng.choice((5, 6, 8))]


def initials(rng: random.Random, fields: Fields) -> None:
    """An initial for the given name or for those between; or the latter left out."""
    if rng.random() < 0.3 and "given_name" in fields:
        fields["given_name"] = fields["given_name"][0] + "."
    if "middle_name" in fields:
        if rng.random() < 0.5:
            fields["middle_name"] = " ".join(word[0] for word in fields["middle_name"].split())
        else:
            del fields["middle_name"]


def fillers(rng: random.Random, fields: Fields) -> None:
    """Values that many records hold because a form had to be filled."""
    for name, value in (
        ("phone", "11999999999"), ("email", "naotem@naotem.com.br"), ("birth_date", "1900-01-01"),
        ("national_id", "12345678909"), ("postcode", "00000-000"), ("mother_name", "Nao informado"),
    ):  # fmt: skip
        if name in fields and rng.random() < 0.3:
            fields[name] = value


def moved(rng: random.Random, fields: Fields) -> None:
    """Another dwelling, and often another phone and another mailbox."""
    if "street" in fields:
        fields["street"] = f"Rua Nova {rng.randrange(400)}"
        fields["house_number"] = str(rng.randrange(1, 2000))
        fields["postcode"] = f"{rng.randrange(10**7, 10**8)}"
    if "phone" in fields and rng.random() < 0.5:
        fields["phone"] = f"119{rng.randrange(10**7, 10**8)}"
    if "email" in fields and rng.random() < 0.5:
        fields["email"] = f"{rng.randrange(10**9)}@mail.example"


FAULTS: Final[Mapping[str, Fault]] = MappingProxyType({
    one.__name__: one
    for one in (
        keyboard, scanned, heard, swapped, missing, nickname, married, dates, cut, initials, fillers, moved,
    )
})  # fmt: skip
