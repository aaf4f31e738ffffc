"""Generated definitions, persons and histories, and the fold of a history as the resolver would make it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pipeline.core.facet import Facet
from pipeline.core.segments.catalogue import Catalogue

HOUR_MS = 3_600_000
START_MS = 1_000 * HOUR_MS
EVENTS = ("product_viewed", "order_completed", "page_viewed")
CITIES = ("Madrid", "Lisbon", "São Paulo", "Madrid Norte")
CATEGORIES = ("running shoes", "hats", "books")
TYPES = ("user_id", "email", "phone")
PURPOSES = ("marketing", "analytics")
VALUES: tuple[Any, ...] = (
    *CITIES, *CATEGORIES, "", "10", "2026-01-31", "2026-02-01T10:00:00Z",
    "2026-02-01T10:00:00+02:00", "31/01/2026",
    0, 1, 1.0, 2.5, 10, -3, 1_769_817_600_000,
    True, False, None, ["Madrid", 1, True], [], {"a": 1},
)  # fmt: skip
ZONES = ("Europe/Madrid", "America/New_York", "Asia/Kolkata", "America/Havana", "Australia/Lord_Howe")
DATES = ("2026-01-31", "2026-02-01T10:00:00Z", "2026-02-01T09:00:00+01:00", 1_769_817_600_000)


@dataclass(frozen=True, slots=True)
class Scale:
    """How long everything takes: events lie on a grid of 20 steps from `start_ms` on."""

    start_ms: int
    step_ms: int
    windows: tuple[str, ...]
    first_day: date

    def day(self, rng: random.Random) -> str:
        """A date near the events, of that year or an earlier one; sometimes with a time."""
        near = self.first_day + timedelta(days=rng.randrange(-1, 2 + 21 * self.step_ms // (24 * HOUR_MS)))
        if near.day < 29 and rng.random() < 0.5:
            near = near.replace(year=near.year - rng.randrange(-2, 60))
        if rng.random() < 0.1:
            return "1968-02-29"
        return near.isoformat() + rng.choice(["", "", "", "T20:30:00Z", "T01:00:00+02:00"])


HOURS = Scale(START_MS, HOUR_MS // 2, ("1h", "2h", "3h", "90m", "5h"), date(1970, 2, 11))
DAYS = Scale(1_772_323_200_000, 72 * HOUR_MS, ("1d", "36h", "7d", "15d", "30d"), date(2026, 3, 1))
"""Sixty days from 1 March 2026: clocks change in all of `ZONES` that change them."""


def random_tests(rng: random.Random) -> dict[str, Any]:
    """One or two operators with operands that fit them."""
    scalars = [value for value in VALUES if isinstance(value, str | int | float)]
    operands: dict[str, Any] = {
        "is": rng.choice(scalars),
        "is_not": rng.choice(scalars),
        "in": rng.sample(scalars, k=rng.randrange(1, 4)),
        "contains": rng.choice(["Madrid", "a", "hats", 1, True]),
        "matches": rng.choice(["^Madrid$", "a+", "(?i)MADRID", "^$", r"\d{2}"]),
        "exists": rng.random() < 0.5,
        "gt": rng.choice([0, 1, 2.5]),
        "gte": rng.choice([0, 1.0, 2.5]),
        "lt": rng.choice([0, 10, 2.5]),
        "lte": rng.choice([0, 10, 2.5]),
        "before": rng.choice(DATES),
        "after": rng.choice(DATES),
    }
    return {name: operands[name] for name in rng.sample(sorted(operands), k=rng.choice([1, 1, 1, 2]))}


def random_where(rng: random.Random) -> dict[str, Any]:
    """`where` of an event: mostly the category, as people write it."""
    if rng.random() < 0.6:
        return {"category": rng.choice(CATEGORIES)}
    return {
        name: random_tests(rng) for name in rng.sample(["category", "price", "day"], k=rng.choice([1, 1, 2]))
    }


def random_condition(
    rng: random.Random, depth: int = 0, scale: Scale = HOURS, others: Sequence[str] = ()
) -> dict[str, Any]:
    """A condition in its JSON form; windows are frequent and short, so that they interfere."""
    kind = rng.choice(
        ("event",) * 5 + ("aggregate", "aggregate", "sequence", "first_time", "not_since", "date")
        + ("trait", "consent", "has") + (("segment",) if others else ())
        + (("group",) * 6 if depth < 3 else ())
    )  # fmt: skip
    if kind == "group":
        head = rng.choice(["all", "any", "none"])
        inner = [random_condition(rng, depth + 1, scale, others) for _ in range(rng.randrange(1, 4))]
        return {head: inner}
    if kind == "trait":
        return {"trait": rng.choice(["city", "plan", "born"]), **random_tests(rng)}
    if kind == "date":
        return random_date(rng, scale)
    if kind == "consent":
        return {"consent": rng.choice(PURPOSES)}
    if kind == "has":
        return {"has": rng.choice(TYPES)}
    if kind == "segment":
        other = rng.choice(others)
        if not other.startswith("trait:"):
            return {"segment": other}
        computed = {"trait": other.removeprefix("trait:")}
        return random_date(rng, scale) | computed if rng.random() < 0.2 else computed | random_tests(rng)
    if kind == "sequence":
        steps = [random_step(rng) for _ in range(rng.choice([2, 2, 3]))]
        return {"sequence": steps, "within": rng.choice(scale.windows)}
    if kind == "not_since":
        window = {"for": rng.choice(scale.windows)} if rng.random() < 0.8 else {}
        return {"not_since": random_step(rng) | window}
    condition = random_step(rng)
    if rng.random() < 0.8:
        condition["within"] = rng.choice(scale.windows)
    if kind == "first_time":
        return {"first_time": condition.pop("event"), **condition}
    if kind == "aggregate":
        condition[rng.choice(["sum", "min", "max", "avg"])] = rng.choice(["price", "price", "day"])
        for test in rng.sample(["gt", "gte", "lt", "lte"], k=rng.choice([1, 1, 2])):
            condition[test] = rng.choice([0, 1, 2.5, 3, 4.5, 10, 1.0000005])
        return condition
    comparison = rng.choice(["at_least", "at_most", "exactly", ""])
    if comparison:
        condition[comparison] = rng.randrange(1 if comparison == "at_least" else 0, 4)
    return condition


def random_step(rng: random.Random) -> dict[str, Any]:
    """A kind of event."""
    return {"event": rng.choice(EVENTS)} | ({"where": random_where(rng)} if rng.random() < 0.5 else {})


def random_date(rng: random.Random, scale: Scale) -> dict[str, Any]:
    """How the date in a trait stands to now."""
    condition: dict[str, Any] = {"trait": "born"}
    if rng.random() < 0.6:
        condition[rng.choice(["on", "anniversary"])] = rng.choice(["today", "tomorrow", "yesterday"])
    else:
        condition[rng.choice(["within_next", "within_last"])] = rng.choice(scale.windows)
    if rng.random() < 0.7:
        condition["timezone"] = rng.choice(ZONES)
    return condition


def random_trait(
    rng: random.Random, name: str, scale: Scale = HOURS, others: Sequence[str] = ()
) -> dict[str, Any]:
    """The definition of a computed trait in its JSON form."""
    if rng.random() < 0.25:
        rules = [
            {"points": rng.randrange(-5, 20), "when": random_condition(rng, 2, scale, others)}
            for _ in range(rng.randrange(1, 4))
        ]
        return {"trait": name, "score": rules}
    kind = rng.choice(COMPUTATIONS)
    written = {"trait": name, "compute": kind} | random_step(rng)
    if kind in ("sum", "avg", "min", "max", "most_frequent", "unique") or (
        kind in ("first", "last") and rng.random() < 0.7
    ):
        written["of"] = rng.choice(["price", "price", "day", "category"])
    if kind == "recency":
        return written | ({"unit": rng.choice(["1h", "5h"] if scale is HOURS else ["1d", "40h"])})
    if kind == "sessions":
        written["gap"] = rng.choice(scale.windows)
        written["event"] = rng.choice([written["event"], sorted(rng.sample(EVENTS, k=2))])
    return written | ({"within": rng.choice(scale.windows)} if rng.random() < 0.7 else {})


COMPUTATIONS = (
    "count", "sum", "avg", "min", "max", "first", "last", "most_frequent", "unique", "recency", "sessions"
)  # fmt: skip


def random_definition(
    rng: random.Random, number: int = 0, scale: Scale = HOURS, traits: float = 0.0
) -> dict[str, Any]:
    """A definition in its JSON form, with an id of its own per `number`; it may use those before it.

    `traits`: how many of them are those of computed traits, from 0 to 1.
    """
    others = [f"segment-{at}" for at in range(max(0, number - 5), number)]
    if traits:
        others += [f"trait:made_{at}" for at in range(max(0, number - 5), number)]
        if rng.random() < traits:
            return random_trait(rng, f"made_{number}", scale, others)
    where = random_condition(rng, scale=scale, others=others)
    definition: dict[str, Any] = {"id": f"segment-{number}", "where": where}
    if rng.random() < 0.2:
        definition["purpose"] = rng.choice(PURPOSES)
    return definition


def random_history(rng: random.Random, events: int, scale: Scale = HOURS) -> list[dict[str, Any]]:
    """Events over 20 steps, several of them at the same instant, in any order of arrival."""
    return [
        {
            "event_id": f"e{at}",
            "type": rng.choice(EVENTS),
            "occurred_at": scale.start_ms + rng.randrange(20) * scale.step_ms + rng.choice([0, 0, 1]),
            "properties": {
                name: rng.choice(VALUES) for name in ("price", "day", "category") if rng.random() < 0.3
            } | ({"category": rng.choice(CATEGORIES)} if rng.random() < 0.7 else {})
            | ({"price": rng.choice([1, 2, -1, 0.1, 2.5, 3])} if rng.random() < 0.5 else {}),
        }
        for at in range(events)
    ]  # fmt: skip


def random_traits(rng: random.Random, scale: Scale = HOURS) -> dict[str, Any]:
    """Some of the traits that conditions ask for; null is a trait that was taken back."""
    traits = {name: rng.choice(VALUES) for name in ("city", "plan", "born") if rng.random() < 0.6}
    return traits | ({"born": scale.day(rng)} if rng.random() < 0.7 else {})


def fold(
    catalogue: Catalogue, history: Sequence[dict[str, Any]], traits: dict[str, Any], consent: dict[str, bool]
) -> Facet:
    """The facet of a history, folded event by event with the catalogue's leaves."""
    facet = Facet()
    facet.traits = {name: [value, 1] for name, value in traits.items()}
    facet.consent = {purpose: [granted, 1] for purpose, granted in consent.items()}
    for event in history:
        facet.counters[event["type"]] = facet.counters.get(event["type"], 0) + 1
        finder = catalogue.finders.get(event["type"])
        for leaf in finder.find(event["properties"]) if finder else ():
            key = leaf.key_for(event["properties"])
            facet.see_leaf(key, leaf.capacity, event["occurred_at"], event["event_id"])
    return facet
