"""Who is one person among records that match in part: clusters are united, those that go together best first.

Two clusters are compared as two people of whom several records are known, comparison by comparison: what
stays with a person (name, birth date) by the mean over all pairs of records, what a person has several of
(phone, address) by the pairs that agree. What one record lacks may stand in another. The result is a function
of the set of records: ties fall by the order of their ids.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

from .model import Model, Sums

MEMBERS_MAX: Final = 200
"""No person has more records than this in one cluster; it bounds the comparisons of a merge."""

Compare = Callable[[int, int], tuple[int, ...]]


class Clustering:
    """The clusters so far, and what each has in common with those near it."""

    __slots__ = ("_compare", "_heap", "_members", "_model", "_near", "_threshold", "merges")

    def __init__(self, compare: Compare, model: Model, threshold: float) -> None:
        self._compare = compare
        self._model = model
        self._threshold = threshold
        self._members: dict[int, list[int]] = {}
        self._near: dict[int, dict[int, tuple[float, Sums | None]]] = {}
        self._heap: list[tuple[float, int, int]] = []
        self.merges: list[tuple[int, int]] = []
        """What was united, in order: the record that names the one cluster, and that of the other."""

    def run(self, records: int, edges: list[tuple[int, int, float]]) -> list[int]:
        """The cluster of each record, named by its least member.

        What no chain of edges connects never meets, so that one connected part is looked at after the other.
        """
        found = list(range(records))
        for part in parts_of(records, edges):
            self._unite([edges[number] for number in part])
            for group in self._members.values():
                name = min(group)
                for one in group:
                    found[one] = name
        return found

    def _unite(self, edges: list[tuple[int, int, float]]) -> None:
        near: dict[int, dict[int, tuple[float, Sums | None]]] = {}
        for a, b, weight in edges:
            near.setdefault(a, {})[b] = (weight, None)
            near.setdefault(b, {})[a] = (weight, None)
        self._near = near
        self._heap = [(-weight, min(a, b), max(a, b)) for a, b, weight in edges if weight > self._threshold]
        heapify(self._heap)
        self._members = {one: [one] for one in near}
        while self._heap:
            negative, a, b = heappop(self._heap)
            if a in near and b in near and (known := near[a].get(b)) is not None and known[0] == -negative:
                self._merge(a, b)
                self.merges.append((a, b))

    def _between(self, a: int, b: int) -> Sums:
        known = self._near[a].get(b)
        if known is not None and known[1] is not None:
            return known[1]
        sums: Sums = {}
        for x in self._members[a]:
            for y in self._members[b]:
                self._model.add(sums, self._compare(x, y))
        return sums

    def _merge(self, a: int, b: int) -> None:
        near = self._near
        changed: dict[int, tuple[float, Sums | None]] = {}
        size = len(self._members[a]) + len(self._members[b])
        for other in sorted({*near[a], *near[b]} - {a, b}):
            sums = self._model.total(self._between(a, other), self._between(b, other))
            changed[other] = (self._model.score_sums(sums, min(size, len(self._members[other]))), sums)
        members = self._members[a]
        members.extend(self._members.pop(b))
        del near[b]
        near[a] = changed
        for other, entry in changed.items():
            beside = near[other]
            beside.pop(b, None)
            beside[a] = entry
            if entry[0] > self._threshold and size + len(self._members[other]) <= MEMBERS_MAX:
                heappush(self._heap, (-entry[0], min(a, other), max(a, other)))


def parts_of(records: int, edges: list[tuple[int, int, float]]) -> list[list[int]]:
    """The numbers of the edges of each connected part, parts in the order of their first edges."""
    above = array("I", range(records))
    for a, b, _ in edges:
        while above[a] != a:
            above[a] = a = above[above[a]]
        while above[b] != b:
            above[b] = b = above[above[b]]
        above[max(a, b)] = min(a, b)
    parts: dict[int, list[int]] = {}
    for number, (a, _, _) in enumerate(edges):
        while above[a] != a:
            a = above[a]
        parts.setdefault(a, []).append(number)
    return list(parts.values())
