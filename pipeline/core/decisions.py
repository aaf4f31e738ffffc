"""Decisions about who is one person: of stewards, and of sources that merge their contacts.

A decision is evidence like a link: kept beside the links, united in joins, never changed. Which of them count
and what they mean for the groups is a pure function of all of them, so their order of arrival says nothing.
It must not know where decisions are read or how they travel.
Source: docs/decisions/0016-decisions-are-evidence.md
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, TypeAlias

import orjson

from .alike import Alike
from .identity import Link, RefusedLink, Ruling, Told, group_identifiers
from .instant import format_instant
from .policy import Policy
from .touch import Touch

DECISION_TYPE: Final = "elo.decision"
"""The type of a touch that carries a decision. No event is called so: event types are snake_case."""
STEWARD_LABEL: Final = "steward"
STEWARD: Final = "decision:"
SOURCE: Final = "source:"
UNDO: Final = "undo:"
DECISIONS_MAX: int = 1_000
"""That one component keeps, undone ones included: its record must fit a message. Not Final: tests make it
small."""
Row: TypeAlias = list[Any]
"""The stored form: action, instant in ms, source, identifiers, kept, by, reason."""
Rows: TypeAlias = Mapping[str, Row]
"""Name → decision. The name is the event id of the touch that brought it: `decision:ID` of a steward,
`source:SOURCE:EVENT` of a source, `undo:ID` for taking either back."""


class Action(StrEnum):
    """What a decision says of its identifiers."""

    MERGE = "merge"  # they are one person
    SPLIT = "split"  # they are one person, and another one than the rest of those whom they were one with
    UNDO = "undo"  # the decision of this id does not count
    PART = "part"  # of a source: they are no longer what its earlier merges made them, `kept` stay


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision. `identifiers` strongest first, none of an undo. `kept` is of a PART only.

    `source`: whose it is, empty for a steward. `by` and `reason` are as they were given.
    """

    name: str
    action: Action
    at_ms: int
    source: str
    identifiers: tuple[str, ...]
    kept: tuple[str, ...] = ()
    by: str = ""
    reason: str = ""

    @property
    def id(self) -> str:
        """The id by which people name it, and by which it is undone."""
        return self.name.partition(":")[2]

    def row(self) -> Row:
        """The stored form."""
        return [self.action.value, self.at_ms, self.source, list(self.identifiers), list(self.kept), self.by,
                self.reason]  # fmt: skip

    def in_words(self) -> str:
        """What people are shown of it."""
        return f"decision {self.id} of {self.by or self.source}" + (f": {self.reason}" if self.reason else "")

    def to_json(self) -> dict[str, Any]:
        """What commands show of it."""
        return {
            "decision_id": self.id,
            "action": self.action.value,
            "source": self.source or STEWARD_LABEL,
            "identifiers": list(self.identifiers),
            "by": self.by or None,
            "reason": self.reason or None,
            "decided_at": format_instant(self.at_ms),
        }

    def touches(self, routes: Iterable[str] = ()) -> list[Touch]:
        """The touches that carry it. `routes`: identifiers in whose components an undo is to be heard."""
        told = {"action": self.action.value, "by": self.by, "reason": self.reason}
        ways: Iterable[list[str]] = [list(self.identifiers)]
        if self.action is Action.PART:
            ways = [list(self.kept)]
            told["parted"] = list(self.identifiers)  # type: ignore[assignment]
        elif self.action is Action.UNDO:
            ways = [[route] for route in dict.fromkeys(routes)]
        properties = orjson.dumps(told).decode()
        source = self.source or STEWARD_LABEL
        return [Touch(self.name, source, DECISION_TYPE, self.at_ms, way, "{}", properties) for way in ways]


def decision_in(touch: Touch) -> Decision:
    """The decision that a touch of type DECISION_TYPE carries."""
    told = orjson.loads(touch.properties)
    action = Action(told["action"])
    seen = () if action is Action.UNDO else tuple(touch.identifiers)
    identifiers, kept = (tuple(told["parted"]), seen) if action is Action.PART else (seen, ())
    source = touch.source if touch.event_id.startswith(SOURCE) else ""
    return Decision(touch.event_id, action, touch.occurred_at, source, identifiers, kept, told["by"],
                    told["reason"])  # fmt: skip


def decision_of(name: str, row: Row) -> Decision:
    """The decision of a stored form."""
    action, at_ms, source, identifiers, kept, by, reason = row
    return Decision(name, Action(action), at_ms, source, tuple(identifiers), tuple(kept), by, reason)


def united_rows(rows: Rows, more: Rows) -> Rows:
    """All decisions of both. Of two that claim one name the smaller counts, so that no order matters."""
    both = {**rows, **more}
    for name in rows.keys() & more.keys():
        both[name] = min(rows[name], more[name])
    return both


def has_room(rows: Rows, decision: Decision) -> bool:
    """Whether a component may keep one more decision. What it has can always be undone."""
    known = decision.name in rows or {STEWARD + decision.id, SOURCE + decision.id} & rows.keys()
    return bool(known) or len(rows) < DECISIONS_MAX


def is_undone(name: str, rows: Rows) -> bool:
    """Whether a decision was taken back, before or after it was known."""
    return UNDO + name.partition(":")[2] in rows


def names(rows: Rows, identifier: str) -> bool:
    """Whether a decision in force names an identifier."""
    return any(identifier in one.identifiers for one in in_force(rows))


def in_force(rows: Rows) -> list[Decision]:
    """The merges and splits that count, those of stewards before those of sources, the newest first.

    A source's later PART takes the identifiers that it names out of the source's own merges.
    """
    found = [decision_of(name, row) for name, row in rows.items() if not is_undone(name, rows)]
    parts = [one for one in found if one.action is Action.PART]
    counting = [
        _without_parted(one, parts) if one.source else one
        for one in found
        if one.action in (Action.MERGE, Action.SPLIT)
    ]
    counting.sort(key=lambda one: (one.at_ms, one.name), reverse=True)
    counting.sort(key=lambda one: bool(one.source))
    return counting


def _without_parted(merge: Decision, parts: Iterable[Decision]) -> Decision:
    parted = {
        identifier
        for part in parts
        if part.source == merge.source and part.at_ms >= merge.at_ms
        and not set(part.kept).isdisjoint(merge.identifiers)
        for identifier in part.identifiers
    }  # fmt: skip
    left = tuple(one for one in merge.identifiers if one not in parted)
    return replace(merge, identifiers=left)


def decides(rows: Rows, event_id: str, edge: str | None) -> bool:
    """Whether what came last is a decision, and what changes is by it, or by an identifier that it names."""
    row = rows.get(event_id)
    return row is not None and (edge is None or edge in row[3])


def group_evidence(
    rows: Rows,
    identifiers: Collection[str],
    links: Sequence[Link],
    inert: Collection[str],
    policy: Policy,
    told: Told,
    alike: Alike | None = None,
) -> tuple[list[list[str]], list[RefusedLink]]:
    """As `group_identifiers`, under the decisions of a component."""
    decisions = in_force(rows) if rows else []
    rulings = rulings_of(decisions, identifiers, links, inert, policy, told, alike)
    return group_identifiers(identifiers, links, inert, policy, told, rulings, alike)


def rulings_of(
    decisions: Sequence[Decision],
    identifiers: Collection[str],
    links: Sequence[Link],
    inert: Collection[str],
    policy: Policy,
    told: Told,
    alike: Alike | None = None,
) -> list[Ruling]:
    """What decisions mean for these identifiers.

    A split parts its identifiers from those whom they were one person with when it was made: by the links
    and matches that were known until then, and by the decisions before it.
    """
    made: dict[str, Ruling] = {}
    for one in sorted(decisions, key=lambda one: (one.at_ms, one.name)):
        others: set[str] = set()
        if one.action is Action.SPLIT:
            before = [made[other.name] for other in decisions if other.name in made]
            seen = _seen_until(one.at_ms, links)
            then = None if alike is None else alike.until(one.at_ms)
            groups, _ = group_identifiers(identifiers, seen, inert, policy, told, before, then)
            for group in groups:
                if not one_of(group, one.identifiers):
                    continue
                others.update(group)
            others.difference_update(one.identifiers)
        made[one.name] = Ruling(one.id, one.identifiers, frozenset(others))
    return [made[one.name] for one in decisions]


def one_of(group: Iterable[str], identifiers: Collection[str]) -> bool:
    """Whether a group has one of these identifiers."""
    return any(one in identifiers for one in group)


def _seen_until(at_ms: int, links: Iterable[Link]) -> list[Link]:
    """The links of the pairs that were seen together at `at_ms` or before."""
    links = list(links)
    early = {(link.stronger, link.weaker) for link in links if link.first_ms <= at_ms}
    return [link for link in links if (link.stronger, link.weaker) in early]
