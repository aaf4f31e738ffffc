"""A leaf: what a facet remembers about one kind of event, shared by all segments that ask about it.

Decides which instants are kept and how two states become one. A leaf state is `[count ever, newest instants,
their event ids]`, instants ascending, ties in the order of event ids, at most `capacity` of them. Adding is
associative and commutative: any order of arrival and any split into facets gives the same state.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from .definition import PropertyTests, canonical_bytes, where_to_json

KEY_HASH_CHARS: Final = 16  # 64 bits; the catalogue refuses two leaves with one key
LeafState: TypeAlias = list[Any]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One kind of event that some segment counts, with state in every facet that has seen it.

    `key` names it in stored state: the same event and `where` have the same key in every segment and version.
    `matches` tells whether an event of type `event` with these properties belongs to it.
    `capacity` is the number of newest instants that the most demanding user needs, at least 1.
    `keep_ms` is the longest window that uses it; 0 when it is only counted. Older instants decide nothing.
    """

    key: str
    event: str
    where: tuple[PropertyTests, ...]
    matches: Callable[[Mapping[str, Any]], bool]
    capacity: int
    keep_ms: int

    @property
    def has_where(self) -> bool:
        """Whether the properties matter at all; if not, they need not be parsed."""
        return bool(self.where)


def leaf_key(event: str, where: tuple[PropertyTests, ...]) -> str:
    """The stable key: the event type, and a short hash of the canonical `where` if there is one.

    A hash because every facet stores the key, and a `where` may name a thousand values.
    """
    if not where:
        return event
    digest = hashlib.sha256(canonical_bytes(where_to_json(where))).hexdigest()
    return f"{event}#{digest[:KEY_HASH_CHARS]}"


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
    return [a[0] + b[0], instants[-capacity:], ids[-capacity:]]
