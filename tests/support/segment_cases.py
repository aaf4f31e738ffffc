"""Generated definitions, persons and histories, and the fold of a history as the resolver would make it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from pipeline.core.facet import Facet
from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.leaf import add_instant

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
DATES = ("2026-01-31", "2026-02-01T10:00:00Z", "2026-02-01T09:00:00+01:00", 1_769_817_600_000)


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


def random_condition(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """A condition in its JSON form; windows are frequent and short, so that they interfere."""
    kind = rng.choice(("event",) * 5 + ("trait", "consent", "has") + (("group",) * 5 if depth < 3 else ()))
    if kind == "group":
        head = rng.choice(["all", "any", "none"])
        return {head: [random_condition(rng, depth + 1) for _ in range(rng.randrange(1, 4))]}
    if kind == "trait":
        return {"trait": rng.choice(["city", "plan", "born"]), **random_tests(rng)}
    if kind == "consent":
        return {"consent": rng.choice(PURPOSES)}
    if kind == "has":
        return {"has": rng.choice(TYPES)}
    condition: dict[str, Any] = {"event": rng.choice(EVENTS)}
    if rng.random() < 0.5:
        condition["where"] = random_where(rng)
    if rng.random() < 0.8:
        condition["within"] = rng.choice(["1h", "2h", "3h", "90m", "5h"])
    comparison = rng.choice(["at_least", "at_most", "exactly", ""])
    if comparison:
        condition[comparison] = rng.randrange(1 if comparison == "at_least" else 0, 4)
    return condition


def random_definition(rng: random.Random, number: int = 0) -> dict[str, Any]:
    """A definition in its JSON form, with an id of its own per `number`."""
    definition: dict[str, Any] = {"id": f"segment-{number}", "where": random_condition(rng)}
    if rng.random() < 0.2:
        definition["purpose"] = rng.choice(PURPOSES)
    return definition


def random_history(rng: random.Random, events: int) -> list[dict[str, Any]]:
    """Events within ten hours, several of them at the same instant, in any order of arrival."""
    return [
        {
            "event_id": f"e{at}",
            "type": rng.choice(EVENTS),
            "occurred_at": START_MS + rng.randrange(20) * HOUR_MS // 2 + rng.choice([0, 0, 1]),
            "properties": {
                name: rng.choice(VALUES) for name in ("price", "day", "category") if rng.random() < 0.3
            } | ({"category": rng.choice(CATEGORIES)} if rng.random() < 0.7 else {}),
        }
        for at in range(events)
    ]  # fmt: skip


def random_traits(rng: random.Random) -> dict[str, Any]:
    """Some of the traits that conditions ask for; null is a trait that was taken back."""
    return {name: rng.choice(VALUES) for name in ("city", "plan", "born") if rng.random() < 0.6}


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
            state = facet.leaves.setdefault(leaf.key, [0, [], []])
            add_instant(state, event["occurred_at"], event["event_id"], leaf.capacity)
    return facet
