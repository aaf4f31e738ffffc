"""Why a trait that sources tell has its value: who told which value, and which of them the rule shows.

Which value is shown is what the state has decided, and is not decided again. The touches of the history only
say which event told a value; what is older than the history has no event any more. It must not know where
profile and touches were read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from .facet import Facet, text_of
from .instant import format_instant
from .policy import Survivorship
from .touch import Touch

VALUES_MAX: Final = 20  # values shown of one trait, those that are shown in the profile first


@dataclass(frozen=True, slots=True)
class Told:
    """One value that was told. `at_ms`: the telling that counts, the earliest under `first`, else the newest.

    `count`: how often it was told, where that decides. `event_id`, `source`: of that telling, empty if it is
    older than the history. `identifier`: by whose touch.
    """

    value: Any
    wins: bool
    at_ms: int
    count: int | None
    identifier: str
    event_id: str
    source: str

    def to_json(self) -> dict[str, Any]:
        """One of `values`."""
        return {
            "value": self.value, "wins": self.wins, "at": format_instant(self.at_ms), "count": self.count,
            "identifier": self.identifier, "event_id": self.event_id or None, "source": self.source or None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class WhyTrait:
    """The value of one trait of one profile, by which rule, and what was told, the best first.

    `of`: how many different values. A value None that wins: the trait was taken back.
    """

    name: str
    value: Any
    rule: Survivorship
    told: tuple[Told, ...]
    of: int

    def to_json(self) -> dict[str, Any]:
        """The part of `elo why PROFILE trait:NAME --json` that the evidence decides."""
        return {
            "trait": self.name,
            "trait_version": None,
            "value": self.value,
            "changes_at": None,
            "becomes": None,
            "rule": str(self.rule),
            "computed": None,
            "found": {"of": self.of},
            "identifiers": sorted({one.identifier for one in self.told if one.wins}),
            "values": [one.to_json() for one in self.told],
        }


def explain_trait(
    name: str, rule: Survivorship, fold: Facet, facets: Mapping[str, Facet], touches: Iterable[Touch]
) -> WhyTrait:
    """Explain a trait that the fold of a profile has.

    `facets`: those of the profile, by identifier. `touches`: those of the history that they were made of.
    """
    cell = fold.traits[name]
    told: dict[str, list[tuple[int, str, str, str]]] = {}
    for identifier, facet in facets.items():
        for text, at_ms in _kept(facet.traits.get(name)):
            told.setdefault(text, []).append((at_ms, identifier, "", ""))
    for touch in touches:
        via, at_ms = touch.identifiers[0], touch.occurred_at
        traits = orjson.loads(touch.traits or "{}")
        # What is older than all that a facet knows was told before its component was forgotten.
        if name in traits and via in facets and at_ms >= facets[via].first_seen:
            for text in _texts(traits[name], cell):
                told.setdefault(text, []).append((at_ms, via, touch.event_id, touch.source))
    shown = {text for text, _ in _kept(cell)} if _is_union(cell) else {text_of(cell[0])}
    found = []
    for text, tellings in told.items():
        decided_ms = cell[1] if text in shown and not isinstance(cell[1], dict) else None
        found.append(_told(text, tellings, text in shown, rule, decided_ms, _count(cell, text)))
    found.sort(key=lambda one: (not one.wins, *_order(one, rule)))
    return WhyTrait(name, cell[0], rule, tuple(found[:VALUES_MAX]), len(found))


def _kept(cell: list[Any] | None) -> list[tuple[str, int]]:
    """The values that a trait cell holds, as text, and when each was told last, or first."""
    if cell is None:
        return []
    if not isinstance(cell[1], dict):
        return [(text_of(cell[0]), cell[1])]
    return [(text, seen[1] if isinstance(seen, list) else seen) for text, seen in cell[1].items()]


def _texts(value: Any, cell: list[Any]) -> list[str]:
    """What a touch tells, value by value where all are shown."""
    return [text_of(one) for one in (value if _is_union(cell) and isinstance(value, list) else [value])]


def _is_union(cell: list[Any]) -> bool:
    return isinstance(cell[1], dict) and not any(isinstance(seen, list) for seen in cell[1].values())


def _count(cell: list[Any], text: str) -> int | None:
    seen = cell[1].get(text) if isinstance(cell[1], dict) else None
    return seen[0] if isinstance(seen, list) else None


def _told(
    text: str,
    tellings: list[tuple[int, str, str, str]],
    wins: bool,
    rule: Survivorship,
    decided_ms: int | None,
    count: int | None,
) -> Told:
    """The telling of a value that counts. Of several of one instant one whose event is known."""
    counting = [one for one in tellings if one[0] == decided_ms] or tellings
    first = rule is Survivorship.FIRST
    at_ms, identifier, event_id, source = min(
        counting, key=lambda one: (one[0] if first else -one[0], not one[2], one)
    )
    return Told(orjson.loads(text), wins, at_ms, count, identifier, event_id, source)


def _order(one: Told, rule: Survivorship) -> tuple[int, int, str]:
    """The best first, as the rule has it."""
    at = one.at_ms if rule is Survivorship.FIRST else -one.at_ms
    return -(one.count or 0), at, text_of(one.value)
