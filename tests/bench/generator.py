"""The touchpoints of the reference job: who does what, when, and how messy it arrives. Pure and repeatable.

The same `n`, `seed` and `end_ms` always give the same touchpoints, so every system reads the same input.
Two per cent are exact repeats, half a per cent has junk in every identifier. It must not know any system that
reads them.

People are shaped so that no shipped limit is ever reached: each has one user id, CPF, e-mail and phone, at
most three devices and three anonymous ids, and shares none of them with anybody. A person's touchpoints are
therefore one profile, or several when no touchpoint ever links them; the oracle relies on it.
"""

from __future__ import annotations

import itertools
import json
import random
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

SPAN_MS: Final = 10 * 86_400_000
TOUCHPOINTS_PER_PERSON: Final = 20
SOURCES: Final = ("web", "app", "crm", "email")
SOURCES_CUMULATED: Final = (0.50, 0.75, 0.85, 1.0)
CITIES: Final = ("Madrid", "Barcelona", "Sevilla", "Valencia", "Lisboa", "Paris", "Berlin", "Roma")
CITY_WEIGHTS: Final = (25, 15, 10, 10, 10, 10, 10, 10)
CATEGORIES: Final = ("running shoes", "trail shoes", "jackets", "shirts", "watches", "bags", "socks", "bikes")
FIRST_NAMES: Final = ("Ana", "Luis", "Marta", "Jon", "Eva", "Paul", "Rita", "Hugo")
PLANS: Final = ("free", "plus", "pro")
JUNK: Final = ("null", "anonymous", "")
JITTER_MS: Final = 5_000  # touchpoints arrive up to this long after they happened, so out of order
REPEAT_SHARE: Final = 0.02
REPEATABLE_MAX: Final = 1_000  # a repeat is one of so many earlier touchpoints

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """One touchpoint on its way: source of its topic, message key, and the record in the contract's shape."""

    source: str
    key: bytes
    record: Record


@dataclass(frozen=True, slots=True)
class Person:
    """What a person can be recognised by. `login`: the share of the span after which the shop knows them."""

    anonymous: tuple[str, ...]
    devices: tuple[str, ...]
    user: str | None
    email: str | None
    phone: str | None
    cpf: str
    city: str
    name: str
    login: float


def cpf_of(base: int) -> str:
    """The CPF whose first nine digits are `base`, with its two check digits."""
    digits = [int(digit) for digit in f"{base:09d}"]
    for _ in range(2):
        weights = range(len(digits) + 1, 1, -1)
        rest = sum(digit * weight for digit, weight in zip(digits, weights, strict=True)) * 10 % 11
        digits.append(rest % 10)
    return "".join(map(str, digits))


def touchpoints(n: int, seed: int, end_ms: int, span_ms: int = SPAN_MS) -> Iterator[Event]:
    """Yield `n` touchpoints, about in order of event time, all in the `span_ms` before `end_ms`."""
    rng = random.Random(seed)
    people = _people(rng, max(1, n // TOUCHPOINTS_PER_PERSON))
    activity = list(
        itertools.accumulate(1 / (place + 1) ** 0.6 for place in range(len(people)))
    )  # like Zipf's law
    rng.shuffle(people)
    recent: list[Event] = []
    for index in range(n):
        if recent and rng.random() < REPEAT_SHARE:
            yield recent[rng.randrange(len(recent))]
            continue
        person = people[bisect(activity, rng.random() * activity[-1]) % len(people)]
        share = index / n
        occurred_at = end_ms - span_ms + int(share * span_ms) - rng.randrange(JITTER_MS)
        event = _touchpoint(rng, person, index, share, occurred_at)
        if len(recent) < REPEATABLE_MAX:
            recent.append(event)
        else:
            recent[rng.randrange(REPEATABLE_MAX)] = event
        yield event


def _people(rng: random.Random, count: int) -> list[Person]:
    phones: set[int] = set()
    cpfs: set[int] = {int(str(digit) * 9) for digit in range(10)}  # eleven equal digits are not a CPF
    people = []
    for index in range(count):
        known = rng.random() < 0.8
        person = Person(
            anonymous=tuple(f"a-{rng.getrandbits(64):016x}" for _ in range(rng.randrange(1, 4))),
            devices=tuple(f"d-{rng.getrandbits(64):016x}" for _ in range(rng.randrange(1, 4))),
            user=f"u{index:07d}" if known else None,
            email=f"person{index}@example{index % 13}.com" if known else None,
            phone=f"346{_unused(rng, phones, 10**8):08d}" if rng.random() < 0.4 else None,
            cpf=cpf_of(_unused(rng, cpfs, 10**9)),
            city=rng.choices(CITIES, CITY_WEIGHTS)[0],
            name=f"{FIRST_NAMES[rng.randrange(8)]} {index}",
            login=rng.random() * 0.5,
        )
        people.append(person)
    return people


def _unused(rng: random.Random, used: set[int], below: int) -> int:
    value = rng.randrange(below)
    while value in used:
        value = rng.randrange(below)
    used.add(value)
    return value


def _touchpoint(rng: random.Random, person: Person, index: int, share: float, occurred_at: int) -> Event:
    logged_in = person.user is not None and share >= person.login
    source = SOURCES[bisect(SOURCES_CUMULATED, rng.random())]
    if source == "email" and not logged_in:
        source = "web"
    identifiers = _identifiers(rng, person, source, logged_in)
    traits, properties = "{}", "{}"
    if source in ("web", "app"):
        kind, properties = _shop_visit(rng)
    elif source == "crm":
        kind, traits = "crm_updated", _crm_traits(rng, person)
    else:
        kind = "email_opened" if rng.random() < 0.75 else "email_clicked"
        properties = json.dumps({"campaign": f"c{rng.randrange(50)}"})
    _make_messy(rng, identifiers)
    key = identifiers.get("anonymous_id") or identifiers.get("user_id") or next(iter(identifiers.values()))
    record: Record = {
        "event_id": f"e-{index:08d}-{rng.getrandbits(48):012x}",
        "source": source,
        "type": kind,
        "occurred_at": occurred_at,
        "identifiers": [{"type": name, "value": value} for name, value in identifiers.items()],
        "traits": traits,
        "properties": properties,
        "consent": {},
        "context": {},
    }
    return Event(source, key.encode(), record)


def _identifiers(rng: random.Random, person: Person, source: str, logged_in: bool) -> dict[str, str]:
    """What this touchpoint shows of the person: clean values, at most one of a type."""
    found: dict[str, str | None] = {}
    if source == "web":
        found["anonymous_id"] = person.anonymous[rng.randrange(len(person.anonymous))]
        if logged_in and rng.random() < 0.25:
            found["user_id"] = person.user
    elif source == "app":
        found["device_id"] = person.devices[rng.randrange(len(person.devices))]
        if logged_in and rng.random() < 0.6:
            found["user_id"] = person.user
    elif source == "crm":
        found["cpf"] = person.cpf
        if logged_in:
            found["user_id"], found["email"] = person.user, person.email
        found["phone"] = person.phone
    else:
        found["email"] = person.email
    return {name: value for name, value in found.items() if value is not None}


def _shop_visit(rng: random.Random) -> tuple[str, str]:
    """The type and the properties (JSON) of one event in the shop or the app."""
    draw = rng.random()
    if draw < 0.55:
        return "page_viewed", json.dumps({"url": f"https://shop.example/p/{rng.randrange(5000)}"})
    if draw < 0.96:
        product = {
            "category": CATEGORIES[rng.randrange(8)],
            "price": rng.randrange(1000, 20000) / 100,
            "sku": f"sku-{rng.randrange(5000)}",
        }
        return ("product_viewed" if draw < 0.88 else "cart_added"), json.dumps(product)
    return "order_completed", json.dumps(
        {"total": rng.randrange(1000, 50000) / 100, "items": rng.randrange(1, 6)}
    )


def _crm_traits(rng: random.Random, person: Person) -> str:
    traits = {"city": person.city, "name": person.name}
    if rng.random() < 0.3:
        traits["plan"] = PLANS[rng.randrange(3)]
    return json.dumps(traits)


def _make_messy(rng: random.Random, identifiers: dict[str, str]) -> None:
    """Write values as people and systems do, and put junk in one per cent of the touchpoints. In place."""
    if "email" in identifiers and rng.random() < 0.3:
        email = identifiers["email"]
        identifiers["email"] = f"  {email.title()} " if rng.random() < 0.5 else email.upper()
    if "phone" in identifiers:
        phone = identifiers["phone"]
        messy = rng.random() < 0.5
        identifiers["phone"] = f"+{phone[:2]} {phone[2:5]}-{phone[5:8]} {phone[8:]}" if messy else f"+{phone}"
    if "cpf" in identifiers and rng.random() < 0.5:
        cpf = identifiers["cpf"]
        identifiers["cpf"] = f"{cpf[:3]}.{cpf[3:6]}.{cpf[6:9]}-{cpf[9:]}"
    if "user_id" in identifiers and rng.random() < 0.1:
        identifiers["user_id"] = f" {identifiers['user_id']} "
    draw = rng.random()
    if draw < 0.005:
        for name in identifiers:
            identifiers[name] = JUNK[rng.randrange(3)]
    elif draw < 0.01:
        identifiers[next(iter(identifiers))] = JUNK[rng.randrange(3)].upper()
