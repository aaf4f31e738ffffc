"""Conditions in words, for explanations and notes."""

from __future__ import annotations

from typing import assert_never

from ..duration import format_duration
from .definition import (
    All,
    AnyOf,
    Comparison,
    Computed,
    ComputedTests,
    Condition,
    ConsentGiven,
    Day,
    EventAggregate,
    EventCount,
    EventSequence,
    FirstTime,
    HasIdentifier,
    InSegment,
    NoneOf,
    NotSince,
    PropertyTests,
    Score,
    Step,
    Test,
    TraitDate,
    TraitTests,
)


def describe(condition: Condition) -> str:
    """A condition in words: `event order_completed (total gte 20) within 7d, at least 1`."""
    if isinstance(condition, All | AnyOf | NoneOf):
        word = {All: "all", AnyOf: "any", NoneOf: "none"}[type(condition)]
        return f"{word} of {len(condition.conditions)}"
    if isinstance(condition, TraitTests):
        return f"trait {condition.trait} {_tests(condition.tests)}"
    if isinstance(condition, TraitDate):
        operand = condition.operand
        length = str(operand) if isinstance(operand, Day) else format_duration(operand)
        zone = "" if condition.timezone is None else f" in {condition.timezone}"
        return f"trait {condition.trait} {condition.operator} {length}{zone}"
    if isinstance(condition, EventCount):
        return f"event {_events(condition)}{_window(condition.within_ms)}, {_comparison(condition)}"
    if isinstance(condition, EventAggregate):
        compared = f"{condition.aggregate} of {condition.property} {_tests(condition.tests)}"
        return f"event {_events(condition)}{_window(condition.within_ms)}, {compared}"
    if isinstance(condition, EventSequence):
        steps = ", then ".join(_events(step) for step in condition.steps)
        return f"sequence {steps}{_window(condition.within_ms)}"
    if isinstance(condition, FirstTime):
        return f"first time {_events(condition)}{_window(condition.within_ms)}"
    if isinstance(condition, NotSince):
        lasting = "" if condition.for_ms is None else f" for {format_duration(condition.for_ms)}"
        return f"no {_events(condition)}{lasting or ' ever'}"
    if isinstance(condition, InSegment):
        return f"segment {condition.segment_id}"
    if isinstance(condition, ConsentGiven):
        return f"consent {condition.purpose}"
    if isinstance(condition, HasIdentifier):
        return f"has {condition.identifier_type}"
    if isinstance(condition, Computed):
        of = "" if condition.property is None else f" of {condition.property}"
        where = f" ({_where(condition.where)})" if condition.where else ""
        return (
            f"{condition.computation}{of}: {', '.join(condition.events)}{where}{_window(condition.within_ms)}"
        )
    if isinstance(condition, Score):
        return f"score of {len(condition.rules)} rules"
    if isinstance(condition, ComputedTests):
        return describe(condition.condition)
    assert_never(condition)


def _events(condition: EventCount | EventAggregate | Step | FirstTime | NotSince) -> str:
    return f"{condition.event} ({_where(condition.where)})" if condition.where else condition.event


def _window(within_ms: int | None) -> str:
    return "" if within_ms is None else f" within {format_duration(within_ms)}"


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
