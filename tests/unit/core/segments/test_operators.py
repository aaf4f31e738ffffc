"""What each operator means on each kind of value."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.segments.definition import Operator, PropertyTests, Test
from pipeline.core.segments.operators import (
    MATCHED_CHARS_MAX,
    compile_test,
    compile_tests,
    compile_where,
    instant_ms,
)

VALUES = (None, "", "Madrid", "madrid", "1", 0, 1, 1.0, 2, 2.5, True, False, ["Madrid", 1], [], {"a": 1})


@pytest.mark.parametrize(
    ("operator", "operand", "true_for"),
    [
        ("is", "Madrid", ["Madrid"]),
        ("is", 1, [1, 1.0]),
        ("is", True, [True]),
        ("is", "1", ["1"]),
        ("in", ("Madrid", 2, False), ["Madrid", 2, False]),
        ("in", (1,), [1, 1.0]),
        ("contains", "a", ["Madrid", "madrid"]),
        ("contains", "Madrid", ["Madrid", ["Madrid", 1]]),
        ("contains", 1, [["Madrid", 1]]),
        ("contains", True, []),
        ("matches", "^[Mm]ad", ["Madrid", "madrid"]),
        ("matches", "^$", [""]),
        ("exists", False, [None]),
        ("gt", 1, [2, 2.5]),
        ("gte", 1, [1, 1.0, 2, 2.5]),
        ("lt", 1, [0]),
        ("lte", 1.0, [0, 1, 1.0]),
        ("before", 2, [0, 1, 1.0]),
        ("after", 0, [1, 1.0, 2]),
    ],
)
def test_an_operator_is_true_for_these_values_only(operator: str, operand: Any, true_for: list[Any]) -> None:
    holds = compile_test(Test(Operator(operator), operand))
    found = [value for value in VALUES if holds(value)]
    assert [(type(value), value) for value in found] == [(type(value), value) for value in true_for]


@pytest.mark.parametrize("operand", ["Madrid", 1, True, ""])
def test_is_not_is_the_opposite_of_is_and_true_for_what_is_missing(operand: Any) -> None:
    same, other = compile_test(Test(Operator.IS, operand)), compile_test(Test(Operator.IS_NOT, operand))
    assert all(same(value) != other(value) for value in VALUES)
    assert other(None)


def test_exists_is_false_for_null_as_for_a_missing_value() -> None:
    holds = compile_test(Test(Operator.EXISTS, True))
    assert [value for value in VALUES if not holds(value)] == [None]


def test_matches_searches_the_first_characters_of_a_long_text() -> None:
    holds = compile_test(Test(Operator.MATCHES, "b"))
    assert holds("a" * (MATCHED_CHARS_MAX - 1) + "b")
    assert not holds("a" * MATCHED_CHARS_MAX + "b")


def test_several_tests_of_one_value_must_all_hold() -> None:
    holds = compile_tests((Test(Operator.GTE, 18), Test(Operator.LT, 65)))
    assert [age for age in (17, 18, 64, 65) if holds(age)] == [18, 64]


def test_all_properties_of_a_where_must_hold_and_an_empty_one_accepts_everything() -> None:
    holds = compile_where(
        (
            PropertyTests("category", (Test(Operator.IS, "hats"),)),
            PropertyTests("price", (Test(Operator.GT, 10),)),
        )
    )
    assert holds({"category": "hats", "price": 11})
    assert not holds({"category": "hats", "price": 10})
    assert not holds({"price": 11})
    assert compile_where(())({})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1970-01-02", 86_400_000),
        ("1970-01-01T00:00:01Z", 1_000),
        ("1970-01-01 00:00:01", 1_000),
        ("1970-01-01T00:01", 60_000),
        ("1970-01-01T00:00:00.0019Z", 1),
        ("1970-01-01T00:00:00.5+00:00", 500),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1969-12-31T21:00:00-0300", 0),
        ("1969-12-31", -86_400_000),
        ("0001-01-01", -62_135_596_800_000),
        (5, 5),
        (5.0, 5),
        (5.5, None),
        (True, None),
        (None, None),
        (["1970-01-01"], None),
        ("1970-02-30", None),
        ("1970-01-01T24:00:00Z", None),
        ("1970-01-01T00:60:00Z", None),
        ("1970-01-01T00:00:00+24:00", None),
        ("1970-1-1", None),
        ("19700101", None),
        (" 1970-01-01", None),
        ("1970-01-01\n", None),
        ("٢٠٢٦-01-01", None),
        ("5", None),
    ],
)  # fmt: skip
def test_an_instant_is_an_iso_date_or_milliseconds(value: object, expected: int | None) -> None:
    assert instant_ms(value) == expected
