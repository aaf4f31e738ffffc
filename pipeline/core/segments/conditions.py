"""Readers of the plain conditions, those without conditions inside: which keys they have, and what fits them.

It must not know how conditions are grouped or what a definition is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ..duration import UNITS_MS, format_duration
from .dates import zone_names, zone_of
from .definition import (
    Aggregate,
    Comparison,
    DateOperator,
    Day,
    EventAggregate,
    EventCount,
    EventSequence,
    FirstTime,
    InSegment,
    NotSince,
    PropertyTests,
    Step,
    TraitDate,
    TraitTests,
)
from .document import DefinitionError, Node, similar_to
from .operands import NUMBER_OPERATORS, OPERATORS, read_tests, read_where
from .operands import SYNONYMS as OPERATOR_SYNONYMS

COUNT_MAX: Final = 1_000  # instants that a window leaf may have to keep in every facet
WITHIN_MS_MAX: Final = 400 * UNITS_MS["d"]
STEPS_MAX: Final = 10
ID: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
SNAKE: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")  # as touchpoint.py has it

COMPARISONS: Final = tuple(str(comparison) for comparison in Comparison)
AGGREGATES: Final = tuple(str(aggregate) for aggregate in Aggregate)
DATE_OPERATORS: Final = tuple(str(operator) for operator in DateOperator)
DAYS: Final = tuple(str(day) for day in Day)
EVENT_KEYS: Final = ("event", "where", "within", *COMPARISONS, *AGGREGATES)
STEP_KEYS: Final = ("event", "where")
NOT_SINCE_KEYS: Final = ("event", "where", "for")
KEYS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "all": ("all",),
    "any": ("any",),
    "none": ("none",),
    "trait": ("trait", *OPERATORS, *DATE_OPERATORS, "timezone"),
    "event": (*EVENT_KEYS, *NUMBER_OPERATORS),
    "sequence": ("sequence", "within"),
    "first_time": ("first_time", "where", "within"),
    "not_since": ("not_since",),
    "segment": ("segment",),
    "consent": ("consent",),
    "has": ("has",),
})  # fmt: skip
"""The keys of each condition by its head, which comes first."""
EXAMPLES: Final[Mapping[str, str]] = MappingProxyType({
    "all": "all: [{trait: city, is: Madrid}, {has: email}]",
    "any": "any: [{trait: city, is: Madrid}, {trait: city, is: Lisbon}]",
    "none": "none: [{event: order_completed, within: 7d}]",
    "trait": "{trait: city, is: Madrid}",
    "event": "{event: product_viewed, within: 7d}",
    "sequence": "{sequence: [{event: product_viewed}, {event: order_completed}], within: 7d}",
    "first_time": "{first_time: order_completed, within: 7d}",
    "not_since": "{not_since: {event: order_completed, for: 30d}}",
    "segment": "{segment: madrid-buyers}",
    "consent": "{consent: marketing}",
    "has": "{has: email}",
})  # fmt: skip
_SYNONYMS: Final[Mapping[str, str]] = MappingProxyType({
    "and": "all", "or": "any", "not": "none", "nor": "none", "property": "trait", "attribute": "trait",
    "type": "event", "identifier": "has", "since": "within", "window": "within", "last": "within",
    "count": "at_least", "times": "at_least", "min_count": "at_least", "max_count": "at_most",
    "conditions": "where", "properties": "where", "title": "name", "description": "name", "rules": "where",
    "total": "sum", "average": "avg", "mean": "avg", "minimum": "min", "maximum": "max", "steps": "sequence",
    "funnel": "sequence", "first": "first_time", "not_in": "not_since", "in_segment": "segment",
    "member_of": "segment", "tz": "timezone", "time_zone": "timezone", "birthday": "anniversary",
    "in_next": "within_next", "in_last": "within_last", "during": "for",
})  # fmt: skip


def only(entries: Mapping[str, Node], known: tuple[str, ...], name: str) -> None:
    """Refuse the first key that is not known."""
    for key, value in entries.items():
        if key not in known:
            refuse_key(key, value, name, known)


def refuse_key(key: str, value: Node, name: str, known: tuple[str, ...]) -> None:
    """Refuse a key with what was probably meant."""
    problem = f"{key!r} is not known in {name}"
    for synonyms in (_SYNONYMS, OPERATOR_SYNONYMS):
        if synonyms.get(key.lower(), "") in known:
            raise DefinitionError(value.key_place, problem, f"did you mean {synonyms[key.lower()]}?")
    if key in EVENT_KEYS:
        raise DefinitionError(value.key_place, problem, f"{key} belongs to an event condition")
    if key in (*DATE_OPERATORS, "timezone"):
        raise DefinitionError(value.key_place, problem, f"{key} belongs to a trait condition")
    if key in OPERATORS:
        home = f"where: {{price: {{{key}: ...}}}}" if "within" in known else f"{{trait: city, {key}: ...}}"
        raise DefinitionError(value.key_place, problem, f"write {home}")
    raise DefinitionError(value.key_place, problem, similar_to(key, known))


def whole_number(node: Node, name: str, least: int, most: int) -> int:
    """A whole number from `least` to `most`."""
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int):
        given = str(value) if isinstance(value, float) else node.kind()
        node.refuse(f"{name} is a whole number, not {given}", f"write for example {name}: {max(least, 1)}")
    if not least <= value <= most:
        node.refuse(f"{name} is {value}", f"write a number from {least} to {most}")
    return value


def _plain_letters(text: str) -> str:
    """The same without accents."""
    return "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))


def kebab(node: Node, name: str = "id") -> str:
    """A segment id."""
    text = node.text(name, "madrid-buyers", 100)
    if not ID.fullmatch(text):
        slug = "-".join(re.findall(r"[a-z0-9]+", _plain_letters(text).lower())) or "madrid-buyers"
        node.refuse(f"the id {text!r} is not in kebab-case", f"write {slug}")
    return text


# -- traits -------------------------------------------------------------------------------------------------


def read_trait(entries: dict[str, Node]) -> TraitTests | TraitDate:
    """Operators on a trait, or one that compares its date with now."""
    dated = [key for key in entries if key in DATE_OPERATORS]
    if dated:
        return _read_date(entries, dated[0])
    if "timezone" in entries:
        hint = f"write it beside one of {', '.join(DATE_OPERATORS)}"
        raise DefinitionError(entries["timezone"].key_place, "timezone has nothing to say here", hint)
    only(entries, ("trait", *OPERATORS, *DATE_OPERATORS), "a trait condition")
    name = entries["trait"].text("trait", EXAMPLES["trait"])
    tests = {key: value for key, value in entries.items() if key != "trait"}
    if not tests:
        entries["trait"].refuse(
            f"the condition on {name} has no operator", f"write {{trait: {name}, exists: true}}"
        )
    return TraitTests(name, read_tests(tests), entries["trait"].place)


def _read_date(entries: dict[str, Node], operator: str) -> TraitDate:
    for key, value in entries.items():
        if key in (*OPERATORS, *DATE_OPERATORS) and key != operator:
            problem = f"{operator} and {key} stand in one condition"
            raise DefinitionError(value.key_place, problem, "write two trait conditions under all")
    only(entries, ("trait", operator, "timezone"), f"a trait condition with {operator}")
    name = entries["trait"].text("trait", EXAMPLES["trait"])
    node = entries[operator]
    operand: Day | int
    if operator in (DateOperator.ON, DateOperator.ANNIVERSARY):
        if node.value not in DAYS:
            node.refuse(f"{operator} is one of {', '.join(DAYS)}", f"write {operator}: today")
        operand = Day(str(node.value))
    else:
        operand = duration(node, operator)
    zone = entries["timezone"].text("timezone", "Europe/Madrid", 100) if "timezone" in entries else None
    if zone is not None and zone_of(zone) is None:
        hint = similar_to(zone, zone_names(), "write for example Europe/Madrid; known are")
        hint = hint if len(hint) < 80 else "write for example Europe/Madrid"
        entries["timezone"].refuse(f"{zone!r} is not a time zone", hint)
    return TraitDate(name, DateOperator(operator), operand, zone, entries["trait"].place)


# -- events -------------------------------------------------------------------------------------------------


def read_event(entries: dict[str, Node]) -> EventCount | EventAggregate:
    """How many events there are, or what is made of the number that each carries."""
    aggregates = [key for key in entries if key in AGGREGATES]
    comparisons = [key for key in entries if key in COMPARISONS]
    together = (aggregates + comparisons)[:2]
    if len(together) > 1:
        place = entries[together[1]].key_place
        problem = f"{together[0]} and {together[1]} stand in one condition"
        raise DefinitionError(place, problem, "write two event conditions under all")
    if aggregates:
        return _read_aggregate(entries, aggregates[0])
    only(entries, EVENT_KEYS, "an event condition")
    comparison = Comparison(comparisons[0] if comparisons else "at_least")
    number = 1
    if comparisons:
        least = 1 if comparison is Comparison.AT_LEAST else 0
        number = whole_number(entries[comparison], str(comparison), least, COUNT_MAX)
    event, where = _read_step(entries, "event")
    return EventCount(event, where, _within(entries), comparison, number)


def _read_aggregate(entries: dict[str, Node], aggregate: str) -> EventAggregate:
    only(entries, ("event", "where", "within", aggregate, *NUMBER_OPERATORS), f"an event with {aggregate}")
    name = entries[aggregate].text(aggregate, f"{aggregate}: total", 1_000)
    tests = {key: value for key, value in entries.items() if key in NUMBER_OPERATORS}
    if not tests:
        entries[aggregate].refuse(
            f"the {aggregate} of {name} is compared to nothing", f"write {aggregate}: {name}, gte: 100"
        )
    event, where = _read_step(entries, "event")
    return EventAggregate(event, where, _within(entries), Aggregate(aggregate), name, read_tests(tests))


def read_sequence(entries: dict[str, Node]) -> EventSequence:
    """Events one after the other."""
    only(entries, KEYS["sequence"], "a sequence")
    node = entries["sequence"]
    items = node.items("sequence", EXAMPLES["sequence"])
    if not 2 <= len(items) <= STEPS_MAX:
        node.refuse(f"a sequence has 2 to {STEPS_MAX} steps", f"write for example {EXAMPLES['sequence']}")
    if "within" not in entries:
        node.refuse("within is missing", "write for example within: 7d beside the sequence")
    steps = []
    for item in items:
        step = item.mapping("a step", "{event: product_viewed}")
        if "event" not in step:
            key = next(iter(step))
            raise DefinitionError(step[key].key_place, "a step has no event", "write {event: product_viewed}")
        only(step, STEP_KEYS, "a step of a sequence")
        steps.append(Step(*_read_step(step, "event")))
    return EventSequence(tuple(steps), duration(entries["within"], "within"))


def read_first_time(entries: dict[str, Node]) -> FirstTime:
    """An event that happened once."""
    only(entries, KEYS["first_time"], "a condition with first_time")
    event, where = _read_step(entries, "first_time")
    return FirstTime(event, where, _within(entries))


def read_not_since(entries: dict[str, Node]) -> NotSince:
    """An event that did not happen for some time, or never did."""
    for key, value in entries.items():
        if key != "not_since":
            problem = f"{key!r} is not known beside not_since"
            raise DefinitionError(value.key_place, problem, f"write for example {EXAMPLES['not_since']}")
    inner = entries["not_since"].mapping("not_since", EXAMPLES["not_since"])
    only(inner, NOT_SINCE_KEYS, "not_since")
    if "event" not in inner:
        entries["not_since"].refuse("not_since has no event", f"write for example {EXAMPLES['not_since']}")
    event, where = _read_step(inner, "event")
    return NotSince(event, where, duration(inner["for"], "for") if "for" in inner else None)


def read_segment(entries: dict[str, Node]) -> InSegment:
    """Another segment."""
    only(entries, KEYS["segment"], "a condition with segment")
    return InSegment(kebab(entries["segment"], "segment"), entries["segment"].place)


def _read_step(entries: Mapping[str, Node], head: str) -> tuple[str, tuple[PropertyTests, ...]]:
    return snake(entries[head], head, EXAMPLES[head]), read_where(
        entries["where"]
    ) if "where" in entries else ()


def snake(node: Node, head: str, example: str) -> str:
    """The name of an event or of a computed trait."""
    text = node.text(head, example, 100)
    if not SNAKE.fullmatch(text):
        spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", _plain_letters(text))
        slug = "_".join(re.findall(r"[a-z0-9]+", spaced.lower()))
        what = "trait" if head == "trait" else "event"
        node.refuse(
            f"the {what} {text!r} is not in snake_case",
            f"write {slug if slug[:1].isalpha() else 'orders_30d' if head == 'trait' else 'product_viewed'}",
        )
    return text


def _within(entries: Mapping[str, Node]) -> int | None:
    return duration(entries["within"], "within") if "within" in entries else None


def duration(node: Node, name: str) -> int:
    """A length of time in ms, at most WITHIN_MS_MAX."""
    length_ms = node.duration_ms(name)
    if length_ms > WITHIN_MS_MAX:
        node.refuse(f"the window {node.value} is too long", f"write at most {format_duration(WITHIN_MS_MAX)}")
    return length_ms
