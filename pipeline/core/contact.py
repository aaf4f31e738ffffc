"""Contacts that a source has merged or parted: `contact_merged` and `contact_split`, as decisions of it.

The identifiers of such a touchpoint are the contact that is kept; the property `merged` lists those that were
merged into it, or are parted from it, as `{type, value}`. Of several values of a type that tells people apart
the first is kept, the others count as merged. It must not know how a touchpoint is read.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from .decisions import SOURCE, Action, Decision
from .errors import Reason, Rejection
from .normalise import RAW_CHARS_MAX, Normalise, Normaliser
from .policy import Policy
from .touch import Touch

MERGED: Final = "contact_merged"
SPLIT: Final = "contact_split"
KINDS: Final = frozenset((MERGED, SPLIT))
PROPERTY: Final = "merged"
MERGED_MAX: Final = 50

Types = dict[str, tuple[Normalise, int, bool]]


def kept_apart(record: dict[str, Any], types: Types) -> dict[str, Any]:
    """The touchpoint with one value of each type that tells people apart; the others are among the merged.

    `record`: a decoded touchpoint, its identifiers a list of types and values. `types`: as a Normaliser has
    them.
    """
    kept: list[Any] = []
    further: list[Any] = []
    taken: dict[int, str] = {}
    for entry in record["identifiers"]:
        rule, raw = types.get(entry["type"]), entry["value"]
        identifier = rule[0](raw) if rule is not None and len(raw) <= RAW_CHARS_MAX else None
        if rule is None or identifier is None or not rule[2]:
            kept.append(entry)
        elif taken.setdefault(rule[1], identifier) == identifier:
            kept.append(entry)
        else:
            further.append({"type": entry["type"], "value": raw})
    properties = record.get("properties")
    if isinstance(properties, str):
        try:
            properties = orjson.loads(properties)
        except orjson.JSONDecodeError:
            return record | {"identifiers": kept}  # Its properties are refused by themselves.
    properties = {} if properties is None else properties
    if isinstance(properties, dict) and isinstance(listed := properties.get(PROPERTY, []), list):
        properties = properties | {PROPERTY: [*further, *listed]}
    return record | {"identifiers": kept, "properties": properties}


class Contacts:
    """Reads decisions of sources out of their touchpoints, under one policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        normaliser = Normaliser(policy)
        self._types, self._by_source = normaliser.types, normaliser.by_source

    def decision_in(self, touch: Touch) -> Decision | Rejection | None:
        """The decision of a touch of one of KINDS; None if it says nothing of other identifiers."""
        listed = orjson.loads(touch.properties).get(PROPERTY)
        if listed is None:
            return None
        path = f"properties.{PROPERTY}"
        if not isinstance(listed, list) or len(listed) > MERGED_MAX:
            return Rejection(Reason.INVALID_FIELD, path, f"must be an array of at most {MERGED_MAX}")
        types = self._by_source.get(touch.source, self._types)
        merged: set[str] = set()
        for index, entry in enumerate(listed):
            parts = (entry.get("type"), entry.get("value")) if isinstance(entry, dict) else (None, None)
            kind, raw = parts
            if not isinstance(kind, str) or not isinstance(raw, str):
                return Rejection(Reason.INVALID_FIELD, f"{path}[{index}]", "must have type and value")
            rule = types.get(kind)
            identifier = rule[0](raw) if rule is not None and len(raw) <= RAW_CHARS_MAX else None
            if identifier is not None:
                merged.add(identifier)
        merged.difference_update(touch.identifiers)
        if not merged:
            return None
        order_of, kept = self._policy.order_of, tuple(touch.identifiers)
        name = f"{SOURCE}{touch.source}:{touch.event_id}"
        if touch.type == SPLIT:
            ordered = tuple(sorted(merged, key=order_of))
            return Decision(name, Action.PART, touch.occurred_at, touch.source, ordered, kept)
        ordered = tuple(sorted(merged.union(kept), key=order_of))
        return Decision(name, Action.MERGE, touch.occurred_at, touch.source, ordered)
