"""Conditions on numbers and order of events, compiled: aggregates, sequences, the first time.

They read the state of leaves and look at the newest `asked.KEPT_MAX` instants of each. Numbers are whole
millionths and are compared as whole numbers, so no rounding decides.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection
from fractions import Fraction
from typing import Final, TypeAlias

from ..facet import Facet
from . import asked
from .definition import Aggregate, EventAggregate, EventSequence, FirstTime, Operator, Test
from .leaf import MILLIONTHS, leaf_key, totals_of, values_of
from .signed import NO, YES, Evaluate

Compare: TypeAlias = Callable[[int, int], bool]
"""(number in millionths, divisor) → whether the quotient passes."""
_NOTHING: Final = (0, 0)


def compile_aggregate(condition: EventAggregate, negated: bool) -> Evaluate:
    """Of no event the sum is 0; a least, a greatest and a mean there is none, and no comparison holds."""
    key = leaf_key(condition.event, condition.where, condition.property)
    aggregate, within_ms = condition.aggregate, condition.within_ms
    passes = _all_of([_compare(test) for test in condition.tests])
    of_nothing = aggregate is Aggregate.SUM and passes(0, 1)
    if within_ms is None:
        return _ever(key, aggregate, passes, of_nothing, negated)
    window_ms, sign = within_ms, -1 if negated else 1

    def holds(number: int, count: int) -> bool:
        if count == 0:
            return of_nothing
        return passes(number, count if aggregate is Aggregate.AVG else 1)

    def evaluate(fold: Facet, types: Collection[str], now_ms: int) -> int:
        state = fold.leaves.get(key)
        if state is None:
            return sign * (YES if of_nothing else NO)
        instants: list[int] = state[1]
        start = max(bisect_right(instants, now_ms - window_ms), len(instants) - asked.KEPT_MAX)
        suffixes = _suffixes(aggregate, values_of(state)[start:])
        holds_now = holds(*suffixes[-1])
        yes = sign if holds_now else -sign
        for gone in range(start, len(instants)):  # Time takes the oldest away, those of one instant at once.
            together = gone + 1 < len(instants) and instants[gone + 1] == instants[gone]
            if not together and holds(*suffixes[len(instants) - gone - 1]) != holds_now:
                return yes * (instants[gone] + window_ms)
        return yes * YES

    return evaluate


def _suffixes(aggregate: Aggregate, values: list[int]) -> list[tuple[int, int]]:
    """(aggregated number, how many) of the newest 0, 1, 2 … values."""
    suffixes = [_NOTHING]
    number = 0
    for count, value in enumerate(reversed(values), 1):
        if count == 1:
            number = value
        elif aggregate is Aggregate.MIN:
            number = min(number, value)
        elif aggregate is Aggregate.MAX:
            number = max(number, value)
        else:
            number += value
        suffixes.append((number, count))
    return suffixes


def _ever(key: str, aggregate: Aggregate, passes: Compare, of_nothing: bool, negated: bool) -> Evaluate:
    yes, no = (NO, YES) if negated else (YES, NO)

    def evaluate(fold: Facet, types: Collection[str], now_ms: int) -> int:
        state = fold.leaves.get(key)
        if state is None or not state[0]:
            return yes if of_nothing else no
        total, least, most = totals_of(state)
        if aggregate is Aggregate.MIN:
            held = passes(least, 1)
        elif aggregate is Aggregate.MAX:
            held = passes(most, 1)
        else:
            held = passes(total, state[0] if aggregate is Aggregate.AVG else 1)
        return yes if held else no

    return evaluate


def _compare(test: Test) -> Compare:
    if isinstance(test.operand, str | tuple):
        raise TypeError("an aggregate is compared to a number")
    bound = Fraction(repr(test.operand)) * MILLIONTHS
    limit, unit = bound.numerator, bound.denominator
    if test.operator is Operator.GT:
        return lambda number, count: number * unit > limit * count
    if test.operator is Operator.GTE:
        return lambda number, count: number * unit >= limit * count
    if test.operator is Operator.LT:
        return lambda number, count: number * unit < limit * count
    return lambda number, count: number * unit <= limit * count


def _all_of(compares: list[Compare]) -> Compare:
    if len(compares) == 1:
        return compares[0]
    return lambda number, count: all(compare(number, count) for compare in compares)


def compile_sequence(condition: EventSequence, negated: bool) -> Evaluate:
    """True until the first event of the latest such sequence leaves the window."""
    keys = [leaf_key(step.event, step.where) for step in reversed(condition.steps)]
    within_ms = condition.within_ms
    sign, no = (-1, YES) if negated else (1, NO)

    def evaluate(fold: Facet, types: Collection[str], now_ms: int) -> int:
        limit_ms = YES
        for key in keys:  # From the last step back: the newest one before the step that follows.
            state = fold.leaves.get(key)
            if state is None:
                return no
            instants: list[int] = state[1]
            at = bisect_left(instants, limit_ms) - 1
            if at < 0 or at < len(instants) - asked.KEPT_MAX:
                return no
            limit_ms = instants[at]
        due_ms = limit_ms + within_ms
        return sign * due_ms if due_ms > now_ms else no

    return evaluate


def compile_first_time(condition: FirstTime, within_ms: int, negated: bool) -> Evaluate:
    """True while the only event of its kind lies in the window."""
    key = leaf_key(condition.event, condition.where)
    event = None if condition.where else condition.event
    sign, no = (-1, YES) if negated else (1, NO)

    def evaluate(fold: Facet, types: Collection[str], now_ms: int) -> int:
        state = fold.leaves.get(key)
        if state is None or not state[1]:
            return no
        count = state[0] if event is None else fold.counters.get(event, 0)
        due_ms: int = state[1][-1] + within_ms
        return sign * due_ms if count == 1 and due_ms > now_ms else no

    return evaluate
