"""Why a profile is inside a segment or outside: the tree of the definition with what each condition found.

Truth and instants come from the same compiled conditions that the workers evaluate. It must not know where
the profile was read or how an explanation is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, assert_never

from ..facet import NEVER, Facet
from ..instant import format_instant
from . import asked
from .asked import as_count
from .behind import identifiers_behind
from .compile import compile_condition, timeline_of
from .definition import (
    TRAIT,
    Aggregate,
    All,
    AnyOf,
    Computed,
    ComputedTests,
    Condition,
    ConsentGiven,
    Definition,
    EventAggregate,
    EventCount,
    EventSequence,
    FirstTime,
    HasIdentifier,
    InSegment,
    NoneOf,
    NotSince,
    Score,
    TraitDate,
    TraitTests,
)
from .ingredients import ingredients_of
from .leaf import MILLIONTHS, LeafState, event_ids, leaf_key, totals_of, values_of
from .references import References
from .signed import Evaluate
from .words import describe

Events: TypeAlias = tuple[tuple[int, str], ...]
EVENTS_MAX: Final = 20  # events shown of one condition, newest first
STEPS_MAX: Final = 1_000  # instants that are looked at for the next change; a birthday comes every year
NO_FACETS: Final[Mapping[str, Facet]] = {}


@dataclass(frozen=True, slots=True)
class Explained:
    """One condition and what it found. `changes_ms`: when its truth changes by itself; NEVER if it cannot.

    `events`: (event time ms, event id) of those that decide it, newest first; `identifiers`: who is
    behind it. `conditions`: those of a group,
    or of the segment that a reference names, its consent first, or those of a score.
    """

    condition: Condition
    holds: bool
    changes_ms: int
    found: Mapping[str, Any]
    events: Events = ()
    conditions: tuple[Explained, ...] = ()
    identifiers: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A group with its `conditions`, others with `found` and `events`, a reference with all."""
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
        body |= {"found": dict(self.found), "events": events, "identifiers": list(self.identifiers)}
        if self.conditions:
            body["conditions"] = [one.to_json() for one in self.conditions]
        return body


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
    definition: Definition,
    fold: Facet,
    identifiers: Collection[str],
    now_ms: int,
    definitions: Mapping[str, Definition],
    facets: Mapping[str, Facet] = NO_FACETS,
) -> WhySegment:
    """Explain a definition over the fold of a profile with these identifiers at `now_ms` > 0.

    `definitions`: all that are in force, for those that it refers to. `facets`: those of the profile by
    identifier, to say which of them is behind a condition.
    """
    explainer = Explainer(fold, identifiers, now_ms, definitions, facets)
    where = explainer.explain(definition.where)
    purpose = None if definition.purpose is None else explainer.explain(ConsentGiven(definition.purpose))
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


class Explainer:
    """One profile at one instant."""

    def __init__(
        self,
        fold: Facet,
        identifiers: Collection[str],
        now_ms: int,
        definitions: Mapping[str, Definition],
        facets: Mapping[str, Facet],
    ) -> None:
        self.fold, self.identifiers, self.now_ms = fold, identifiers, now_ms
        self.types = {identifier[: identifier.index(":")] for identifier in identifiers}
        self.definitions, self.facets = definitions, facets
        self.references = References(definitions)

    def explain(self, condition: Condition) -> Explained:
        evaluate = compile_condition(self.references.expand(condition)).evaluate
        holds, changes_ms = _truth(evaluate, self.fold, self.types, self.now_ms)
        if isinstance(condition, All | AnyOf | NoneOf):
            inner = tuple(map(self.explain, condition.conditions))
            return Explained(condition, holds, changes_ms, {}, conditions=inner)
        if isinstance(condition, InSegment):
            inner = tuple(map(self.explain, self.inside(condition)))
            return Explained(condition, holds, changes_ms, {"known": bool(inner)}, conditions=inner)
        if isinstance(condition, TraitTests | TraitDate):
            value = self.references.value_of(condition.trait)
            if value is not None:
                found, events, inner = self.computed(condition.trait, value)
                behind = identifiers_behind(condition, value, events, self.fold, self.facets)
                return Explained(condition, holds, changes_ms, found, events, inner, behind)
        if isinstance(condition, Computed | Score | ComputedTests):
            raise TypeError("what a computed trait is made of is no condition of a segment")
        found, events = self.found(condition)
        behind = identifiers_behind(condition, None, events, self.fold, self.facets)
        return Explained(condition, holds, changes_ms, found, events, (), behind)

    def computed(
        self, trait: str, value: Computed | Score
    ) -> tuple[dict[str, Any], Events, tuple[Explained, ...]]:
        """The value of a computed trait, the newest events behind it, and the conditions of a score."""
        number, _ = next(timeline_of(value)(self.fold, self.types, self.now_ms))
        found = {"value": number, "computed": describe(value)}
        if isinstance(value, Score):
            written = self.definitions[TRAIT + trait].where
            rules = written.rules if isinstance(written, Score) else ()
            points = [points for points, _ in rules]
            return found | {"points": points}, (), tuple(self.explain(when) for _, when in rules)
        made = ingredients_of(value, number, self.fold, self.now_ms)
        return found, _newest([(one.at_ms, one.event_id) for one in made.deciding]), ()

    def inside(self, reference: InSegment) -> tuple[Condition, ...]:
        """The conditions of a segment inside, its consent first; nothing of one that nobody can be in."""
        if reference.segment_id not in self.references:
            return ()
        other = self.definitions[reference.segment_id]
        return (other.where,) if other.purpose is None else (ConsentGiven(other.purpose), other.where)

    def found(
        self,
        condition: TraitTests
        | TraitDate
        | EventCount
        | EventAggregate
        | EventSequence
        | FirstTime
        | NotSince
        | ConsentGiven
        | HasIdentifier,
    ) -> tuple[dict[str, Any], Events]:
        """What a plain condition has found, and the events that decide it."""
        fold, now_ms = self.fold, self.now_ms
        if isinstance(condition, TraitTests | TraitDate):
            return _trait_found(condition.trait, fold), ()
        if isinstance(condition, EventCount):
            return _events_found(condition, fold, now_ms)
        if isinstance(condition, NotSince):
            return _events_found(as_count(condition), fold, now_ms)
        if isinstance(condition, EventAggregate):
            return _aggregate_found(condition, fold, now_ms)
        if isinstance(condition, EventSequence):
            return _sequence_found(condition, fold, now_ms)
        if isinstance(condition, FirstTime):
            return _first_time_found(condition, fold)
        if isinstance(condition, ConsentGiven):
            word = fold.consent.get(condition.purpose)
            return {"granted": None, "at": None} if word is None else _word(word), ()
        if isinstance(condition, HasIdentifier):
            kind = f"{condition.identifier_type}:"
            return {"identifiers": sorted(one for one in self.identifiers if one.startswith(kind))}, ()
        assert_never(condition)


def _truth(evaluate: Evaluate, fold: Facet, types: Collection[str], now_ms: int) -> tuple[bool, int]:
    """Whether a condition holds, and the first instant at which that is no longer so without any input."""
    signed = evaluate(fold, types, now_ms)
    holds = signed > 0
    for _ in range(STEPS_MAX):
        due_ms = abs(signed)
        if due_ms == NEVER:
            break
        signed = evaluate(fold, types, due_ms)
        if (signed > 0) != holds:
            return holds, due_ms
    return holds, NEVER


def _word(word: list[Any]) -> dict[str, Any]:
    return {"granted": word[0], "at": format_instant(word[1])}


def _trait_found(trait: str, fold: Facet) -> dict[str, Any]:
    cell = fold.traits.get(trait)
    if cell is None:
        return {"value": None, "at": None}
    at = format_instant(cell[1]) if isinstance(cell[1], int) else None  # frequent and union have several
    return {"value": cell[0], "at": at}


def _events_found(condition: EventCount, fold: Facet, now_ms: int) -> tuple[dict[str, Any], Events]:
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


def _kept(key: str, state: LeafState) -> list[tuple[int, str]]:
    return list(zip(state[1], event_ids(key, state), strict=True))


def _newest(pairs: list[tuple[int, str]]) -> Events:
    return tuple(pairs[: -EVENTS_MAX - 1 : -1])


def _aggregate_found(condition: EventAggregate, fold: Facet, now_ms: int) -> tuple[dict[str, Any], Events]:
    """The aggregated number, null if there is none, and of how many events."""
    key = leaf_key(condition.event, condition.where, condition.property)
    state = fold.leaves.get(key)
    if state is None:
        return {"aggregate": 0 if condition.aggregate is Aggregate.SUM else None, "of": 0}, ()
    if condition.within_ms is None:
        total, least, most = totals_of(state)
        of, pairs = state[0], _kept(key, state)
    else:
        oldest_ms = now_ms - condition.within_ms
        pairs = [pair for pair in _kept(key, state) if pair[0] > oldest_ms][-asked.KEPT_MAX :]
        of, values = len(pairs), values_of(state)[len(state[1]) - len(pairs) :]
        total, least, most = sum(values), min(values, default=0), max(values, default=0)
    millionths = {Aggregate.MIN: least, Aggregate.MAX: most}.get(condition.aggregate, total)
    divisor = MILLIONTHS * (of if condition.aggregate is Aggregate.AVG else 1)
    if not of and condition.aggregate is not Aggregate.SUM:
        return {"aggregate": None, "of": 0}, ()
    whole, rest = divmod(millionths, divisor)
    return {"aggregate": millionths / divisor if rest else whole, "of": of}, _newest(pairs)


def _sequence_found(condition: EventSequence, fold: Facet, now_ms: int) -> tuple[dict[str, Any], Events]:
    """The latest such sequence, as far back from its last step as it goes within the window."""
    found: list[tuple[int, str]] = []
    for step in reversed(condition.steps):
        key = leaf_key(step.event, step.where)
        pairs = _kept(key, fold.leaves.get(key, [0, [], []]))[-asked.KEPT_MAX :]
        limit_ms = found[-1][0] if found else NEVER
        before = [pair for pair in pairs if now_ms - condition.within_ms < pair[0] < limit_ms]
        if not before:
            break
        found.append(max(before))
    return {"steps": len(found), "of": len(condition.steps)}, tuple(found)


def _first_time_found(condition: FirstTime, fold: Facet) -> tuple[dict[str, Any], Events]:
    key = leaf_key(condition.event, condition.where)
    state = fold.leaves.get(key, [0, [], []])
    count = state[0] if condition.where else fold.counters.get(condition.event, 0)
    last_at = format_instant(state[1][-1]) if state[1] else None
    return {"count": count, "or_more": False, "last_at": last_at}, _newest(_kept(key, state))


# -- what would change it -----------------------------------------------------------------------------------


def _flips(node: Explained) -> list[Explained]:
    """A smallest set of plain conditions whose truth must change for that of `node` to change."""
    group = node.condition
    if not node.conditions or isinstance(group, TraitTests | TraitDate):  # The points of a score add up.
        return [node]
    # An `all` breaks with one member and needs every false one; `any` and `none` are the other way round.
    if isinstance(group, All | InSegment):
        needed = [one for one in node.conditions if not one.holds]
    else:
        needed = [one for one in node.conditions if one.holds]
    if needed:
        return [flip for one in needed for flip in _flips(one)]
    return min((_flips(one) for one in node.conditions), key=len)


def _must(node: Explained) -> str:
    return f"{describe(node.condition)}: would have to {'end' if node.holds else 'become true'}"
