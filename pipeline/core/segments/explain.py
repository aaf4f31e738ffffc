"""Why a profile is inside a segment or outside: the tree of the definition with what each condition found.

Truth and instants come from the same compiled conditions that the workers evaluate. It must not know where
the profile was read or how an explanation is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never

from ..duration import format_duration
from ..facet import NEVER, Facet
from ..instant import format_instant
from .compile import Evaluate, compile_condition
from .definition import (
    All,
    AnyOf,
    Comparison,
    Condition,
    ConsentGiven,
    Definition,
    EventCount,
    HasIdentifier,
    NoneOf,
    PropertyTests,
    Test,
    TraitTests,
)
from .leaf import leaf_key

EVENTS_MAX: Final = 20  # events shown of one condition, newest first


@dataclass(frozen=True, slots=True)
class Explained:
    """One condition and what it found. `changes_ms`: when its truth changes by itself; NEVER if it cannot.

    `events`: (event time ms, event id) of those that decide it, newest first. `conditions`: those of a group.
    """

    condition: Condition
    holds: bool
    changes_ms: int
    found: Mapping[str, Any]
    events: tuple[tuple[int, str], ...] = ()
    conditions: tuple[Explained, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A group with its `conditions`, others as written with `found` and `events`."""
        group = isinstance(self.condition, All | AnyOf | NoneOf)
        written = self.condition.to_json()
        body: dict[str, Any] = {
            "condition": next(iter(written)) if group else written,
            "holds": self.holds,
            "changes_at": format_instant(self.changes_ms),
        }
        if group:
            return body | {"conditions": [one.to_json() for one in self.conditions]}
        events = [{"event_id": event_id, "at": format_instant(at_ms)} for at_ms, event_id in self.events]
        return body | {"found": dict(self.found), "events": events}


@dataclass(frozen=True, slots=True)
class WhySegment:
    """The answer for one profile and one definition at one instant. `purpose` None: no consent is needed.

    `takes`: a smallest set of plain conditions that would have to change for the answer to be another.
    """

    definition: Definition
    inside: bool
    at_ms: int
    changes_ms: int
    purpose: Explained | None
    where: Explained
    takes: tuple[Explained, ...]

    def would_change(self) -> list[str]:
        """`takes` in sentences."""
        return list(dict.fromkeys(_must(one) for one in self.takes))

    def to_json(self) -> dict[str, Any]:
        """The part of `elo why PROFILE SEGMENT --json` that the definition decides."""
        return {
            "segment_id": self.definition.id,
            "segment_version": self.definition.version,
            "inside": self.inside,
            "evaluated_at": format_instant(self.at_ms),
            "changes_at": format_instant(self.changes_ms),
            "purpose": None if self.purpose is None else self.purpose.to_json(),
            "where": self.where.to_json(),
            "would_change": self.would_change(),
        }


def explain_segment(
    definition: Definition, fold: Facet, identifiers: Collection[str], now_ms: int
) -> WhySegment:
    """Explain a definition over the fold of a profile with these identifiers at `now_ms` > 0."""
    where = _explain(definition.where, fold, identifiers, now_ms)
    purpose = None
    if definition.purpose is not None:
        purpose = _explain(ConsentGiven(definition.purpose), fold, identifiers, now_ms)
    granted = purpose is None or purpose.holds
    inside = granted and where.holds
    consent = [] if purpose is None else [purpose]
    if inside:  # One of the two is enough to leave.
        flips = consent or _flips(where)
    else:
        flips = [*([] if granted else consent), *([] if where.holds else _flips(where))]
    return WhySegment(
        definition,
        inside,
        now_ms,
        where.changes_ms if granted else NEVER,
        purpose,
        where,
        tuple(flips),
    )


def _explain(condition: Condition, fold: Facet, identifiers: Collection[str], now_ms: int) -> Explained:
    evaluate = compile_condition(condition).evaluate
    types = {identifier[: identifier.index(":")] for identifier in identifiers}
    holds, changes_ms = _truth(evaluate, fold, types, now_ms)
    if isinstance(condition, All | AnyOf | NoneOf):
        inner = tuple(_explain(one, fold, identifiers, now_ms) for one in condition.conditions)
        return Explained(condition, holds, changes_ms, {}, conditions=inner)
    if isinstance(condition, TraitTests):
        found = _trait_found(condition, fold)
    elif isinstance(condition, EventCount):
        found, events = _events_found(condition, fold, now_ms)
        return Explained(condition, holds, changes_ms, found, events)
    elif isinstance(condition, ConsentGiven):
        word = fold.consent.get(condition.purpose)
        found = {"granted": None, "at": None} if word is None else _word(word)
    elif isinstance(condition, HasIdentifier):
        kind = f"{condition.identifier_type}:"
        found = {"identifiers": sorted(one for one in identifiers if one.startswith(kind))}
    else:
        assert_never(condition)
    return Explained(condition, holds, changes_ms, found)


def _truth(evaluate: Evaluate, fold: Facet, types: Collection[str], now_ms: int) -> tuple[bool, int]:
    """Whether a condition holds, and the first instant at which that is no longer so without any input."""
    signed = evaluate(fold, types, now_ms)
    holds = signed > 0
    while abs(signed) != NEVER:
        due_ms = abs(signed)
        signed = evaluate(fold, types, due_ms)
        if (signed > 0) != holds:
            return holds, due_ms
    return holds, NEVER


def _word(word: list[Any]) -> dict[str, Any]:
    return {"granted": word[0], "at": format_instant(word[1])}


def _trait_found(condition: TraitTests, fold: Facet) -> dict[str, Any]:
    cell = fold.traits.get(condition.trait)
    if cell is None:
        return {"value": None, "at": None}
    at = format_instant(cell[1]) if isinstance(cell[1], int) else None  # frequent and union have several
    return {"value": cell[0], "at": at}


def _events_found(
    condition: EventCount, fold: Facet, now_ms: int
) -> tuple[dict[str, Any], tuple[tuple[int, str], ...]]:
    """How many there are, and which of them decide. Of a leaf only the newest instants are kept."""
    if not condition.where and condition.within_ms is None:
        return {"count": fold.counters.get(condition.event, 0), "or_more": False, "last_at": None}, ()
    ever, instants, ids = fold.leaves.get(leaf_key(condition.event, condition.where), (0, [], []))
    kept = list(zip(instants, ids, strict=True))
    last_at = format_instant(instants[-1]) if instants else None
    if condition.within_ms is None:
        return {"count": ever, "or_more": False, "last_at": last_at}, tuple(kept[: -EVENTS_MAX - 1 : -1])
    inside = [pair for pair in kept if pair[0] > now_ms - condition.within_ms]
    or_more = len(inside) == len(kept) < ever  # Older ones may lie in the window too.
    found = {"count": len(inside), "or_more": or_more, "last_at": last_at}
    return found, tuple(inside[: -EVENTS_MAX - 1 : -1])


# -- what would change it -----------------------------------------------------------------------------------


def _flips(node: Explained) -> list[Explained]:
    """A smallest set of plain conditions whose truth must change for that of `node` to change."""
    group = node.condition
    if not isinstance(group, All | AnyOf | NoneOf):
        return [node]
    # An `all` breaks with one member and needs every false one; `any` and `none` are the other way round.
    if isinstance(group, All):
        needed = [one for one in node.conditions if not one.holds]
    else:
        needed = [one for one in node.conditions if one.holds]
    if needed:
        return [flip for one in needed for flip in _flips(one)]
    return min((_flips(one) for one in node.conditions), key=len)


def _must(node: Explained) -> str:
    return f"{describe(node.condition)}: would have to {'end' if node.holds else 'become true'}"


def describe(condition: Condition) -> str:
    """A condition in words: `event order_completed (total gte 20) within 7d, at least 1`."""
    if isinstance(condition, All | AnyOf | NoneOf):
        word = {All: "all", AnyOf: "any", NoneOf: "none"}[type(condition)]
        return f"{word} of {len(condition.conditions)}"
    if isinstance(condition, TraitTests):
        return f"trait {condition.trait} {_tests(condition.tests)}"
    if isinstance(condition, EventCount):
        where = f" ({_where(condition.where)})" if condition.where else ""
        within = "" if condition.within_ms is None else f" within {format_duration(condition.within_ms)}"
        return f"event {condition.event}{where}{within}, {_comparison(condition)}"
    if isinstance(condition, ConsentGiven):
        return f"consent {condition.purpose}"
    if isinstance(condition, HasIdentifier):
        return f"has {condition.identifier_type}"
    assert_never(condition)


def _comparison(condition: EventCount) -> str:
    words = {Comparison.AT_LEAST: "at least", Comparison.AT_MOST: "at most", Comparison.EXACTLY: "exactly"}
    return f"{words[condition.comparison]} {condition.number}"


def _tests(tests: tuple[Test, ...]) -> str:
    return " and ".join(f"{test.operator} {_operand(test)}" for test in tests)


def _operand(test: Test) -> str:
    values = test.operand if isinstance(test.operand, tuple) else (test.operand,)
    return ", ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in values)


def _where(where: tuple[PropertyTests, ...]) -> str:
    return " and ".join(f"{tested.property} {_tests(tested.tests)}" for tested in where)
