"""The words of definitions that stand for one of a few: operators, comparisons, days, computations."""

from __future__ import annotations

from enum import StrEnum


class Operator(StrEnum):
    """How one value (a trait or a property of an event) is tested: docs/reference/segments.md."""

    IS = "is"
    IS_NOT = "is_not"
    IN = "in"
    CONTAINS = "contains"
    MATCHES = "matches"
    EXISTS = "exists"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    BEFORE = "before"
    AFTER = "after"


class Comparison(StrEnum):
    """How the number of events is compared."""

    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    EXACTLY = "exactly"


class Aggregate(StrEnum):
    """What is made of a number that each event carries."""

    SUM = "sum"
    MIN = "min"
    MAX = "max"
    AVG = "avg"


class DateOperator(StrEnum):
    """How the date or instant in a trait stands to now."""

    ON = "on"
    ANNIVERSARY = "anniversary"
    WITHIN_NEXT = "within_next"
    WITHIN_LAST = "within_last"


class Day(StrEnum):
    """A calendar day seen from now."""

    YESTERDAY = "yesterday"
    TODAY = "today"
    TOMORROW = "tomorrow"


class Computation(StrEnum):
    """What a computed trait makes of events: docs/reference/traits.md."""

    COUNT = "count"
    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    FIRST = "first"
    LAST = "last"
    MOST_FREQUENT = "most_frequent"
    UNIQUE = "unique"
    RECENCY = "recency"
    SESSIONS = "sessions"
