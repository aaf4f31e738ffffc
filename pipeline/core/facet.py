"""A facet: what one identifier contributed, and the fold of several, which has the same shape.

Folding is associative and commutative: sums of integers, minima, maxima, and total orders in which event time
comes first. It must not know what an identity rule or a segment is; it keeps what they will need.

Shapes, all of them plain lists so that they pack without copying:
    trait cell   [surviving value, ...]   what follows belongs to the survivorship rule
    consent      [granted, event time]
    leaf state   [count ever, newest instants ascending, their event ids, ...]   segments/leaf.py
    link         [first seen, last seen, touches, first event id, last event id]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from .policy import Survivorship
from .segments.leaf import VALUE, add_instant, add_value, blank_state, combine_states

NEVER: Final = (1 << 63) - 1
"""An instant that does not come, in milliseconds since the epoch."""
FREQUENT_VALUES_MAX: Final = 32  # distinct values that a most_frequent trait counts; the rarest is dropped
UNION_VALUES_MAX: Final = 100  # values that a union trait keeps, newest first
TRAITS_MAX: Final = 200  # names of traits in one facet; further names are left out
PAIR: Final = "\x1f"
"""Stands between the two ends of a link that does not start at the facet's own identifier."""

Cell = list[Any]
Capacities = dict[str, int]


class Facet:
    """Traits, consent, counters, leaves, links and times of one identifier, or of a whole profile.

    Mutable, and owned by the batch that works on it. Times are event times in ms; an empty facet has
    `first_seen` NEVER and `last_seen` 0. `links` of a fold stay empty: they belong to the facets.
    """

    __slots__ = ("consent", "counters", "first_seen", "last_seen", "leaves", "links", "traits")

    def __init__(self) -> None:
        self.first_seen: int = NEVER
        self.last_seen: int = 0
        self.counters: dict[str, int] = {}
        self.traits: dict[str, Cell] = {}
        self.consent: dict[str, Cell] = {}
        self.leaves: dict[str, list[Any]] = {}
        self.links: dict[str, list[Any]] = {}

    def to_list(self) -> list[Any]:
        """The stored form; `from_list` is its inverse."""
        return [
            self.first_seen,
            self.last_seen,
            self.counters,
            self.traits,
            self.consent,
            self.leaves,
            self.links,
        ]

    @classmethod
    def from_list(cls, stored: list[Any]) -> Facet:
        """The facet of a stored form. Takes ownership of the lists inside."""
        facet = _blank(cls)
        (facet.first_seen, facet.last_seen, facet.counters, facet.traits, facet.consent, facet.leaves,
         facet.links) = stored  # fmt: skip
        return facet

    def touch(self, event_type: str, at_ms: int) -> None:
        """Count one touch of `event_type` at event time `at_ms`."""
        counters = self.counters
        counters[event_type] = counters.get(event_type, 0) + 1
        if at_ms < self.first_seen:
            self.first_seen = at_ms
        if at_ms > self.last_seen:
            self.last_seen = at_ms

    def see_leaf(self, key: str, capacity: int, at_ms: int, event_id: str) -> None:
        """Remember an instant at which the leaf's condition held. A valued leaf's key brings a number."""
        state = self.leaves.get(key)
        if state is not None:
            add_instant(state, at_ms, event_id, capacity)
        elif VALUE in key:  # No state has such a key: this is asked once for each new leaf, or number.
            key, _, number = key.partition(VALUE)
            self.leaves[key] = add_value(key, self.leaves.get(key), at_ms, event_id, number, capacity)
        else:
            self.leaves[key] = [1, [at_ms], [event_id]]

    def see_again(self, key: str, capacity: int, at_ms: int, event_id: str) -> None:
        """Remember and count an instant, unless it is kept from a time when the leaf was asked for before."""
        name, _, number = key.partition(VALUE)
        state = self.leaves.get(name)
        if state is None or (f"{number} {event_id}" if number else event_id) not in state[2]:
            self.see_leaf(key, capacity, at_ms, event_id)

    def see_older(self, key: str, capacity: int, at_ms: int, event_id: str) -> None:
        """Remember an instant that was counted before, because more of them are kept now."""
        name, _, number = key.partition(VALUE)
        state = self.leaves.get(name)
        if state is None:
            state = self.leaves[name] = blank_state(name, number, at_ms, event_id)
        kept = f"{number} {event_id}" if number else event_id
        if kept not in state[2]:
            add_instant(state, at_ms, kept, capacity)
            state[0] -= 1

    def see_consent(self, consent: dict[str, bool], at_ms: int) -> None:
        """The newest word counts; of two at the same instant, the refusal."""
        for purpose, granted in consent.items():
            _keep_consent(self.consent, purpose, [granted, at_ms])

    def see_traits(self, traits: dict[str, Any], at_ms: int, rules: dict[str, Survivorship]) -> None:
        """Fold the traits of one touch under the survivorship rule of each (newest by default)."""
        cells = self.traits
        for name, value in traits.items():
            rule = rules.get(name, Survivorship.NEWEST) if rules else Survivorship.NEWEST
            old = cells.get(name)
            if old is not None:
                cells[name] = _combine_cells(old, _new_cell(value, at_ms, rule), rule)
            elif len(cells) < TRAITS_MAX:
                cells[name] = _new_cell(value, at_ms, rule)

    def see_link(self, key: str, at_ms: int, event_id: str) -> bool:
        """Remember that two identifiers were seen together. Returns whether the link is new."""
        link = self.links.get(key)
        if link is None:
            self.links[key] = [at_ms, at_ms, 1, event_id, event_id]
            return True
        link[2] += 1
        if (at_ms, event_id) < (link[0], link[3]):
            link[0], link[3] = at_ms, event_id
        if (at_ms, event_id) > (link[1], link[4]):
            link[1], link[4] = at_ms, event_id
        return False

    def add(self, other: Facet, rules: dict[str, Survivorship], capacities: Capacities) -> None:
        """Fold `other` into this facet, links apart. `other` keeps its own lists and is not changed."""
        self.first_seen = min(self.first_seen, other.first_seen)
        self.last_seen = max(self.last_seen, other.last_seen)
        for event_type, count in other.counters.items():
            self.counters[event_type] = self.counters.get(event_type, 0) + count
        for name, cell in other.traits.items():
            rule = rules.get(name, Survivorship.NEWEST)
            old = self.traits.get(name)
            self.traits[name] = _copy_cell(cell) if old is None else _combine_cells(old, cell, rule)
        for purpose, word in other.consent.items():
            _keep_consent(self.consent, purpose, word)
        for key, state in other.leaves.items():
            mine = self.leaves.get(key)
            if mine is None:
                self.leaves[key] = [state[0], list(state[1]), list(state[2]), *state[3:]]
            else:  # A leaf that no segment here asks about yet keeps everything.
                capacity = capacities.get(key) or len(mine[1]) + len(state[1])
                self.leaves[key] = combine_states(mine, state, capacity)

    def add_links(self, other: Facet) -> None:
        """Union of the links of two facets of the same identifier."""
        for key, link in other.links.items():
            mine = self.links.get(key)
            if mine is None:
                self.links[key] = link
                continue
            mine[2] += link[2]
            if (link[0], link[3]) < (mine[0], mine[3]):
                mine[0], mine[3] = link[0], link[3]
            if (link[1], link[4]) > (mine[1], mine[4]):
                mine[1], mine[4] = link[1], link[4]

    def trait_values(self) -> dict[str, Any]:
        """Surviving values by name, sorted; a trait whose surviving value is null has been taken back."""
        return {name: cell[0] for name, cell in sorted(self.traits.items()) if cell[0] is not None}


_blank: Final[Callable[[type[Facet]], Facet]] = Facet.__new__  # without making what is replaced at once


def _keep_consent(consent: dict[str, Cell], purpose: str, word: Cell) -> None:
    old = consent.get(purpose)
    if old is None or (word[1], not word[0]) > (old[1], not old[0]):
        consent[purpose] = word


def text_of(value: Any) -> str:
    """The text by which two values of a trait are one."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _new_cell(value: Any, at_ms: int, rule: Survivorship) -> Cell:
    if rule is Survivorship.MOST_FREQUENT:
        return [value, {text_of(value): [1, at_ms]}]
    if rule is Survivorship.UNION:
        values = value if isinstance(value, list) else [value]
        seen = {text_of(one): at_ms for one in values[:UNION_VALUES_MAX]}
        return [_union_value(seen), seen]
    return [value, at_ms]


def _copy_cell(cell: Cell) -> Cell:
    if isinstance(cell[1], dict):
        return [
            cell[0],
            {text: list(seen) if isinstance(seen, list) else seen for text, seen in cell[1].items()},
        ]
    return cell


def _combine_cells(a: Cell, b: Cell, rule: Survivorship) -> Cell:
    """The cell of both. A cell that was stored under another rule is taken as it stands."""
    if rule is Survivorship.MOST_FREQUENT and isinstance(a[1], dict) and isinstance(b[1], dict):
        return _combine_frequent(a, b)
    if rule is Survivorship.UNION and isinstance(a[1], dict) and isinstance(b[1], dict):
        seen = {text: max(a[1].get(text, 0), b[1].get(text, 0)) for text in {**a[1], **b[1]}}
        kept = dict(sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:UNION_VALUES_MAX])
        return [_union_value(kept), kept]
    if isinstance(a[1], dict) or isinstance(b[1], dict):
        return b if isinstance(a[1], dict) else a
    if a[1] != b[1]:
        newer, older = (a, b) if a[1] > b[1] else (b, a)
        return older if rule is Survivorship.FIRST else newer
    if type(a[0]) is str and a[0] == b[0]:
        return a
    return a if text_of(a[0]) > text_of(b[0]) else b


def _combine_frequent(a: Cell, b: Cell) -> Cell:
    seen: dict[str, list[int]] = {text: list(count) for text, count in a[1].items()}
    for text, (count, at_ms) in b[1].items():
        mine = seen.setdefault(text, [0, at_ms])
        mine[0] += count
        mine[1] = max(mine[1], at_ms)
    ranked = sorted(seen.items(), key=lambda item: (-item[1][0], -item[1][1], item[0]))[:FREQUENT_VALUES_MAX]
    return [orjson.loads(ranked[0][0]), dict(ranked)]


def _union_value(seen: Mapping[str, int]) -> list[Any]:
    return [orjson.loads(text) for text in sorted(seen)]
