"""Matches as evidence inside a component: pairs of records that are enough alike, and who becomes one person
by them.

After all decisions and links, groups that a pair joins are united, those that go together best first, as far
as limits, traits and decisions let them. Two groups are weighed as two people of whom several records are
known, so one pair that fits is outvoted by others that do not. A pure function of pairs and records.
Source: docs/decisions/0026-matching-in-the-stream.md
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from .likeness import Judge, judge_of, record_text
from .node import Component
from .policy import Policy

if TYPE_CHECKING:
    from .identity import _Groups

UNLIKE: Final = "unlike"
"""Why a pair unites nobody although it is enough alike: the others of the two people are not."""
Union: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""Two groups that were united: of each, the identifiers that have a record."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two identifiers whose records match, in the order of their ranks. `known_ms`: since both are seen."""

    stronger: str
    weaker: str
    weight: float
    known_ms: int


@dataclass(frozen=True, slots=True)
class Alike:
    """The pairs of a component that are evidence, and its comparison records by identifier."""

    pairs: tuple[Pair, ...]
    records: Mapping[str, str]
    judge: Judge
    unions: list[Union] | None = None
    """Where somebody wants to know who was united with whom by matches: noted here, in order."""

    def weigh(self, some: Sequence[str], others: Sequence[str]) -> float:
        """The weight of two groups of identifiers that have records."""
        records = self.records
        return self.judge.weigh_groups([records[one] for one in some], [records[one] for one in others])

    def until(self, at_ms: int) -> Alike:
        """What was known at an instant of the past."""
        return Alike(tuple(one for one in self.pairs if one.known_ms <= at_ms), self.records, self.judge)

    def beside(self, other: Alike) -> Alike:
        """What is known of two components."""
        pairs = tuple(dict.fromkeys((*self.pairs, *other.pairs)))
        return Alike(pairs, {**self.records, **other.records}, self.judge)

    def without(self, stronger: str, weaker: str) -> Alike:
        """As if two records did not match."""
        ends = (stronger, weaker)
        kept = tuple(one for one in self.pairs if (one.stronger, one.weaker) != ends)
        return Alike(kept, self.records, self.judge)


def pairs_in(component: Component, policy: Policy) -> list[Pair]:
    """The matches inside a component that are evidence, strongest identifiers first."""
    matching = policy.matching
    if matching is None or not component.matches:
        return []
    awaited = component.awaited()
    found: dict[tuple[str, str], Pair] = {}
    for one, (_, edges) in component.matches.items():
        for other, weight in edges.items():
            ends = policy.ordered(one, other)
            if weight < matching.merge_above or ends in found:
                continue
            facets = [
                component.look(end)
                for end in ends
                if end in component.identifiers and end not in component.inert and end not in awaited
            ]
            seen = [facet.first_seen for facet in facets if facet is not None]
            if len(seen) == len(ends):
                found[ends] = Pair(*ends, weight, max(seen))
    order_of = policy.order_of
    return sorted(found.values(), key=lambda pair: (order_of(pair.stronger), order_of(pair.weaker)))


def matched_in(component: Component, policy: Policy) -> dict[tuple[str, str], float]:
    """Every pair that a component was told of, whoever has the other one: (stronger, weaker) → weight."""
    found: dict[tuple[str, str], float] = {}
    for one, (_, edges) in component.matches.items():
        if one in component.identifiers:
            for other, weight in edges.items():
                found.setdefault(policy.ordered(one, other), weight)
    order_of = policy.order_of
    return dict(sorted(found.items(), key=lambda pair: (order_of(pair[0][0]), order_of(pair[0][1]))))


def records_in(component: Component, policy: Policy) -> dict[str, str]:
    """Identifier → its comparison record, of those that have one."""
    records = {}
    for identifier in component.identifiers:
        facet = component.look(identifier)
        if facet is not None and (text := record_text(identifier, facet, policy)):
            records[identifier] = text
    return records


def alike_in(component: Component, policy: Policy) -> Alike | None:
    """What matching says about a component; None where it says nothing."""
    pairs, judge = pairs_in(component, policy), judge_of(policy)
    if judge is None or not pairs:
        return None
    records = records_in(component, policy)
    whole = (one for one in pairs if one.stronger in records and one.weaker in records)
    return Alike(tuple(whole), records, judge)


def unite_alike(
    groups: _Groups, identifiers: Collection[str], alike: Alike, policy: Policy
) -> list[tuple[Pair, str]]:
    """Unite groups by their matches. Returns the pairs that could unite nobody, with the reason."""
    pairs = [one for one in alike.pairs if one.stronger in groups.parents and one.weaker in groups.parents]
    names: dict[str, tuple[int, str]] = {}
    holders: dict[str, list[str]] = {}
    for identifier in sorted(identifiers, key=policy.order_of):
        root = groups.root(identifier)
        names.setdefault(root, policy.order_of(identifier))  # Its strongest identifier names a group.
        if identifier in alike.records:
            holders.setdefault(root, []).append(identifier)
    weights: dict[tuple[str, str], float] = {}
    least = alike.judge.matching.merge_above
    while True:
        found: list[tuple[float, tuple[int, str], tuple[int, str], str, str]] = []
        for pair in pairs:
            a, b = sorted((groups.root(pair.stronger), groups.root(pair.weaker)), key=names.__getitem__)
            if a == b or groups.obstacle(a, b):
                continue
            if (a, b) not in weights:
                weights[a, b] = alike.weigh(holders[a], holders[b])
            if weights[a, b] >= least:
                found.append((-weights[a, b], names[a], names[b], a, b))
        if not found:
            break
        *_, a, b = min(found)  # The greatest weight; of several the strongest identifiers.
        groups.unite(a, b)
        if alike.unions is not None:
            alike.unions.append((tuple(holders[a]), tuple(holders[b])))
        holders[a] += holders.pop(b)
        weights = {ends: weight for ends, weight in weights.items() if a not in ends and b not in ends}
    return [
        (pair, groups.obstacle(a, b) or UNLIKE)
        for pair in pairs
        if (a := groups.root(pair.stronger)) != (b := groups.root(pair.weaker))
    ]
