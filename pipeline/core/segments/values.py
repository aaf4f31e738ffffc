"""Computed traits, compiled: from the fold of a profile to the value now, and to what time alone makes of it.

A value is the fold of the newest events, so it is the same for any order of arrival and any split into
facets, and after a merge that of all events on one identifier. It must not know who is told of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final, TypeAlias

import orjson

from ..facet import NEVER, Facet
from . import asked
from .asked import NUMERIC, asked_by
from .conditions import WITHIN_MS_MAX
from .dates import compile_date
from .definition import Computation, Computed, ComputedTests, Condition, Score, TraitDate
from .leaf import MILLIONTHS, LeafState, first_of, totals_of
from .operators import compile_tests
from .signed import NO, YES, Evaluate

Timeline: TypeAlias = Callable[[Facet, Collection[str], int], Iterator[tuple[Any, int]]]
"""(fold, identifier types, now in ms) → the value now and until when it stays, then the next one, and so on.

The last one stays until NEVER. None stands for no value.
"""
SPANS_MAX: Final = 200  # values that are looked at for the next change of a condition; then it is tried again
Kept: TypeAlias = tuple[Sequence[int], Sequence[str]]
"""Instants, ascending, and what stands for each event."""
_NOTHING: Final[LeafState] = [0, [], []]


def compile_value(value: Computed | Score, compile_rule: Callable[[Condition], Evaluate]) -> Timeline:
    """The timeline of a computed trait. References in it are written out."""
    if isinstance(value, Score):
        return _score([(points, compile_rule(when)) for points, when in value.rules])
    if value.computation is Computation.RECENCY:
        return _recency(value)
    if value.within_ms is None:
        ever = _ever(value)
        if ever is not None:
            return lambda fold, types, now_ms: iter(((ever(fold), NEVER),))
    return _of_newest(value)


def compile_tests_of(condition: ComputedTests, timeline: Timeline) -> Evaluate:
    """The condition on a computed trait, exact about when it changes."""
    tested = condition.condition
    if isinstance(tested, TraitDate):
        signed_at = compile_date(tested)
    else:
        holds = compile_tests(tested.tests)
        signed_at = lambda value, now_ms: YES if holds(value) else NO  # noqa: E731

    def evaluate(fold: Facet, types: Collection[str], now_ms: int) -> int:
        at_ms, sign = now_ms, 0
        for number, (value, until_ms) in enumerate(timeline(fold, types, now_ms)):
            if number == SPANS_MAX:
                break
            while at_ms < until_ms:
                signed = signed_at(value, at_ms)
                if sign == 0:
                    sign = 1 if signed > 0 else -1
                elif signed * sign < 0:
                    return sign * at_ms
                at_ms = min(abs(signed), until_ms)
        return sign * at_ms

    return evaluate


# -- over the newest events ---------------------------------------------------------------------------------


def _of_newest(value: Computed) -> Timeline:
    """Over the newest `asked.KEPT_MAX` events; those of them in the window, which loses the oldest first."""
    keys = [one.key() for one in asked_by(value)]
    suffixes, within_ms = _suffixes(value), value.within_ms

    def spans(fold: Facet, types: Collection[str], now_ms: int) -> Iterator[tuple[Any, int]]:
        instants, ids = _newest(fold, keys)
        start = 0 if within_ms is None else bisect_right(instants, now_ms - within_ms)
        instants, ids = instants[start:], ids[start:]
        values = suffixes(instants, ids)
        current = values[-1]
        for at, at_ms in enumerate(instants if within_ms is not None else ()):
            if at + 1 < len(instants) and instants[at + 1] == at_ms:
                continue  # Those of one instant go at once.
            later = values[len(instants) - at - 1]
            if later != current or type(later) is not type(current):
                yield current, at_ms + (within_ms or 0)
                current = later
        yield current, NEVER

    return spans


def _newest(fold: Facet, keys: Sequence[str]) -> Kept:
    if len(keys) == 1:
        state = fold.leaves.get(keys[0], _NOTHING)
        return state[1][-asked.KEPT_MAX :], state[2][-asked.KEPT_MAX :]
    states = [fold.leaves.get(key, _NOTHING) for key in keys]
    instants = sorted([at_ms for state in states for at_ms in state[1]])[-asked.KEPT_MAX :]
    return instants, [""] * len(instants)


Suffixes: TypeAlias = Callable[[Sequence[int], Sequence[str]], list[Any]]
"""Kept events → the values of the newest 0, 1, 2 … of them."""


def _suffixes(value: Computed) -> Suffixes:
    kind, of_property = value.computation, value.property is not None
    match kind:
        case Computation.COUNT:
            return lambda instants, ids: list(range(len(instants) + 1))
        case Computation.FIRST | Computation.LAST:
            return lambda instants, ids: _ends(instants, ids, kind is Computation.FIRST, of_property)
        case Computation.UNIQUE:
            return _uniques
        case Computation.MOST_FREQUENT:
            return _most_frequent
        case Computation.SESSIONS:
            gap_ms = value.length_ms or 0
            return lambda instants, ids: _sessions(instants, gap_ms)
        case _:
            return lambda instants, ids: _aggregates(kind, ids)


def _ends(instants: Sequence[int], ids: Sequence[str], first: bool, of_property: bool) -> list[Any]:
    values: list[Any] = list(instants)
    if of_property:
        values = [_loads(one) for one in (ids if first else ids[-1:])]
    if not first:
        return [None, *values[-1:] * len(instants)]
    return [None, *reversed(values)]


def _uniques(instants: Sequence[int], ids: Sequence[str]) -> list[Any]:
    counts, seen = [0], set()
    for one in reversed(ids):
        seen.add(one[: one.index(" ")])
        counts.append(len(seen))
    return counts


def _most_frequent(instants: Sequence[int], ids: Sequence[str]) -> list[Any]:
    """Of several the one that was seen last; of those the one with the greatest text."""
    values: list[Any] = [None]
    counts: dict[str, tuple[int, int, str]] = {}
    best = (0, 0, "")
    for at_ms, one in zip(reversed(instants), reversed(ids), strict=True):
        text = one[: one.index(" ")]
        count, last_ms, _ = counts.get(text, (0, at_ms, text))
        counts[text] = count + 1, last_ms, text
        if counts[text] > best:
            best = counts[text]
        values.append(orjson.loads(best[2]))
    return values


def _sessions(instants: Sequence[int], gap_ms: int) -> list[Any]:
    counts, later_ms = [0], NEVER
    for at_ms in reversed(instants):
        counts.append(counts[-1] + (later_ms - at_ms > gap_ms))
        later_ms = at_ms
    return counts


def _aggregates(kind: Computation, ids: Sequence[str]) -> list[Any]:
    values: list[Any] = [0 if kind is Computation.SUM else None]
    total = least = most = 0
    for count, one in enumerate(reversed(ids), 1):
        number = int(one[: one.index(" ")])
        total += number
        least = number if count == 1 else min(least, number)
        most = number if count == 1 else max(most, number)
        values.append(_aggregate(kind, total, least, most, count))
    return values


def _aggregate(kind: Computation, total: int, least: int, most: int, count: int) -> int | float:
    if kind is Computation.AVG:
        whole, rest = divmod(total, count)
        total = whole + (2 * rest > count or (2 * rest == count and whole % 2 == 1))  # half to even
    return as_number({Computation.MIN: least, Computation.MAX: most}.get(kind, total))


def as_number(millionths: int) -> int | float:
    """Whole millionths as the number that they are."""
    whole, rest = divmod(millionths, MILLIONTHS)
    return millionths / MILLIONTHS if rest else whole


def _loads(kept: str) -> Any:
    return orjson.loads(kept[: kept.index(" ")])


# -- ever, with time, by points -----------------------------------------------------------------------------


def counts_all(value: Computed) -> bool:
    """Whether all events ever count, by counts and totals, and not only the newest ones."""
    return value.within_ms is None and _ever(value) is not None


def _ever(value: Computed) -> Callable[[Facet], Any] | None:
    """From counts and totals; None if it is the newest events that decide, also without a window."""
    (one,) = asked_by(value) if len(value.events) == 1 else (None,)
    kind = value.computation
    if one is None or not (kind in NUMERIC or kind in (Computation.COUNT, Computation.FIRST)):
        return None
    key, event, of_property = one.key(), one.event, value.property is not None
    if kind is Computation.COUNT and not one.needs_leaf():
        return lambda fold: fold.counters.get(event, 0)

    def ever(fold: Facet) -> Any:
        state = fold.leaves.get(key, _NOTHING)
        if kind is Computation.COUNT:
            return state[0]
        if not state[0]:
            return 0 if kind is Computation.SUM else None
        if kind is Computation.FIRST:
            at_ms, kept = first_of(state)
            return _loads(kept) if of_property else at_ms
        return _aggregate(kind, *totals_of(state), state[0])

    return ever


def _recency(value: Computed) -> Timeline:
    """Whole units since the newest event, counted up to the longest window."""
    (one,) = asked_by(value)
    key, unit_ms = one.key(), value.length_ms or WITHIN_MS_MAX
    most = WITHIN_MS_MAX // unit_ms

    def spans(fold: Facet, types: Collection[str], now_ms: int) -> Iterator[tuple[Any, int]]:
        instants = fold.leaves.get(key, _NOTHING)[1]
        if not instants:
            yield None, NEVER
            return
        for passed in range(max(0, (now_ms - instants[-1]) // unit_ms), most):
            yield passed, instants[-1] + (passed + 1) * unit_ms
        yield most, NEVER

    return spans


def _score(rules: Sequence[tuple[int, Evaluate]]) -> Timeline:
    """The points of the conditions that hold; the instants are those at which one of them may change."""

    def spans(fold: Facet, types: Collection[str], now_ms: int) -> Iterator[tuple[Any, int]]:
        while now_ms != NEVER:
            signed = [evaluate(fold, types, now_ms) for _, evaluate in rules]
            due_ms = min(map(abs, signed), default=NEVER)
            yield sum(points for (points, _), one in zip(rules, signed, strict=True) if one > 0), due_ms
            now_ms = due_ms

    return spans
