"""A leaf: what a facet remembers about one kind of event, shared by all segments that ask about it.

Decides which instants are kept and how two states become one. A leaf state is `[count ever, newest instants,
their event ids]`, instants ascending, ties in the order of event ids, at most `capacity` of them. Adding is
associative and commutative: any order of arrival and any split into facets gives the same state.

A *valued* leaf keeps a number of each event, for sums and other aggregates. Its key names the property, each
of its event ids stands behind the number, `12500000 e17`, and its state goes on with `total ever, least,
most`. Numbers are whole millionths, so that no order of additions makes a difference.

A *texted* leaf keeps a text, number or truth of each event, as JSON without spaces, for computed traits. Its
event ids stand behind those, `"Madrid" e17`, and its state goes on with the instant of the earliest event
ever and what stands for it, of several the least.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final, TypeAlias

import orjson

from .definition import PropertyTests, canonical_bytes, where_to_json

KEY_HASH_CHARS: Final = 16  # 64 bits; the catalogue refuses two leaves with one key
LeafState: TypeAlias = list[Any]
MILLIONTHS: Final = 1_000_000
"""What one is counted in: an amount of money has two decimals, a price per unit or a share up to six."""
NUMBER_MAX: Final = 10**12  # a larger number in a property is none: its millionths must have 64 bits
VALUE: Final = "\x1f"
"""Stands between the key of a valued or texted leaf and what a touch brings, while they travel."""
TEXT_CHARS_MAX: Final = 100  # a longer text in a property is none: a facet may keep 200 of them
_WHOLE_MAX: Final = 1 << 53  # up to here a float that is whole is that whole number
_HAS_VALUES: Final = "$"
_HAS_TEXTS: Final = "%"
_TOTAL: Final = 3
_LEAST: Final = 4
_MOST: Final = 5
_FIRST_AT: Final = 3
_FIRST: Final = 4


@dataclass(frozen=True, slots=True)
class Leaf:
    """One kind of event that some segment counts, with state in every facet that has seen it.

    `key` names it in stored state: the same event and `where` have the same key in every segment and version.
    `matches` tells whether an event of type `event` with these properties belongs to it.
    `capacity` is the number of newest instants that the most demanding user needs, at least 1.
    `keep_ms` is the longest window that uses it; 0 when it is only counted. Older instants decide nothing.
    `number_in`: the property whose number is kept of each event; one without it does not belong to the leaf.
    `text_in`: the same for what a texted leaf keeps; empty: nothing but the event.
    """

    key: str
    event: str
    where: tuple[PropertyTests, ...]
    matches: Callable[[Mapping[str, Any]], bool]
    capacity: int
    keep_ms: int
    number_in: str | None = None
    text_in: str | None = None

    def key_for(self, properties: Mapping[str, Any]) -> str:
        """The key with which an event that matches travels: a valued leaf's has the number behind it."""
        if self.text_in is not None:
            return f"{self.key}{VALUE}{scalar_text(properties.get(self.text_in)) if self.text_in else 'null'}"
        if self.number_in is None:
            return self.key
        return f"{self.key}{VALUE}{millionths(properties.get(self.number_in))}"

    @property
    def has_where(self) -> bool:
        """Whether the properties matter at all; if not, they need not be parsed."""
        return bool(self.where)


def leaf_key(
    event: str, where: tuple[PropertyTests, ...], number_in: str | None = None, text_in: str | None = None
) -> str:
    """The stable key: the event type, and a short hash of the canonical `where` if there is one.

    A hash because every facet stores the key, and a `where` may name a thousand values. That of a valued leaf
    covers `number_in` as well, that of a texted one `text_in`.
    """
    if text_in is not None:
        return f"{event}{_HAS_TEXTS}{_digest({'where': where_to_json(where), 'property': text_in})}"
    if number_in is not None:
        asked = {"where": where_to_json(where), "property": number_in}
        return f"{event}{_HAS_VALUES}{_digest(asked)}"
    return f"{event}#{_digest(where_to_json(where))}" if where else event


def _digest(written: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_bytes(written)).hexdigest()[:KEY_HASH_CHARS]


def millionths(value: object) -> int | None:
    """A JSON number in whole millionths, half to even; None for anything else and beyond NUMBER_MAX.

    Of a number with a fraction its shortest decimal form counts, which is how it was written: 0.1 is 100000.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not -NUMBER_MAX <= value <= NUMBER_MAX
    ):
        return None
    if isinstance(value, int):
        return value * MILLIONTHS
    return int((Decimal(repr(value)) * MILLIONTHS).to_integral_value(ROUND_HALF_EVEN))


def scalar_text(value: object) -> str | None:
    """The JSON of a text, number or truth, without spaces; None for anything else and for long texts."""
    if isinstance(value, str):
        if len(value) > TEXT_CHARS_MAX:
            return None
    elif isinstance(value, float):
        value = int(value) if value.is_integer() and abs(value) <= _WHOLE_MAX else value
    elif not isinstance(value, int):  # bool is one
        return None
    return orjson.dumps(value).decode().replace(" ", "\\u0020")


def blank_state(key: str, text: str, t: int, event_id: str) -> LeafState:
    """The state of no event; `text`, with the event, is what the first one brings that will be kept in it."""
    if not text:
        return [0, [], []]
    if _HAS_TEXTS in key:
        return [0, [], [], t, f"{text} {event_id}"]
    number = int(text)
    return [0, [], [], "0", number, number]


def add_value(
    key: str, state: LeafState | None, t: int, event_id: str, text: str, capacity: int
) -> LeafState:
    """Count one event with its number in millionths, or its JSON, in the state of its leaf, in place."""
    if _HAS_TEXTS in key:
        return _add_text(state, t, f"{text} {event_id}", capacity)
    number = int(text)
    if state is None:
        return [1, [t], [f"{text} {event_id}"], text, number, number]
    add_instant(state, t, f"{text} {event_id}", capacity)
    state[_TOTAL] = str(int(state[_TOTAL]) + number)
    state[_LEAST] = min(state[_LEAST], number)
    state[_MOST] = max(state[_MOST], number)
    return state


def _add_text(state: LeafState | None, t: int, kept: str, capacity: int) -> LeafState:
    if state is None:
        return [1, [t], [kept], t, kept]
    add_instant(state, t, kept, capacity)
    if (t, kept) < (state[_FIRST_AT], state[_FIRST]):
        state[_FIRST_AT], state[_FIRST] = t, kept
    return state


def event_ids(key: str, state: LeafState) -> list[str]:
    """The event ids of the kept instants, without the numbers or texts of a leaf that has some."""
    ids: list[str] = state[2]
    return [one.partition(" ")[2] for one in ids] if _HAS_VALUES in key or _HAS_TEXTS in key else ids


def first_of(state: LeafState) -> tuple[int, str]:
    """The instant of the earliest event of a texted leaf, and what stands for it."""
    return state[_FIRST_AT], state[_FIRST]


def values_of(state: LeafState) -> list[int]:
    """The numbers of the kept instants of a valued leaf."""
    ids: list[str] = state[2]
    return [int(one[: one.index(" ")]) for one in ids]


def totals_of(state: LeafState) -> tuple[int, int, int]:
    """Total, least and most of all numbers that a valued leaf ever counted; it has counted one at least."""
    return int(state[_TOTAL]), state[_LEAST], state[_MOST]


def add_instant(state: LeafState, t: int, event_id: str, capacity: int) -> None:
    """Count one event at event time `t` (ms) in `state`, in place, and keep the newest `capacity` instants.

    An event older than all that are kept is only counted. The caller has removed duplicates by event id.
    """
    state[0] += 1
    instants: list[int] = state[1]
    ids: list[str] = state[2]
    if not instants or instants[-1] < t:
        instants.append(t)
        ids.append(event_id)
    else:
        at = bisect_left(instants, t)
        if instants[at] == t:
            at = bisect_left(ids, event_id, at, bisect_right(instants, t, at))
        if at == 0 and len(instants) >= capacity:
            return
        instants.insert(at, t)
        ids.insert(at, event_id)
    excess = len(instants) - capacity
    if excess > 0:
        del instants[:excess]
        del ids[:excess]


def combine_states(a: LeafState, b: LeafState, capacity: int) -> LeafState:
    """The state of both histories, which share no event. A new list: neither argument is changed or kept."""
    if not b[1] or (a[1] and a[1][-1] < b[1][0]):
        instants, ids = a[1] + b[1], a[2] + b[2]
    else:
        merged = sorted([*zip(a[1], a[2], strict=True), *zip(b[1], b[2], strict=True)])
        instants, ids = [t for t, _ in merged], [event_id for _, event_id in merged]
    combined = [a[0] + b[0], instants[-capacity:], ids[-capacity:]]
    if len(a) > _TOTAL or len(b) > _TOTAL:
        combined += _combine_totals(a[_TOTAL:], b[_TOTAL:])
    return combined


def _combine_totals(a: list[Any], b: list[Any]) -> list[Any]:
    if not a or not b:
        return list(a or b)
    if len(a) == 2:
        return min(a, b)
    return [str(int(a[0]) + int(b[0])), min(a[1], b[1]), max(a[2], b[2])]
