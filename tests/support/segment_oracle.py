"""The segment oracle: who is inside a segment, decided slowly and obviously from raw events.

Takes the JSON form of a definition and everything that is known of one person. Shares no code with
`pipeline.core.segments`: no folding, no leaves, no compiled conditions, every event looked at every time.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.value_oracle import (
    EDGE_DAYS,
    EPOCH,
    UNITS,
    duration_ms,
    instant_of,
    is_number,
    local,
    midnights,
    passes,
)

Event = Mapping[str, Any]
"""`event_id`, `type`, `occurred_at` (ms), `properties` (a mapping): an event that has arrived."""


class Person:
    """What is known of a person at one moment. `history`: events that have arrived, in any order."""

    def __init__(
        self,
        history: Sequence[Event],
        traits: Mapping[str, Any],
        consent: Mapping[str, bool],
        identifier_types: Collection[str],
    ) -> None:
        self.history = {event["event_id"]: event for event in history}
        self.traits, self.consent, self.identifier_types = traits, consent, identifier_types


Definitions = Mapping[str, Mapping[str, Any]]
"""Id → JSON form, of all definitions in force, `trait:NAME` of computed traits among them."""
KEPT = 200
"""Newest events that computed traits look at."""


def id_of(definition: Mapping[str, Any]) -> str:
    """The id of a definition, of a computed trait too."""
    return f"trait:{definition['trait']}" if "trait" in definition else str(definition["id"])


def is_inside(
    definition: Mapping[str, Any], person: Person, now_ms: int, others: Definitions | None = None
) -> bool:
    """Whether the person is inside the segment at `now_ms`. `definition` is the JSON form."""
    purpose = definition.get("purpose")
    if purpose is not None and not person.consent.get(purpose, False):
        return False
    return _holds(definition["where"], person, now_ms, others or {})


def window_edges(
    definition: Mapping[str, Any], person: Person, others: Definitions, from_ms: int
) -> list[int]:
    """Every instant from `from_ms` on at which time alone may change something in the definition, ascending.

    Calendar days of EDGE_DAYS are looked at.
    """
    found: set[int] = set()
    if "trait" in definition:
        return trait_edges(definition, person, others, from_ms)
    for one in _conditions(definition["where"], others):
        name = f"trait:{one['trait']}" if "trait" in one else ""
        if name in others and not _leads_back(name, others):
            found |= set(trait_edges(others[name], person, others, from_ms))
            if "on" in one or "within_last" in one or "within_next" in one or "anniversary" in one:
                found |= set(_date_edges(one, others[name], person, others, from_ms))
            continue
        length = one.get("within") or one.get("not_since", {}).get("for")
        if length is not None:
            found |= {event["occurred_at"] + duration_ms(length) for event in person.history.values()}
        if "on" in one or "anniversary" in one:
            found |= set(midnights(one.get("timezone", "UTC"), from_ms // UNITS["d"]))
        elif "within_next" in one or "within_last" in one:
            found |= set(_span(one, person) or ())
    return sorted(edge for edge in found if edge >= from_ms)


def trait_edges(
    definition: Mapping[str, Any], person: Person, others: Definitions, from_ms: int
) -> list[int]:
    """The same for the value of a computed trait."""
    if "score" in definition:
        edges = [
            window_edges({"where": rule["when"]}, person, others, from_ms) for rule in definition["score"]
        ]
        return sorted({edge for some in edges for edge in some})
    instants = [event["occurred_at"] for event in _made_of(definition, person)]
    lengths = [duration_ms(definition["within"])] if "within" in definition else []
    if definition["compute"] == "recency":
        unit = duration_ms(definition.get("unit", "1d"))
        lengths = [times * unit for times in range(1, EDGE_DAYS * UNITS["d"] // unit + 1)]
        instants = instants and [max(instants)]
    return sorted({at + length for at in instants for length in lengths if at + length >= from_ms})


def _date_edges(
    condition: Mapping[str, Any], trait: Mapping[str, Any], person: Person, others: Definitions, from_ms: int
) -> list[int]:
    """When a date that is a computed trait may turn a page: at any midnight, or beside any of its values."""
    if "on" in condition or "anniversary" in condition:
        return midnights(condition.get("timezone", "UTC"), from_ms // UNITS["d"])
    found = []
    for now_ms in [from_ms, *trait_edges(trait, person, others, from_ms)]:
        value = trait_value(trait, person, now_ms, others)
        found += _span(condition, Person([], {condition["trait"]: value}, {}, [])) or ()
    return found


def _made_of(definition: Mapping[str, Any], person: Person) -> list[Event]:
    """The events that a computed trait is made of, those that are kept, oldest first."""
    events = definition["event"] if isinstance(definition["event"], list) else [definition["event"]]
    of = definition.get("of")
    aggregate = definition["compute"] in ("sum", "avg", "min", "max")
    found = [
        event for event in person.history.values()
        if event["type"] in events and _passes_where(definition, event)
        and (of is None or _usable(event["properties"].get(of), aggregate))
    ]  # fmt: skip
    found.sort(key=lambda event: (event["occurred_at"], _standing(event, of, aggregate)))
    ever = "within" not in definition and (aggregate or definition["compute"] in ("count", "first"))
    return found if ever else found[-KEPT:]


def _usable(value: Any, aggregate: bool) -> bool:
    if aggregate:
        return is_number(value) and abs(value) <= 10**12
    return isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= 100)


def _json(value: Any) -> str:
    value = int(value) if isinstance(value, float) and value == int(value) else value
    return json.dumps(value, ensure_ascii=False).replace(" ", "\\u0020")


def _standing(event: Event, of: str | None, aggregate: bool) -> str:
    """What decides between events of one instant: the value, then the event id."""
    event_id, value = event["event_id"].rpartition(" ")[2], event["properties"].get(of)
    if of is None:
        return event_id
    return f"{_exact(value) * 10**6 if aggregate else _json(value)} {event_id}"


def trait_value(definition: Mapping[str, Any], person: Person, now_ms: int, others: Definitions) -> Any:
    """The value of a computed trait at `now_ms`; None if there is none."""
    if "score" in definition:
        held = [rule for rule in definition["score"] if _holds(rule["when"], person, now_ms, others)]
        return sum(rule["points"] for rule in held)
    made_of, kind, of = _made_of(definition, person), definition["compute"], definition.get("of")
    if kind == "recency":
        unit = duration_ms(definition.get("unit", "1d"))
        ages = [now_ms - event["occurred_at"] for event in made_of]
        return min(max(min(ages), 0) // unit, 400 * UNITS["d"] // unit) if ages else None
    if "within" in definition:
        length = duration_ms(definition["within"])
        made_of = [event for event in made_of if now_ms < event["occurred_at"] + length]
    values = [event["properties"].get(of) if of else event["occurred_at"] for event in made_of]
    if kind == "count":
        return len(made_of)
    if kind == "unique":
        return len({_json(value) for value in values})
    if kind == "sessions":
        instants, gap = sorted(values), duration_ms(definition["gap"])
        return sum(1 for at, instant in enumerate(instants) if at == 0 or instant - instants[at - 1] > gap)
    if kind == "sum" or not values:
        return _shown(sum((_exact(value) for value in values), Fraction(0))) if kind == "sum" else None
    if kind in ("first", "last"):
        return _plain(values[0 if kind == "first" else -1])
    if kind == "most_frequent":
        texts = [_json(value) for value in values]
        last = {text: event["occurred_at"] for text, event in zip(texts, made_of, strict=True)}
        return json.loads(max(last, key=lambda text: (texts.count(text), last[text], text)))
    numbers = [_exact(value) for value in values]
    return _shown({"min": min(numbers), "max": max(numbers), "avg": sum(numbers) / len(numbers)}[kind])


def _exact(value: Any) -> Fraction:
    return round(Fraction(repr(value)), 6)


def _shown(number: Fraction) -> Any:
    return _plain(float(round(number, 6)))


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value == int(value) else value


def _conditions(condition: Mapping[str, Any], others: Definitions) -> list[Mapping[str, Any]]:
    inner = [one for head in ("all", "any", "none") for one in condition.get(head, [])]
    if "segment" in condition and not _leads_back(condition["segment"], others):
        inner.append(others[condition["segment"]]["where"])
    return [condition, *(found for one in inner for found in _conditions(one, others))]


def _leads_back(name: str, others: Definitions, above: tuple[str, ...] = ()) -> bool:
    """Whether a segment is unknown, or a way through what is inside it never ends."""
    if name not in others or name in above:
        return True
    whole = others[name]
    wheres = [rule["when"] for rule in whole.get("score", [])] if "trait" in whole else [whole["where"]]
    return any(
        _leads_back(one, others, (*above, name))
        for where in wheres for one in _references(where) if one in others
    )  # fmt: skip


def _references(condition: Mapping[str, Any]) -> list[str]:
    inner = [one for head in ("all", "any", "none") for one in condition.get(head, [])]
    found = [condition["segment"]] if "segment" in condition else []
    found += [f"trait:{condition['trait']}"] if "trait" in condition else []
    return found + [name for one in inner for name in _references(one)]


def _holds(condition: Mapping[str, Any], person: Person, now_ms: int, others: Definitions) -> bool:
    if "all" in condition:
        return all(_holds(one, person, now_ms, others) for one in condition["all"])
    if "any" in condition:
        return any(_holds(one, person, now_ms, others) for one in condition["any"])
    if "none" in condition:
        return not any(_holds(one, person, now_ms, others) for one in condition["none"])
    if "segment" in condition:
        name = condition["segment"]
        return not _leads_back(name, others) and is_inside(others[name], person, now_ms, others)
    if "consent" in condition:
        return person.consent.get(condition["consent"], False)
    if "has" in condition:
        return condition["has"] in person.identifier_types
    if "trait" in condition:
        name = f"trait:{condition['trait']}"
        if name in others and not _leads_back(name, others):
            value = trait_value(others[name], person, now_ms, others)
            person = Person([], {condition["trait"]: value}, {}, [])
        tests = {key: operand for key, operand in condition.items() if key != "trait"}
        if not {"on", "anniversary", "within_next", "within_last"}.isdisjoint(tests):
            return _dated(condition, person, now_ms)
        return passes(person.traits.get(condition["trait"]), tests)
    return _happened(condition, person, now_ms)


def _happened(condition: Mapping[str, Any], person: Person, now_ms: int) -> bool:
    """Conditions on events."""
    events = list(person.history.values())
    if "sequence" in condition:
        steps = [
            [event["occurred_at"] for event in events if _counts({**condition, **step}, event, now_ms)]
            for step in condition["sequence"]
        ]
        return _follow(steps, -1)
    if "not_since" in condition:
        inner = dict(condition["not_since"])
        window = {"within": inner["for"]} if "for" in inner else {}
        return not any(_counts(inner | window, event, now_ms) for event in events)
    if "first_time" in condition:
        asked = {**condition, "event": condition["first_time"]}
        ever = {key: value for key, value in asked.items() if key != "within"}
        once = [event for event in events if _counts(ever, event, now_ms)]
        return len(once) == 1 and _counts(asked, once[0], now_ms)
    happened = [event for event in events if _counts(condition, event, now_ms)]
    for aggregate in ("sum", "min", "max", "avg"):
        if aggregate in condition:
            return _aggregated(condition, aggregate, happened)
    if "exactly" in condition:
        return len(happened) == condition["exactly"]
    if "at_most" in condition:
        return len(happened) <= condition["at_most"]
    return len(happened) >= condition.get("at_least", 1)


def _follow(steps: Sequence[Sequence[int]], after_ms: int) -> bool:
    """Whether there is one event of each step, each later than the one before."""
    return not steps or any(_follow(steps[1:], at_ms) for at_ms in steps[0] if at_ms > after_ms)


def _aggregated(condition: Mapping[str, Any], aggregate: str, happened: Sequence[Event]) -> bool:
    given = [event["properties"].get(condition[aggregate]) for event in happened]
    numbers = [
        round(Fraction(repr(value)), 6) for value in given if is_number(value) and abs(value) <= 10**12
    ]
    if aggregate == "sum":
        result = sum(numbers, Fraction(0))
    elif not numbers:
        return False
    else:
        result = {"min": min(numbers), "max": max(numbers), "avg": sum(numbers) / len(numbers)}[aggregate]
    tests = {key: condition[key] for key in ("gt", "gte", "lt", "lte") if key in condition}
    bounds = {key: Fraction(repr(operand)) for key, operand in tests.items()}
    return all(
        {"gt": result > bound, "gte": result >= bound, "lt": result < bound, "lte": result <= bound}[key]
        for key, bound in bounds.items()
    )


def _counts(condition: Mapping[str, Any], event: Event, now_ms: int) -> bool:
    if event["type"] != condition["event"]:
        return False
    if "within" in condition and not now_ms < event["occurred_at"] + duration_ms(condition["within"]):
        return False
    return _passes_where(condition, event)


def _passes_where(condition: Mapping[str, Any], event: Event) -> bool:
    return all(
        passes(event["properties"].get(name), tests if isinstance(tests, dict) else {"is": tests})
        for name, tests in condition.get("where", {}).items()
    )


def _dated(condition: Mapping[str, Any], person: Person, now_ms: int) -> bool:
    """Conditions on a date of the person."""
    zone = condition.get("timezone", "UTC")
    if "on" not in condition and "anniversary" not in condition:
        span = _span(condition, person)
        return span is not None and span[0] <= now_ms < span[1]
    day = _day(person.traits.get(condition["trait"]), zone)
    if day is None:
        return False
    which = condition.get("on") or condition["anniversary"]
    shown = local(now_ms, zone).date() + timedelta(days=("today", "tomorrow").index(which)
                                                    if which != "yesterday" else -1)  # fmt: skip
    if "on" in condition:
        return shown == day
    leap = shown.year % 4 == 0 and (shown.year % 100 != 0 or shown.year % 400 == 0)
    month_and_day = (2, 28) if (day.month, day.day) == (2, 29) and not leap else (day.month, day.day)
    return (shown.month, shown.day) == month_and_day and shown >= day


def _day(value: Any, zone: str) -> date | None:
    try:
        if isinstance(value, str) and len(value) == 10:
            return date.fromisoformat(value)
    except ValueError:
        return None
    at = instant_of(value)
    return None if at is None else at.astimezone(ZoneInfo(zone)).date()


def _span(condition: Mapping[str, Any], person: Person) -> tuple[int, int] | None:
    """From when until when a date is in the next, or was in the last, so and so long."""
    value, zone = person.traits.get(condition["trait"]), condition.get("timezone", "UTC")
    day = _day(value, zone)
    if day is None:
        return None
    if isinstance(value, str) and len(value) == 10:
        at = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    else:
        instant = instant_of(value)
        assert instant is not None
        at = instant
    ahead = "within_next" in condition
    length_ms = duration_ms(condition["within_next" if ahead else "within_last"])
    sign = -1 if ahead else 1
    if "timezone" in condition and length_ms % UNITS["d"] == 0:
        other = at.astimezone(ZoneInfo(zone)) + timedelta(days=sign * length_ms // UNITS["d"])
    else:
        other = at.astimezone(UTC) + timedelta(milliseconds=sign * length_ms)
    ends = [(one.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1) for one in (at, other)]
    return min(ends), max(ends)
