"""The people of the simulated shop: who they are, what they carry, and the identifiers that they can show.

An identifier is kept in its canonical form, the one that Elo must arrive at; spelling.py makes messy ones.
Everything comes from the generator that is passed in, so equal seeds give equal people.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from random import Random
from typing import Final

CITIES: Final = {
    "ES": (("Madrid", 30), ("Barcelona", 12), ("Valencia", 6), ("Sevilla", 6), ("Bilbao", 4), ("Málaga", 4)),
    "BR": (("São Paulo", 16), ("Rio de Janeiro", 9), ("Salvador", 5), ("Curitiba", 5), ("Recife", 3)),
}
COUNTRIES: Final = (("ES", 62), ("BR", 38))
CATEGORIES: Final = (
    ("running shoes", 30),
    ("trail shoes", 14),
    ("jackets", 14),
    ("t-shirts", 12),
    ("watches", 10),
    ("backpacks", 10),
    ("swimwear", 10),
)
PRICES: Final = {
    "running shoes": 119.9,
    "trail shoes": 139.9,
    "jackets": 89.5,
    "t-shirts": 24.95,
    "watches": 199.0,
    "backpacks": 64.0,
    "swimwear": 34.9,
}
GIVEN_NAMES: Final = {
    "ES": (
        "Ana",
        "Lucía",
        "Martín",
        "Íñigo",
        "Carmen",
        "Hugo",
        "Noelia",
        "Pablo",
        "Rocío",
        "Javier",
        "Begoña",
    ),
    "BR": (
        "João",
        "Beatriz",
        "Luiz",
        "Conceição",
        "Thiago",
        "Larissa",
        "Antônio",
        "Fernanda",
        "Caio",
        "Júlia",
    ),
}
SURNAMES: Final = {
    "ES": (
        "García",
        "Núñez",
        "Fernández",
        "Ibáñez",
        "Peña",
        "Castro",
        "Vázquez",
        "Muñoz",
        "Serrano",
        "Ortega",
    ),
    "BR": ("Silva", "Souza", "Gonçalves", "Araújo", "Oliveira", "Assunção", "Barbosa", "Magalhães", "Lima"),
}
MAIL_DOMAINS: Final = ("example.com", "example.org", "example.net")
AREA_CODES: Final = {"São Paulo": 11, "Rio de Janeiro": 21, "Salvador": 71, "Curitiba": 41, "Recife": 81}
ANONYMOUS_IDS_MAX: Final = 12  # a person's cookies; far below the limit of 100 in one profile
DEVICES_MAX: Final = 3


def weighted(rng: Random, options: tuple[tuple[str, int], ...]) -> str:
    """One of the options, each as likely as its weight says."""
    names, weights = zip(*options, strict=True)
    chosen: str = rng.choices(names, weights)[0]
    return chosen


@dataclass(slots=True)
class Device:
    """A browser (`device_id` empty) or an installed app. `logged_in` stays until somebody logs out."""

    anonymous_id: str
    device_id: str = ""
    logged_in: bool = False


@dataclass(slots=True)
class Person:
    """One person, as only the simulator knows them. Identifiers are canonical; empty text means none.

    `instants` are the event times used so far: two touchpoints of a person never share one, so the newest
    value of a trait is never a matter of taste.
    """

    number: int
    country: str
    city: str
    name: str
    emails: list[str]
    phones: list[str]
    cpf: str
    nis: str
    user_id: str
    favourite: str
    has_account: bool = False
    in_crm: bool = False
    wants_marketing: bool = True
    browsers: list[Device] = field(default_factory=list)
    apps: list[Device] = field(default_factory=list)
    tablets: int = 0
    instants: set[int] = field(default_factory=set)

    def instant(self, wanted_ms: int) -> int:
        """The latest instant not after `wanted_ms` that no touchpoint of this person has yet."""
        while wanted_ms in self.instants:
            wanted_ms -= 1
        self.instants.add(wanted_ms)
        return wanted_ms


def new_person(rng: Random, number: int) -> Person:
    """A person with all identifiers that they may ever show; numbers start at 1 and are never used twice."""
    country = weighted(rng, COUNTRIES)
    city = weighted(rng, CITIES[country])
    given, surname = rng.choice(GIVEN_NAMES[country]), rng.choice(SURNAMES[country])
    local = f"{_ascii(given)}.{_ascii(surname)}"
    emails = [f"{local}.{number}@{MAIL_DOMAINS[number % 3]}"]
    if rng.random() < 0.3:
        emails.append(f"{_ascii(given)[0]}{_ascii(surname)}{number}@{MAIL_DOMAINS[(number + 1) % 3]}")
    brazilian = country == "BR"
    has_nis = brazilian and number % 7 == 0
    phones = [_phone(rng, number, city, brazilian, line) for line in range(2 if rng.random() < 0.15 else 1)]
    return Person(
        number=number,
        country=country,
        city=city,
        name=f"{given} {surname}",
        emails=emails,
        phones=phones,
        cpf=with_cpf_check_digits(f"{_scatter(number, 900_000_000):09d}") if brazilian else "",
        nis=with_nis_check_digit(f"1{_scatter(number, 900_000_000):09d}") if has_nis else "",
        user_id=f"u-{100_000 + number}",
        favourite=weighted(rng, CATEGORIES),
        wants_marketing=rng.random() < 0.75,
    )


def new_device(rng: Random, person: Person, *, app: bool) -> Device:
    """A browser or an app of a person, with an anonymous id of its own."""
    device = Device(f"a-{rng.getrandbits(64):016x}", f"d-{rng.getrandbits(64):016x}" if app else "")
    (person.apps if app else person.browsers).append(device)
    return device


def choose_device(rng: Random, person: Person, *, app: bool) -> Device:
    """One of the person's devices, now and then a new one. A cleared cookie is a new browser."""
    own = person.apps if app else person.browsers
    count_max = DEVICES_MAX if app else ANONYMOUS_IDS_MAX - DEVICES_MAX
    if not own or (len(own) < count_max and rng.random() < 0.15):
        return new_device(rng, person, app=app)
    return rng.choice(own)


def with_cpf_check_digits(nine_digits: str) -> str:
    """The CPF of nine digits: two check digits, each a sum modulo 11 with falling weights."""
    digits = nine_digits
    for _ in range(2):
        rest = sum(int(d) * w for d, w in zip(digits, range(len(digits) + 1, 1, -1), strict=True)) % 11
        digits += str(0 if rest < 2 else 11 - rest)
    return digits


def with_nis_check_digit(ten_digits: str) -> str:
    """The NIS (PIS) of ten digits: one check digit, weights 3 2 9 8 7 6 5 4 3 2 modulo 11."""
    rest = sum(int(d) * w for d, w in zip(ten_digits, (3, 2, 9, 8, 7, 6, 5, 4, 3, 2), strict=True)) % 11
    return ten_digits + str(0 if rest < 2 else 11 - rest)


def _phone(rng: Random, number: int, city: str, brazilian: bool, line: int) -> str:
    """A mobile number in E.164, unique by person and line. Brazilian ones are ninth digit, then 6 to 9."""
    if brazilian:
        subscriber = 60_000_000 + _scatter(2 * number + line, 39_999_999)
        return f"+55{AREA_CODES[city]}9{subscriber}"
    return f"+34{600_000_000 + _scatter(2 * number + line, 99_999_999)}"


def _scatter(number: int, size: int) -> int:
    """A number below `size` that looks random; different for each `number` below `size`."""
    return number * 70_368_744_177_679 % size  # a prime that divides no size: a permutation


def _ascii(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.lower())
    return "".join(c for c in folded if c.isascii())
