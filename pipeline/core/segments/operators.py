"""What each operator means on one JSON value, as fast predicates over values that are already parsed.

None stands for a missing value, and a JSON null counts as missing. Nothing is converted: a text is never a
number, true is never 1; 1 and 1.0 are the same number. Texts are compared exactly, case and accents included.
It must not know where a value comes from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final, TypeAlias, assert_never

from ..duration import UNITS_MS
from .definition import Operand, Operator, PropertyTests, Scalar, Test

MATCHED_CHARS_MAX: Final = (
    1_024  # a longer text is searched in its first characters: bounds the work per event
)
Predicate: TypeAlias = Callable[[Any], bool]
_DAY_MS: Final = UNITS_MS["d"]
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_INSTANT: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?\s?(?:(Z)|([+-])(\d\d):?(\d\d))?)?",
    re.ASCII,
)


def compile_where(where: tuple[PropertyTests, ...]) -> Callable[[Mapping[str, Any]], bool]:
    """A predicate over the properties of an event; an empty `where` accepts every event."""
    if not where:
        return lambda properties: True
    if len(where) == 1:
        name, holds = where[0].property, compile_tests(where[0].tests)
        return lambda properties: holds(properties.get(name))
    pairs = tuple((tested.property, compile_tests(tested.tests)) for tested in where)

    def all_hold(properties: Mapping[str, Any]) -> bool:
        for name, holds in pairs:  # noqa: SIM110 (a generator costs 0.3 us per event)
            if not holds(properties.get(name)):
                return False
        return True

    return all_hold


def compile_tests(tests: tuple[Test, ...]) -> Predicate:
    """A predicate that holds when every test holds."""
    if len(tests) == 1:
        return compile_test(tests[0])
    predicates = tuple(compile_test(test) for test in tests)
    return lambda value: all(holds(value) for holds in predicates)


def compile_test(test: Test) -> Predicate:
    """The predicate of one operator. The operand has been checked by `parse.py`."""
    operator, operand = test.operator, test.operand
    match operator:
        case Operator.IS:
            return _equal_to(_scalar(operand))
        case Operator.IS_NOT:
            equal = _equal_to(_scalar(operand))
            return lambda value: not equal(value)
        case Operator.IN:
            return _one_of(operand if isinstance(operand, tuple) else (operand,))
        case Operator.CONTAINS:
            return _containing(_scalar(operand))
        case Operator.MATCHES:
            return _matching(str(operand))
        case Operator.EXISTS:
            return (lambda value: value is not None) if operand else (lambda value: value is None)
        case Operator.GT | Operator.GTE | Operator.LT | Operator.LTE:
            return _compared(operator, operand)
        case Operator.BEFORE | Operator.AFTER:
            return _before_or_after(operator, operand)
        case _:
            assert_never(operator)


def instant_ms(value: object) -> int | None:
    """The instant that a value names, in ms since the epoch, or None.

    A whole number is milliseconds already. A text is an ISO date (midnight) or date and time; UTC unless it
    carries an offset; digits below the millisecond are dropped.
    """
    if isinstance(value, str):
        return _instant_of_text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _instant_of_text(text: str) -> int | None:
    found = _INSTANT.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, _, sign, offset_h, offset_m = found.groups(default="")
    clock = [int(part or 0) for part in (hour, minute, second, offset_h, offset_m)]
    if clock[0] > 23 or max(clock[1:3]) > 59 or clock[3] > 23 or clock[4] > 59:
        return None
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    offset_ms = (clock[3] * 60 + clock[4]) * 60_000
    clock_ms = ((clock[0] * 60 + clock[1]) * 60 + clock[2]) * 1_000 + int(fraction.ljust(3, "0")[:3] or 0)
    return days * _DAY_MS + clock_ms + (offset_ms if sign == "-" else -offset_ms)


def _scalar(operand: Operand) -> Scalar:
    if isinstance(operand, tuple):
        raise TypeError("only `in` has a list")
    return operand


def _equal_to(operand: Scalar) -> Predicate:
    if isinstance(operand, bool):
        return lambda value: value is operand
    if isinstance(operand, str):
        return lambda value: bool(value == operand)
    return lambda value: value == operand and value is not True and value is not False


def _one_of(operands: tuple[Scalar, ...]) -> Predicate:
    texts = frozenset(operand for operand in operands if isinstance(operand, str))
    truths = frozenset(operand for operand in operands if isinstance(operand, bool))
    numbers = frozenset(
        operand for operand in operands if isinstance(operand, int | float) and not isinstance(operand, bool)
    )

    def holds(value: Any) -> bool:
        kind = type(value)
        if kind is str:
            return value in texts
        if kind is bool:
            return value in truths
        return (kind is int or kind is float) and value in numbers

    return holds


def _containing(operand: Scalar) -> Predicate:
    equal = _equal_to(operand)

    def holds(value: Any) -> bool:
        if isinstance(value, str):
            return isinstance(operand, str) and operand in value
        return isinstance(value, list) and any(equal(item) for item in value)

    return holds


def _matching(pattern: str) -> Predicate:
    search = re.compile(pattern).search
    return lambda value: isinstance(value, str) and search(value[:MATCHED_CHARS_MAX]) is not None


def _compared(operator: Operator, operand: Operand) -> Predicate:
    if isinstance(operand, str | tuple):
        raise TypeError("gt, gte, lt and lte compare to a number")
    bound: float = operand

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and value is not True and value is not False

    if operator is Operator.GT:
        return lambda value: is_number(value) and value > bound
    if operator is Operator.GTE:
        return lambda value: is_number(value) and value >= bound
    if operator is Operator.LT:
        return lambda value: is_number(value) and value < bound
    return lambda value: is_number(value) and value <= bound


def _before_or_after(operator: Operator, operand: Operand) -> Predicate:
    bound_ms = instant_ms(operand)
    if bound_ms is None:
        raise TypeError("before and after compare to an instant")
    limit_ms: int = bound_ms
    if operator is Operator.BEFORE:
        return lambda value: (at_ms := instant_ms(value)) is not None and at_ms < limit_ms
    return lambda value: (at_ms := instant_ms(value)) is not None and at_ms > limit_ms
