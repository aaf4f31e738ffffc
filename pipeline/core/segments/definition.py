"""A segment definition as a value: a tree of frozen conditions, its JSON form and its hashes.

What is here has been checked by `parse.py` and is canonical: 10 and 10.0, any order of properties and any
order of `in` have one JSON form. It must not know how a definition is written or evaluated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import orjson

from ..duration import format_duration
from .document import NOWHERE, Place
from .vocabulary import Aggregate as Aggregate
from .vocabulary import Comparison as Comparison
from .vocabulary import Computation as Computation
from .vocabulary import DateOperator as DateOperator
from .vocabulary import Day as Day
from .vocabulary import Operator as Operator

HASH_CHARS: Final = 64  # SHA-256 in hexadecimal
ASSIGNED: Final = ("version", "paused", "silent")
"""Keys of a definition on `segments.definitions` that the commands write, and no file."""
Scalar: TypeAlias = str | int | float | bool
Operand: TypeAlias = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Test:
    """One operator with what it compares to. `in` has a tuple, every other operator one scalar."""

    __test__ = False  # pytest must not take the name for one of its own

    operator: Operator
    operand: Operand

    def to_json(self) -> Any:
        """The operand as JSON; the operator is its key in the mapping around it."""
        return list(self.operand) if isinstance(self.operand, tuple) else self.operand


@dataclass(frozen=True, slots=True)
class PropertyTests:
    """Tests on one property of an event; all of them must hold. Sorted by operator."""

    property: str
    tests: tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class All:
    """Every condition holds."""

    conditions: tuple[Condition, ...]

    def to_json(self) -> dict[str, Any]:
        return {"all": [condition.to_json() for condition in self.conditions]}


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one condition holds."""

    conditions: tuple[Condition, ...]

    def to_json(self) -> dict[str, Any]:
        return {"any": [condition.to_json() for condition in self.conditions]}


@dataclass(frozen=True, slots=True)
class NoneOf:
    """No condition holds: neither the first, nor the second, …"""

    conditions: tuple[Condition, ...]

    def to_json(self) -> dict[str, Any]:
        return {"none": [condition.to_json() for condition in self.conditions]}


@dataclass(frozen=True, slots=True)
class TraitTests:
    """Tests on a trait of the person; all of them must hold. Sorted by operator. `place`: for refusals."""

    trait: str
    tests: tuple[Test, ...]
    place: Place = field(default=NOWHERE, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        return {"trait": self.trait} | tests_to_json(self.tests)


@dataclass(frozen=True, slots=True)
class EventCount:
    """How often such an event happened. `within_ms` None: ever. `where` is sorted by property."""

    event: str
    where: tuple[PropertyTests, ...]
    within_ms: int | None
    comparison: Comparison
    number: int

    def to_json(self) -> dict[str, Any]:
        return _events_to_json("event", self.event, self.where, self.within_ms) | {
            str(self.comparison): self.number
        }


@dataclass(frozen=True, slots=True)
class EventAggregate:
    """An aggregate of the numbers in `property` of such events. `tests`: gt, gte, lt, lte, sorted.

    `within_ms` None: ever.
    """

    event: str
    where: tuple[PropertyTests, ...]
    within_ms: int | None
    aggregate: Aggregate
    property: str
    tests: tuple[Test, ...]

    def to_json(self) -> dict[str, Any]:
        written = _events_to_json("event", self.event, self.where, self.within_ms)
        return written | {str(self.aggregate): self.property} | tests_to_json(self.tests)


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of event in a sequence."""

    event: str
    where: tuple[PropertyTests, ...]

    def to_json(self) -> dict[str, Any]:
        return _events_to_json("event", self.event, self.where, None)


@dataclass(frozen=True, slots=True)
class EventSequence:
    """Such events happened one after the other, each later than the one before, all in the window."""

    steps: tuple[Step, ...]
    within_ms: int

    def to_json(self) -> dict[str, Any]:
        steps = [step.to_json() for step in self.steps]
        return {"sequence": steps, "within": format_duration(self.within_ms)}


@dataclass(frozen=True, slots=True)
class FirstTime:
    """Such an event happened exactly once, ever; with `within_ms` it also lies in that window."""

    event: str
    where: tuple[PropertyTests, ...]
    within_ms: int | None

    def to_json(self) -> dict[str, Any]:
        return _events_to_json("first_time", self.event, self.where, self.within_ms)


@dataclass(frozen=True, slots=True)
class NotSince:
    """No such event lies in the window; `for_ms` None: it never happened."""

    event: str
    where: tuple[PropertyTests, ...]
    for_ms: int | None

    def to_json(self) -> dict[str, Any]:
        inner = _events_to_json("event", self.event, self.where, None)
        if self.for_ms is not None:
            inner["for"] = format_duration(self.for_ms)
        return {"not_since": inner}


@dataclass(frozen=True, slots=True)
class TraitDate:
    """How the date in a trait stands to now. `operand`: a `Day`, or a duration in ms for the two windows.

    `timezone`: name of the zone whose calendar counts, None for UTC and days of 24 hours.
    """

    trait: str
    operator: DateOperator
    operand: Day | int
    timezone: str | None
    place: Place = field(default=NOWHERE, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        operand = str(self.operand) if isinstance(self.operand, Day) else format_duration(self.operand)
        written: dict[str, Any] = {"trait": self.trait, str(self.operator): operand}
        return written if self.timezone is None else written | {"timezone": self.timezone}


@dataclass(frozen=True, slots=True)
class InSegment:
    """The profile is inside another segment. `place`: where that is written, for refusals."""

    segment_id: str
    place: Place = field(default=NOWHERE, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        return {"segment": self.segment_id}


@dataclass(frozen=True, slots=True)
class ConsentGiven:
    """The person has granted consent for a purpose."""

    purpose: str

    def to_json(self) -> dict[str, Any]:
        return {"consent": self.purpose}


@dataclass(frozen=True, slots=True)
class HasIdentifier:
    """The profile holds at least one identifier of a type."""

    identifier_type: str

    def to_json(self) -> dict[str, Any]:
        return {"has": self.identifier_type}


@dataclass(frozen=True, slots=True)
class Computed:
    """What a computed trait makes of such events; only as the `where` of a definition, or in `ComputedTests`.

    `within_ms` None: ever. `property`: whose value counts; None for events and instants. `length_ms`: the gap
    that ends a session, the unit of a recency. `events`: one, for sessions one or several, sorted.
    """

    computation: Computation
    events: tuple[str, ...]
    where: tuple[PropertyTests, ...]
    within_ms: int | None
    property: str | None = None
    length_ms: int | None = None

    def to_json(self) -> dict[str, Any]:
        event: Any = self.events[0] if len(self.events) == 1 else list(self.events)
        written = _events_to_json("event", event, self.where, self.within_ms)
        written["compute"] = str(self.computation)
        if self.property is not None:
            written["of"] = self.property
        if self.length_ms is not None:
            written[LENGTHS[self.computation]] = format_duration(self.length_ms)
        return written


LENGTHS: Final = {Computation.SESSIONS: "gap", Computation.RECENCY: "unit"}
"""How the length of time beside a computation is called."""


@dataclass(frozen=True, slots=True)
class Score:
    """A computed trait that adds up the points of the rules whose condition holds."""

    rules: tuple[tuple[int, Condition], ...]

    def to_json(self) -> dict[str, Any]:
        return {"score": [{"points": points, "when": when.to_json()} for points, when in self.rules]}


@dataclass(frozen=True, slots=True)
class ComputedTests:
    """A condition on a computed trait, with what the trait is made of. Made by references.py only."""

    value: Computed | Score
    condition: TraitTests | TraitDate

    def to_json(self) -> dict[str, Any]:
        return self.condition.to_json()


Group: TypeAlias = All | AnyOf | NoneOf
EventAtom: TypeAlias = EventCount | EventAggregate | EventSequence | FirstTime | NotSince
Atom: TypeAlias = TraitTests | TraitDate | EventAtom | ConsentGiven | HasIdentifier | InSegment | Computed
Condition: TypeAlias = Group | Atom | Score | ComputedTests
TRAIT: Final = "trait:"
"""In front of a computed trait's name in its id. No segment is called so: ids of segments are kebab-case."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One checked definition, of a segment or of a computed trait. `version` counts from 1.

    `purpose` None: no consent is needed. A trait's `id` is `trait:NAME`, its `where` what it is made of: as a
    condition that never holds, and may change when the value does.

    `paused`: what consumers were told stands still. `silent`: nobody is told of the first population but by
    `segments.current`. Both are said to the commands, of segments only, and are no part of the rules.
    """

    id: str
    name: str
    purpose: str | None
    where: Condition
    version: int = 1
    paused: bool = False
    silent: bool = False

    def to_json(self) -> dict[str, Any]:
        """The form on `segments.definitions`. `parse.definition_from_json` is its inverse."""
        written: dict[str, Any] = {"id": self.id, "name": self.name, "version": self.version}
        if isinstance(self.where, Computed | Score):
            del written["id"]
            return {"trait": self.id[len(TRAIT) :], **written, **self.where.to_json()}
        if self.purpose is not None:
            written["purpose"] = self.purpose
        if self.paused:
            written["paused"] = True
        if self.silent:
            written["silent"] = True
        return written | {"where": self.where.to_json()}

    @property
    def is_trait(self) -> bool:
        """Whether it defines a computed trait, not a segment."""
        return isinstance(self.where, Computed | Score)

    def with_version(self, version: int) -> Definition:
        """The same definition as version `version`, at least 1."""
        return replace(self, version=version)

    def content_hash(self) -> str:
        """Hexadecimal hash of all that a file says: equal means that applying it changes nothing."""
        written = {name: value for name, value in self.to_json().items() if name not in ASSIGNED}
        return hashlib.sha256(canonical_bytes(written)).hexdigest()

    def rule_hash(self) -> str:
        """Hexadecimal hash of what decides membership (`purpose`, `where`): equal means equal members."""
        rule = {"purpose": self.purpose, "where": self.where.to_json()}
        return hashlib.sha256(canonical_bytes(rule)).hexdigest()


def atoms(condition: Condition) -> Iterator[Atom]:
    """The conditions without conditions inside, in the order in which they are written."""
    if isinstance(condition, ComputedTests):
        yield from atoms(condition.value)
    elif isinstance(condition, All | AnyOf | NoneOf):
        for inner in condition.conditions:
            yield from atoms(inner)
    elif isinstance(condition, Score):
        for _, inner in condition.rules:
            yield from atoms(inner)
    else:
        yield condition


def tests_to_json(tests: tuple[Test, ...]) -> dict[str, Any]:
    """`{operator: operand}` of several tests of one value."""
    return {str(test.operator): test.to_json() for test in tests}


def where_to_json(where: tuple[PropertyTests, ...]) -> dict[str, Any]:
    """The long form of an event's `where`: `{property: {operator: operand}}`."""
    return {tested.property: tests_to_json(tested.tests) for tested in where}


def _events_to_json(
    head: str, event: str | list[str], where: tuple[PropertyTests, ...], within_ms: int | None
) -> dict[str, Any]:
    written: dict[str, Any] = {head: event}
    if where:
        written["where"] = where_to_json(where)
    if within_ms is not None:
        written["within"] = format_duration(within_ms)
    return written


def canonical_bytes(written: Any) -> bytes:
    """The one JSON text of a value: keys sorted, no space. 1 and 1.0 differ: `parse.py` has made them one."""
    return orjson.dumps(written, option=orjson.OPT_SORT_KEYS)
