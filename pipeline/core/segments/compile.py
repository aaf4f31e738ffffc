"""Conditions compiled to closures that answer, in one number, "is it true?" and "until when?".

The answer is a signed instant, see signed.py. So `all` is a minimum, `any` a maximum
and negation a sign: the minimum of a true and a false one is the false one, of two true ones the first to
end, of two false ones the last to become true. It must not know how definitions are written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import assert_never

from ..facet import Facet
from .asked import as_count
from .dates import compile_date
from .definition import (
    All,
    AnyOf,
    Comparison,
    Computation,
    Computed,
    ComputedTests,
    Condition,
    ConsentGiven,
    EventAggregate,
    EventCount,
    EventSequence,
    FirstTime,
    Group,
    HasIdentifier,
    InSegment,
    NoneOf,
    NotSince,
    Score,
    TraitDate,
    TraitTests,
)
from .leaf import leaf_key
from .operators import compile_tests
from .signed import NO, YES, Evaluate
from .values import Timeline, compile_tests_of, compile_value
from .windows import compile_aggregate, compile_first_time, compile_sequence


@dataclass(frozen=True, slots=True)
class Compiled:
    """A condition ready to run. `windows`: whether it can change by itself.

    `exact_true`, `exact_false`: whether the instant that it gives while true (false) is the one at which it
    changes, or only the first at which it may. A minimum over true members is exact; but the last of several
    false members to become true may find that another has turned false by then.
    """

    evaluate: Evaluate
    windows: bool
    exact_true: bool = True
    exact_false: bool = True


def compile_condition(condition: Condition, negated: bool = False) -> Compiled:
    """Compile a condition, or its negation: negation is pushed down to the leaves, where it is free."""
    if isinstance(condition, All | AnyOf | NoneOf):
        return _compile_group(condition, negated)
    if isinstance(condition, TraitTests):
        return Compiled(_trait(condition, negated), windows=False)
    if isinstance(condition, EventCount):
        return Compiled(_event(condition, negated), windows=condition.within_ms is not None)
    if isinstance(condition, NotSince):
        return compile_condition(as_count(condition), negated)
    if isinstance(condition, FirstTime):
        if condition.within_ms is not None:
            return Compiled(compile_first_time(condition, condition.within_ms, negated), windows=True)
        once = EventCount(condition.event, condition.where, None, Comparison.EXACTLY, 1)
        return compile_condition(once, negated)
    if isinstance(condition, EventAggregate):
        return Compiled(compile_aggregate(condition, negated), windows=condition.within_ms is not None)
    if isinstance(condition, EventSequence):
        return Compiled(compile_sequence(condition, negated), windows=True)
    if isinstance(condition, TraitDate):
        return Compiled(_date(condition, negated), windows=True)
    if isinstance(condition, ConsentGiven):
        return Compiled(_consent(condition.purpose, negated), windows=False)
    if isinstance(condition, HasIdentifier):
        return Compiled(_has(condition.identifier_type, negated), windows=False)
    if isinstance(condition, Computed | Score):
        return Compiled(_until_it_changes(timeline_of(condition)), windows=_is_timed(condition))
    if isinstance(condition, ComputedTests):
        tested = compile_tests_of(condition, timeline_of(condition.value))
        evaluate = (lambda fold, types, now_ms: -tested(fold, types, now_ms)) if negated else tested
        timed = _is_timed(condition.value) or isinstance(condition.condition, TraitDate)
        return Compiled(evaluate, windows=timed)
    if isinstance(condition, InSegment):
        raise TypeError("a reference is written out before it is compiled, see references.py")
    assert_never(condition)


def timeline_of(value: Computed | Score) -> Timeline:
    """A computed trait, ready to be read."""
    return compile_value(value, lambda condition: compile_condition(condition).evaluate)


def _is_timed(value: Computed | Score) -> bool:
    """Whether time alone can change a computed trait."""
    if isinstance(value, Score):
        return any(compile_condition(when).windows for _, when in value.rules)
    return value.within_ms is not None or value.computation is Computation.RECENCY


def _until_it_changes(timeline: Timeline) -> Evaluate:
    """A computed trait as a condition that never holds, and may change when the value does."""

    def evaluate(fold: Facet, types: Collection[str], now_ms: int) -> int:
        return -next(timeline(fold, types, now_ms))[1]

    return evaluate


def _compile_group(group: Group, negated: bool) -> Compiled:
    is_all = _is_all(group, negated)
    members = list(_members(group, negated, is_all))
    members.sort(
        key=lambda member: member.windows
    )  # cheap ones first; the sort keeps the written order otherwise
    if len(members) == 1:
        return members[0]
    windows = [member for member in members if member.windows]
    same = all(member.exact_true if is_all else member.exact_false for member in windows)
    other = not windows or (
        len(windows) == 1 and (windows[0].exact_false if is_all else windows[0].exact_true)
    )
    return Compiled(
        evaluate=(_all_of if is_all else _any_of)(tuple(member.evaluate for member in members)),
        windows=bool(windows),
        exact_true=same if is_all else other,
        exact_false=other if is_all else same,
    )


def _is_all(group: Group, negated: bool) -> bool:
    """Whether the group, negated or not, asks all of its members: not (a or b) = not a and not b."""
    return isinstance(group, AnyOf) == negated if not isinstance(group, NoneOf) else not negated


def _members(group: Group, negated: bool, is_all: bool) -> Iterator[Compiled]:
    """The members, those of inner groups of the same kind among them."""
    inner_negated = negated != isinstance(group, NoneOf)
    for condition in group.conditions:
        if isinstance(condition, All | AnyOf | NoneOf) and _is_all(condition, inner_negated) == is_all:
            yield from _members(condition, inner_negated, is_all)
        else:
            yield compile_condition(condition, inner_negated)


def _all_of(members: tuple[Evaluate, ...]) -> Evaluate:
    def evaluate(fold: Facet, types: Collection[str], now_ms: int) -> int:
        least = YES
        for member in members:
            signed = member(fold, types, now_ms)
            if signed < least:
                if signed == NO:
                    return NO
                least = signed
        return least

    return evaluate


def _any_of(members: tuple[Evaluate, ...]) -> Evaluate:
    def evaluate(fold: Facet, types: Collection[str], now_ms: int) -> int:
        greatest = NO
        for member in members:
            signed = member(fold, types, now_ms)
            if signed > greatest:
                if signed == YES:
                    return YES
                greatest = signed
        return greatest

    return evaluate


def _trait(condition: TraitTests, negated: bool) -> Evaluate:
    name, holds = condition.trait, compile_tests(condition.tests)
    yes, no = (NO, YES) if negated else (YES, NO)
    absent = yes if holds(None) else no

    def evaluate(fold: Facet, types: Collection[str], now_ms: int) -> int:
        cell = fold.traits.get(name)
        if cell is None:
            return absent
        return yes if holds(cell[0]) else no

    return evaluate


def _date(condition: TraitDate, negated: bool) -> Evaluate:
    name, signed_at = condition.trait, compile_date(condition)
    sign = -1 if negated else 1

    def evaluate(fold: Facet, types: Collection[str], now_ms: int) -> int:
        cell = fold.traits.get(name)
        return sign * (NO if cell is None else signed_at(cell[0], now_ms))

    return evaluate


def _consent(purpose: str, negated: bool) -> Evaluate:
    yes, no = (NO, YES) if negated else (YES, NO)

    def evaluate(fold: Facet, types: Collection[str], now_ms: int) -> int:
        word = fold.consent.get(purpose)
        return yes if word is not None and word[0] else no

    return evaluate


def _has(identifier_type: str, negated: bool) -> Evaluate:
    yes, no = (NO, YES) if negated else (YES, NO)
    return lambda fold, types, now_ms: yes if identifier_type in types else no


def _event(condition: EventCount, negated: bool) -> Evaluate:
    number, comparison = condition.number, condition.comparison
    if comparison is Comparison.AT_MOST:
        number, negated = number + 1, not negated  # at most n = not at least n + 1
    key = leaf_key(condition.event, condition.where)
    if condition.within_ms is None:
        exactly = comparison is Comparison.EXACTLY
        if condition.where:
            return _ever_in_leaf(key, number, exactly, negated)
        return _ever_in_counter(key, number, exactly, negated)
    if comparison is Comparison.EXACTLY:
        return _window_exactly(key, number, condition.within_ms, negated)
    return _window_at_least(key, number, condition.within_ms, negated)


def _ever_in_counter(event: str, number: int, exactly: bool, negated: bool) -> Evaluate:
    yes, no = (NO, YES) if negated else (YES, NO)
    if exactly:
        return lambda fold, types, now_ms: yes if fold.counters.get(event, 0) == number else no
    return lambda fold, types, now_ms: yes if fold.counters.get(event, 0) >= number else no


def _ever_in_leaf(key: str, number: int, exactly: bool, negated: bool) -> Evaluate:
    yes, no = (NO, YES) if negated else (YES, NO)

    def evaluate(fold: Facet, types: Collection[str], now_ms: int) -> int:
        state = fold.leaves.get(key)
        count = 0 if state is None else state[0]
        return yes if (count == number if exactly else count >= number) else no

    return evaluate


def _window_at_least(key: str, number: int, within_ms: int, negated: bool) -> Evaluate:
    """True until the n-th newest instant leaves the window; then false for good, as far as time goes."""
    sign, no = (-1, YES) if negated else (1, NO)

    def evaluate(fold: Facet, types: Collection[str], now_ms: int) -> int:
        state = fold.leaves.get(key)
        if state is None:
            return no
        instants = state[1]
        if len(instants) < number:
            return no
        due_ms: int = instants[-number] + within_ms
        return sign * due_ms if due_ms > now_ms else no

    return evaluate


def _window_exactly(key: str, number: int, within_ms: int, negated: bool) -> Evaluate:
    """True from the instant at which the (n+1)-th newest leaves the window until the n-th newest does."""
    sign = -1 if negated else 1

    def evaluate(fold: Facet, types: Collection[str], now_ms: int) -> int:
        state = fold.leaves.get(key)
        instants = () if state is None else state[1]
        kept = len(instants)
        if kept > number:
            due_ms: int = instants[-number - 1] + within_ms
            if due_ms > now_ms:
                leave_together = number > 0 and instants[-number] == instants[-number - 1]
                return sign * NO if leave_together else -sign * due_ms
        if number == 0:
            return sign * YES
        if kept >= number:
            due_ms = instants[-number] + within_ms
            if due_ms > now_ms:
                return sign * due_ms
        return sign * NO

    return evaluate
