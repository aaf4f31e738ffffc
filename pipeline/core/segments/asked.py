"""What a condition asks of the history of events: which leaves, how far back, how many instants of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .definition import (
    Atom,
    Comparison,
    Computation,
    Computed,
    EventAggregate,
    EventCount,
    EventSequence,
    FirstTime,
    NotSince,
    PropertyTests,
)
from .leaf import leaf_key

KEPT_MAX: int = 200
"""Events that an aggregate over a window and each step of a sequence look at: the newest. A facet may
hold as many, 50 bytes each, all written with every touch. Not Final: tests make it small."""

NUMERIC: Final = (Computation.SUM, Computation.AVG, Computation.MIN, Computation.MAX)
"""Computations on the number that each event carries."""
TEXTED: Final = (Computation.FIRST, Computation.LAST, Computation.MOST_FREQUENT, Computation.UNIQUE)
"""Computations on a text, number or truth of each event."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One kind of event that a condition asks about. `within_ms` None: ever.

    `needed`: how many of the newest instants decide; 0 if only counts and totals do. `number_in`: the
    property whose number is needed of each event; `text_in`: the one whose text, number or truth is, empty
    if only the earliest and the newest event are.
    """

    event: str
    where: tuple[PropertyTests, ...]
    within_ms: int | None
    needed: int
    number_in: str | None = None
    text_in: str | None = None

    def needs_leaf(self) -> bool:
        """Whether state is kept for it. An event that is only counted, ever, is in the counters already."""
        kept = self.number_in is not None or self.text_in is not None or self.needed > 0
        return kept or bool(self.where) or self.within_ms is not None

    def key(self) -> str:
        """The key of its leaf."""
        return leaf_key(self.event, self.where, self.number_in, self.text_in)


def asked_by(atom: Atom) -> tuple[Asked, ...]:
    """What one condition asks about; nothing if it is not about events."""
    if isinstance(atom, EventCount):
        return (Asked(atom.event, atom.where, atom.within_ms, capacity_needed(atom)),)
    if isinstance(atom, NotSince):
        return asked_by(as_count(atom))
    if isinstance(atom, FirstTime):
        return (Asked(atom.event, atom.where, atom.within_ms, 0 if atom.within_ms is None else 1),)
    if isinstance(atom, EventAggregate):
        needed = 0 if atom.within_ms is None else KEPT_MAX
        return (Asked(atom.event, atom.where, atom.within_ms, needed, atom.property),)
    if isinstance(atom, EventSequence):
        return tuple(Asked(step.event, step.where, atom.within_ms, KEPT_MAX) for step in atom.steps)
    if isinstance(atom, Computed):
        return tuple(_asked_by(atom, event) for event in atom.events)
    return ()


def _asked_by(value: Computed, event: str) -> Asked:
    """What a computed trait asks about one kind of event."""
    kind, window = value.computation, value.within_ms
    needed = 0 if window is None else KEPT_MAX
    if kind in (Computation.RECENCY, Computation.LAST):
        needed = 1
    elif kind in (Computation.SESSIONS, Computation.UNIQUE, Computation.MOST_FREQUENT):
        needed = KEPT_MAX
    if kind in NUMERIC:
        return Asked(event, value.where, window, needed, number_in=value.property)
    if kind in TEXTED:
        return Asked(event, value.where, window, needed, text_in=value.property or "")
    return Asked(event, value.where, window, needed)


def as_count(condition: NotSince) -> EventCount:
    """The same condition as a number of events: none."""
    return EventCount(condition.event, condition.where, condition.for_ms, Comparison.AT_MOST, 0)


def capacity_needed(condition: EventCount) -> int:
    """How many of the newest instants decide the condition; 0 if it only counts."""
    if condition.within_ms is None:
        return 0
    return condition.number if condition.comparison is Comparison.AT_LEAST else condition.number + 1
