"""Where the answer of a definition is not exact: said when it is previewed and when it is applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..duration import format_duration
from . import asked
from .catalogue import Catalogue, CompiledSegment
from .definition import (
    Atom,
    Computation,
    Computed,
    Definition,
    EventAggregate,
    EventCount,
    EventSequence,
    FirstTime,
    NotSince,
    Operator,
    PropertyTests,
    TraitTests,
)
from .leaf import Leaf
from .operators import MATCHED_CHARS_MAX
from .words import describe


def leaves_to_fill(wanted: Mapping[str, Leaf], kept: Mapping[str, Leaf]) -> dict[str, bool]:
    """Keys of the leaves that are new or must keep more → whether the state keeps them, but too little."""
    return {
        key: key in kept
        for key, leaf in wanted.items()
        if key not in kept or leaf.capacity > kept[key].capacity
    }


def notes_on(
    names: Iterable[str], after: Mapping[str, Definition], before: Mapping[str, Definition], history_ms: int
) -> dict[str, list[str]]:
    """Segment id → its notes, for `names` among `after`, once that takes the place of `before`."""
    catalogue = Catalogue(after.values())
    fill = leaves_to_fill(catalogue.leaves, Catalogue(before.values()).leaves)
    return {name: list(notes_of(catalogue.segments[name], fill, history_ms)) for name in names}


def notes_of(segment: CompiledSegment, fill: Mapping[str, bool], history_ms: int) -> Iterator[str]:
    """What is not exact about a segment whose leaves in `fill` are counted from the history."""
    history = format_duration(history_ms)
    for one in dict.fromkeys(segment.atoms):
        filled = [part for part in asked.asked_by(one) if part.needs_leaf() and part.key() in fill]
        ever = any(part.within_ms is None for part in filled) or (
            isinstance(one, FirstTime) and bool(one.where) and bool(filled)
        )
        if ever:
            yield f"{describe(one)}: counted from the history only, which goes back {history}"
        elif any(part.within_ms is not None and part.within_ms > history_ms for part in filled):
            yield f"{describe(one)}: the window is longer than the history, which goes back {history}"
        if isinstance(one, EventAggregate) and one.within_ms is not None:
            yield f"{describe(one)}: of the newest {asked.KEPT_MAX} such events of a person"
        elif isinstance(one, EventSequence):
            yield f"{describe(one)}: each step looks at the newest {asked.KEPT_MAX} such events of a person"
        elif isinstance(one, Computed) and any(part.needed == asked.KEPT_MAX for part in asked.asked_by(one)):
            capped = " and is at most that" if one.computation is Computation.COUNT else ""
            yield f"{describe(one)}: looks at the newest {asked.KEPT_MAX} such events of a person{capped}"
        if _matches(one):
            yield f"{describe(one)}: matches looks at the first {MATCHED_CHARS_MAX:,} characters of a text"


def _matches(one: Atom) -> bool:
    """Whether a pattern is searched for anywhere in a condition."""
    if isinstance(one, TraitTests):
        return any(test.operator is Operator.MATCHES for test in one.tests)
    wheres: tuple[tuple[PropertyTests, ...], ...] = ()
    if isinstance(one, EventSequence):
        wheres = tuple(step.where for step in one.steps)
    elif isinstance(one, EventCount | EventAggregate | FirstTime | NotSince | Computed):
        wheres = (one.where,)
    return any(
        test.operator is Operator.MATCHES for where in wheres for tested in where for test in tested.tests
    )
