"""The intake's judgement of one decision of a steward: from the JSON on its topic to a `Decision`.

A decision is taken as a whole or not at all: one identifier that is unusable rejects it, for what is left
could mean something else. A detail never repeats a value: it may be personal. A null is an absent field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from .decisions import STEWARD, UNDO, Action, Decision
from .errors import Reason, Rejection
from .normalise import RAW_CHARS_MAX, Normaliser
from .policy import Policy
from .touch import Touch
from .touchpoint import FUTURE_MS_MAX, IDENTIFIERS_MAX, TOUCHPOINT_BYTES_MAX, read_json

DECISION_ID_CHARS_MAX: Final = 200
BY_CHARS_MAX: Final = 200
REASON_CHARS_MAX: Final = 1_000
ACTIONS: Final = (Action.MERGE, Action.SPLIT, Action.UNDO)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TEXTS: Final = (("decision_id", DECISION_ID_CHARS_MAX), ("by", BY_CHARS_MAX), ("reason", REASON_CHARS_MAX))


@dataclass(frozen=True, slots=True)
class Told:
    """A good decision. `routes`: of an undo, identifiers in whose components it is to be heard."""

    decision: Decision
    routes: tuple[str, ...] = ()

    def touches(self) -> list[Touch]:
        """The touches that carry it."""
        return self.decision.touches(self.routes)


class DecisionReader:
    """Reads, checks and normalises decisions under one policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._normaliser = Normaliser(policy)

    def read(self, key: bytes | None, value: bytes | None, at_ms: int, now_ms: int) -> Told | Rejection:
        """Judge one record. `at_ms`: the broker's instant of it; `now_ms`: the clock that it is held against.

        The key names an identifier of an undo that names none itself.
        """
        if not value:
            return Rejection(Reason.MALFORMED_JSON, detail="the value is empty")
        if len(value) > TOUCHPOINT_BYTES_MAX:
            return Rejection(Reason.TOO_LARGE, detail=f"{len(value)} bytes, at most {TOUCHPOINT_BYTES_MAX}")
        record = read_json(value)
        return record if isinstance(record, Rejection) else self._judge(key, record, at_ms, now_ms)

    def _judge(self, key: bytes | None, record: dict[str, Any], at_ms: int, now_ms: int) -> Told | Rejection:
        fault = _head_fault(record, now_ms)
        if fault is not None:
            return fault
        action = Action(record["action"])
        if record.get("decided_at") is not None:
            at_ms = record["decided_at"]
        identifiers = self._identify(record.get("identifiers"))
        if isinstance(identifiers, Rejection):
            return identifiers
        by, reason = record["by"].strip(), record["reason"].strip()
        if action is Action.UNDO:
            routes = dict.fromkeys([*identifiers, *self._in_key(key)])
            if not routes:
                detail = "an undo names an identifier of the decision, here or as the key of its record"
                return Rejection(Reason.MISSING_FIELD, "identifiers", detail)
            undo = Decision(UNDO + record["decision_id"], action, at_ms, "", (), (), by, reason)
            return Told(undo, tuple(routes))
        if not identifiers:
            detail = f"a {action} names the identifiers that it is about"
            return Rejection(Reason.MISSING_FIELD, "identifiers", detail)
        if action is Action.MERGE and len(identifiers) == 1:
            detail = "a merge names two or more different identifiers"
            return Rejection(Reason.INVALID_FIELD, "identifiers", detail)
        name = STEWARD + record["decision_id"]
        return Told(Decision(name, action, at_ms, "", tuple(identifiers), (), by, reason))

    def _identify(self, entries: object) -> list[str] | Rejection:
        """The identifiers, normalised, distinct, strongest first, maybe none; or the first fault."""
        if entries is None:
            return []
        if not isinstance(entries, list):
            return Rejection(Reason.INVALID_FIELD, "identifiers", "must be an array")
        if len(entries) > IDENTIFIERS_MAX:
            detail = f"{len(entries)} identifiers, at most {IDENTIFIERS_MAX}"
            return Rejection(Reason.INVALID_FIELD, "identifiers", detail)
        found: set[str] = set()
        for index, entry in enumerate(entries):
            path = f"identifiers[{index}]"
            if not isinstance(entry, dict):
                return Rejection(Reason.INVALID_FIELD, path, "must have type and value")
            for part in ("type", "value"):
                if not isinstance(entry.get(part), str):
                    return Rejection(Reason.INVALID_FIELD, f"{path}.{part}", "must be a string")
            if entry["type"] not in self._policy.rules:
                detail = "must be an identifier type of the identity policy"
                return Rejection(Reason.INVALID_FIELD, f"{path}.type", detail)
            identifier = self._normaliser.identifier(entry["type"], entry["value"])
            if identifier is None:
                detail = "is blocked or invalid, and a decision is taken as a whole"
                return Rejection(Reason.NO_USABLE_IDENTIFIER, f"{path}.value", detail)
            found.add(identifier)
        return sorted(found, key=self._policy.order_of)

    def _in_key(self, key: bytes | None) -> list[str]:
        """The identifier that the key of a record stands for, if it does."""
        try:
            text = (key or b"").decode()
        except UnicodeDecodeError:
            return []
        identifier = self._normaliser.parse(text) if len(text) <= 2 * RAW_CHARS_MAX else None
        return [] if identifier is None else [identifier]


def _head_fault(record: dict[str, Any], now_ms: int) -> Rejection | None:
    """The first fault of the fields beside the identifiers, or None."""
    for name in ("decision_id", "action", "by", "reason"):
        if record.get(name) is None:
            return Rejection(Reason.MISSING_FIELD, name, f"{name} is required")
    if record["action"] not in ACTIONS:
        return Rejection(Reason.INVALID_FIELD, "action", "must be merge, split or undo")
    for name, most in _TEXTS:
        given = record[name]
        if not isinstance(given, str) or not given.strip() or len(given) > most or _CONTROL.search(given):
            detail = f"must have 1 to {most} characters and no control characters"
            return Rejection(Reason.INVALID_FIELD, name, detail)
    at_ms = record.get("decided_at")
    if at_ms is not None and (type(at_ms) is not int or at_ms < 0):
        return Rejection(Reason.INVALID_FIELD, "decided_at", "must be an integer, milliseconds since 1970")
    if at_ms is not None and at_ms > now_ms + FUTURE_MS_MAX:
        detail = f"{(at_ms - now_ms) // 1_000} s ahead of now, at most {FUTURE_MS_MAX // 1_000}"
        return Rejection(Reason.FUTURE_EVENT, "decided_at", detail)
    return None
