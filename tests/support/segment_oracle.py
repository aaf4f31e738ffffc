"""The segment oracle: who is inside a segment, decided slowly and obviously from raw events.

Takes the JSON form of a definition and everything that is known of one person. Shares no code with
`pipeline.core.segments`: no folding, no leaves, no compiled conditions, every event looked at every time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
Event = Mapping[str, Any]
"""`event_id`, `type`, `occurred_at` (ms), `properties` (a mapping): an event that has arrived."""


class Person:
    """What is known of a person at one moment. `history`: events that have arrived, in any order."""

    def __init__(
        self,
        history: Sequence[Event],
        traits: Mapping[str, Any],
        consent: Mapping[str, bool],
        identifier_types: Collection[str],
    ) -> None:
        self.history = {event["event_id"]: event for event in history}
        self.traits, self.consent, self.identifier_types = traits, consent, identifier_types


def is_inside(definition: Mapping[str, Any], person: Person, now_ms: int) -> bool:
    """Whether the person is inside the segment at `now_ms`. `definition` is the JSON form."""
    purpose = definition.get("purpose")
    if purpose is not None and not person.consent.get(purpose, False):
        return False
    return _holds(definition["where"], person, now_ms)


def window_edges(definition: Mapping[str, Any], person: Person) -> list[int]:
    """Every instant at which some event leaves some window of the definition, ascending."""
    lengths = [_duration_ms(one["within"]) for one in _conditions(definition["where"]) if "within" in one]
    return sorted({event["occurred_at"] + length for event in person.history.values() for length in lengths})


def _conditions(condition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    inner = [one for head in ("all", "any", "none") for one in condition.get(head, [])]
    return [condition, *(found for one in inner for found in _conditions(one))]


def _holds(condition: Mapping[str, Any], person: Person, now_ms: int) -> bool:
    if "all" in condition:
        return all(_holds(one, person, now_ms) for one in condition["all"])
    if "any" in condition:
        return any(_holds(one, person, now_ms) for one in condition["any"])
    if "none" in condition:
        return not any(_holds(one, person, now_ms) for one in condition["none"])
    if "consent" in condition:
        return person.consent.get(condition["consent"], False)
    if "has" in condition:
        return condition["has"] in person.identifier_types
    if "trait" in condition:
        tests = {key: operand for key, operand in condition.items() if key != "trait"}
        return _passes(person.traits.get(condition["trait"]), tests)
    happened = [event for event in person.history.values() if _counts(condition, event, now_ms)]
    if "exactly" in condition:
        return len(happened) == condition["exactly"]
    if "at_most" in condition:
        return len(happened) <= condition["at_most"]
    return len(happened) >= condition.get("at_least", 1)


def _counts(condition: Mapping[str, Any], event: Event, now_ms: int) -> bool:
    if event["type"] != condition["event"]:
        return False
    if "within" in condition and not now_ms < event["occurred_at"] + _duration_ms(condition["within"]):
        return False
    return all(
        _passes(event["properties"].get(name), tests if isinstance(tests, dict) else {"is": tests})
        for name, tests in condition.get("where", {}).items()
    )


def _duration_ms(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([a-z]+)", text).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


def _passes(value: Any, tests: Mapping[str, Any]) -> bool:
    return all(_passes_one(value, operator, operand) for operator, operand in tests.items())


def _passes_one(value: Any, operator: str, operand: Any) -> bool:
    if operator == "exists":
        return bool((value is not None) == operand)
    if operator == "is_not":
        return not _same(value, operand)
    if value is None:
        return False
    if operator == "is":
        return _same(value, operand)
    if operator == "in":
        return any(_same(value, one) for one in operand)
    if operator == "contains":
        if isinstance(value, list):
            return any(_same(one, operand) for one in value)
        return isinstance(value, str) and isinstance(operand, str) and operand in value
    if operator == "matches":
        return isinstance(value, str) and bool(re.search(operand, value[:1024]))
    if operator in ("before", "after"):
        left, right = _instant(value), _instant(operand)
        if left is None or right is None:
            return False
        return left < right if operator == "before" else left > right
    if not _is_number(value):
        return False
    return {
        "gt": value > operand, "gte": value >= operand, "lt": value < operand, "lte": value <= operand
    }[operator]  # fmt: skip


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(a: Any, b: Any) -> bool:
    if _is_number(a) and _is_number(b):
        return bool(a == b)
    return type(a) is type(b) and bool(a == b)


def _instant(value: Any) -> datetime | None:
    if _is_number(value):
        return (
            datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value) if value == int(value) else None
        )
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
