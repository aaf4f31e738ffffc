"""The evidence of a component as a graph: which identifiers were seen together, and which links unite them.

It must not know how profiles are told or drawn; `explain.py` says in words what is found here.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from .alike import Alike, Union, alike_in, matched_in, records_in
from .apart import Apart
from .decisions import Decision, Rows, group_evidence, in_force
from .facet import PAIR
from .identity import NOTHING_TOLD, Link, Told, most_at_once
from .instant import format_instant
from .links import told_in
from .node import Component, Profile
from .policy import Policy

AWAITED: Final = "awaited"
"""Why a link does not unite yet: the claim of one of its ends is open."""
FULL: Final = "component_full"
OUTSIDE: Final = "outside"
"""Why a link unites nothing: the other end lies in another component, and it is not kept why."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Two identifiers that were seen together, everything that is kept of it. Event times in ms.

    `reason`: why the link does not unite their profiles; empty if it does. `decision`: they were not seen
    together, this says that they are one; there are no touches then. `weight`: their records match; neither.
    """

    stronger: str
    weaker: str
    first_ms: int
    last_ms: int
    touches: int
    first_event: str
    last_event: str
    reason: str = ""
    decision: Decision | None = None
    weight: float | None = None

    def other(self, end: str) -> str:
        """The end that is not `end`."""
        return self.weaker if end == self.stronger else self.stronger

    def combined(self, also: Edge) -> Edge:
        """The edge of both: two facets may have seen the same pair."""
        first = min((self.first_ms, self.first_event), (also.first_ms, also.first_event))
        last = max((self.last_ms, self.last_event), (also.last_ms, also.last_event))
        return replace(self, first_ms=first[0], last_ms=last[0], touches=self.touches + also.touches,
                       first_event=first[1], last_event=last[1])  # fmt: skip

    def link(self) -> Link:
        """What of it decides identity."""
        return Link(self.stronger, self.weaker, self.first_ms, self.last_ms, self.first_event)

    def to_json(self) -> dict[str, Any]:
        """Both ends, times, touches and events; `refused` is the reason, None for a link that unites.

        With `decision` if it is one, with `match_weight` if it is a match.
        """
        decided = {} if self.decision is None else {"decision": self.decision.to_json()}
        matched = {} if self.weight is None else {"match_weight": self.weight}
        return {
            "identifiers": [self.stronger, self.weaker],
            "first_at": format_instant(self.first_ms),
            "last_at": format_instant(self.last_ms),
            "touches": self.touches,
            "first_event_id": self.first_event,
            "last_event_id": self.last_event,
            "refused": self.reason or None,
            **decided,
            **matched,
        }


@dataclass(frozen=True, slots=True)
class Step:
    """One edge of a path, in the direction of the path."""

    start: str
    end: str
    edge: Edge

    def to_json(self) -> dict[str, Any]:
        """As the edge, with `from` and `to` in place of its ends."""
        body = self.edge.to_json()
        del body["identifiers"]
        return {"from": self.start, "to": self.end, **body}


@dataclass(frozen=True, slots=True)
class Evidence:
    """A component in the light of a policy: its profiles, and all its edges in a fixed order.

    `profiles`: identifier → the profile that it belongs to; who was only seen beside others and is refused
    there belongs to none. `awaited`: identifiers with an open claim. `told`: what keeps people apart. `rows`:
    decisions, those that were undone among them. `closed`: who may not link with it, and why. `records`:
    identifier → comparison record. `matched`: every pair that is told to match, also with the identifiers of
    other components, and its weight. `unions`: who was united by matches, in order.
    """

    root: str
    identifiers: tuple[str, ...]
    profiles: Mapping[str, Profile]
    edges: tuple[Edge, ...]
    inert: frozenset[str]
    awaited: frozenset[str]
    told: Told
    rows: Rows
    alike: Alike | None
    closed: Mapping[str, str]
    records: Mapping[str, str]
    matched: Mapping[tuple[str, str], float]
    unions: tuple[Union, ...]

    def members(self, identifier: str) -> list[str]:
        """The identifiers of the profile that an identifier belongs to, itself at least."""
        profile = self.profiles.get(identifier)
        return [identifier] if profile is None else profile.identifiers

    def links(self) -> list[Link]:
        """The links between identifiers of this component."""
        inside = set(self.identifiers)
        return [
            edge.link()
            for edge in self.edges
            if edge.decision is None
            and edge.weight is None
            and edge.stronger in inside
            and edge.weaker in inside
        ]

    def decisions_about(self, identifiers: Iterable[str]) -> list[Decision]:
        """The decisions in force that name one of these identifiers, the strongest first."""
        about = set(identifiers)
        return [one for one in in_force(self.rows) if not about.isdisjoint(one.identifiers)]

    def refused_around(self, identifiers: Iterable[str]) -> list[Edge]:
        """The refused links that touch one of these identifiers."""
        around = set(identifiers)
        return [
            edge for edge in self.edges if edge.reason and (edge.stronger in around or edge.weaker in around)
        ]


def evidence_of(component: Component, profiles: Iterable[Profile], policy: Policy) -> Evidence:
    """Look at a live component, all its pages loaded. `profiles`: those that the workers compute for it."""
    awaited = frozenset(component.awaited())
    identifiers = [one for one in component.identifiers if one not in awaited]
    edges = edges_of(component, policy)
    links = [edge.link() for edge in edges]
    told = told_in(component, identifiers, Apart(policy)) if policy.apart_traits else NOTHING_TOLD
    rows = component.decisions
    alike = alike_in(component, policy)
    unions: list[Union] = []
    noting = None if alike is None else replace(alike, unions=unions)
    groups, refused = group_evidence(rows, identifiers, links, component.inert, policy, told, noting)
    reasons = {(one.link.stronger, one.link.weaker): one.reason for one in refused if not one.match}
    judged = [replace(edge, reason=_reason(edge, reasons, component, awaited)) for edge in edges]
    unlike = {(one.link.stronger, one.link.weaker): one.reason for one in refused if one.match}
    return Evidence(
        component.root,
        tuple(sorted(component.identifiers, key=policy.order_of)),
        {identifier: profile for profile in profiles for identifier in profile.identifiers},
        (*judged, *_decided_edges(in_force(rows), groups), *_matched_edges(alike, unlike)),
        component.inert,
        awaited,
        told,
        rows,
        alike,
        component.closed,
        records_in(component, policy) if policy.matching is not None else {},
        matched_in(component, policy),
        tuple(unions),
    )


def _matched_edges(alike: Alike | None, refused: Mapping[tuple[str, str], str]) -> Iterator[Edge]:
    for one in () if alike is None else alike.pairs:
        ends = one.stronger, one.weaker
        yield Edge(*ends, one.known_ms, one.known_ms, 0, "", "", refused.get(ends, ""), None, one.weight)


def _decided_edges(decisions: Iterable[Decision], groups: Iterable[list[str]]) -> Iterator[Edge]:
    """What decisions unite: the first of their identifiers with each other one, where it is in the group."""
    group_of = {identifier: group for group in groups for identifier in group}
    for one in decisions:
        first, *others = [identifier for identifier in one.identifiers if identifier in group_of] or [""]
        for other in others:
            if group_of[first] is group_of[other]:
                yield Edge(first, other, one.at_ms, one.at_ms, 0, one.name, one.name, "", one)


def edges_of(component: Component, policy: Policy) -> list[Edge]:
    """Every pair that was seen together, strongest first, without a judgement."""
    found: dict[tuple[str, str], Edge] = {}
    for identifier in component.identifiers:
        facet = component.facet(identifier)
        for key, kept in () if facet is None else facet.links.items():
            stronger, _, weaker = key.rpartition(PAIR)
            edge = Edge(stronger or identifier, weaker, *kept)
            ends = edge.stronger, edge.weaker
            found[ends] = found[ends].combined(edge) if ends in found else edge
    order_of = policy.order_of
    return sorted(found.values(), key=lambda edge: (order_of(edge.stronger), order_of(edge.weaker)))


def _reason(
    edge: Edge, refused: Mapping[tuple[str, str], str], component: Component, awaited: frozenset[str]
) -> str:
    for end in (edge.stronger, edge.weaker):
        if end in component.closed:
            return FULL if component.closed[end] == "full" else component.closed[end]
        if end in awaited:
            return AWAITED
        if end not in component.identifiers:
            return OUTSIDE
    return refused.get((edge.stronger, edge.weaker), "")


def path_between(edges: Iterable[Edge], start: str, goal: str, *, across: bool = False) -> list[Step] | None:
    """The shortest path of links that unite; with `across`, one with as few refused links as possible.

    None if there is none. Of several, the first in the order of the edges.
    """
    around: dict[str, list[Edge]] = {}
    for edge in edges:
        if across or not edge.reason:
            around.setdefault(edge.stronger, []).append(edge)
            around.setdefault(edge.weaker, []).append(edge)
    came: dict[str, Edge] = {}
    done: set[str] = set()
    order = 0
    waiting: list[tuple[int, int, int, str, Edge | None]] = [(0, 0, 0, start, None)]
    while waiting:
        refused, length, _, here, by = heapq.heappop(waiting)
        if here in done:
            continue
        done.add(here)
        if by is not None:
            came[here] = by
        if here == goal:
            return list(_steps(came, start, goal))
        for edge in around.get(here, ()):
            if edge.other(here) not in done:
                order += 1
                cost = (refused + bool(edge.reason), length + 1, order, edge.other(here), edge)
                heapq.heappush(waiting, cost)
    return None


def _steps(came: Mapping[str, Edge], start: str, goal: str) -> Iterator[Step]:
    backwards = []
    here = goal
    while here != start:
        edge = came[here]
        backwards.append(Step(edge.other(here), here, edge))
        here = edge.other(here)
    yield from reversed(backwards)


def united_without(evidence: Evidence, edge: Edge, pair: tuple[str, str], policy: Policy) -> bool:
    """Whether two identifiers would still be one profile if a link had never been seen."""
    seen = [one for one in evidence.edges if one.decision is None and one.weight is None]
    links = [one.link() for one in seen if one is not edge]
    gone = "" if edge.decision is None else edge.decision.name
    rows = {name: row for name, row in evidence.rows.items() if name != gone}
    alike = evidence.alike
    if alike is not None and edge.weight is not None:
        alike = alike.without(edge.stronger, edge.weaker)
    return _together(replace(evidence, rows=rows, alike=alike), links, evidence.told, pair, policy)


def united_without_decision(evidence: Evidence, name: str, pair: tuple[str, str], policy: Policy) -> bool:
    """Whether two identifiers would be one profile if a decision were undone."""
    rows = {other: row for other, row in evidence.rows.items() if other != name}
    return _together(replace(evidence, rows=rows), evidence.links(), evidence.told, pair, policy)


def united_with_limit(
    evidence: Evidence, kind: str, limit: int, pair: tuple[str, str], policy: Policy
) -> bool:
    """Whether two identifiers would be one profile if the limit of a type were another."""
    rules = {**policy.rules, kind: replace(policy.rules[kind], limit=limit)}
    return _together(evidence, evidence.links(), evidence.told, pair, replace(policy, rules=rules))


def united_without_unique(evidence: Evidence, kind: str, pair: tuple[str, str], policy: Policy) -> bool:
    """Whether two identifiers would be one profile if a type were not unique."""
    rules = {**policy.rules, kind: replace(policy.rules[kind], unique=None)}
    changed = replace(policy, rules=rules, unique_types=policy.unique_types - {kind})
    return _together(evidence, evidence.links(), evidence.told, pair, changed)


def united_without_trait(evidence: Evidence, trait: str, pair: tuple[str, str], policy: Policy) -> bool:
    """Whether two identifiers would be one profile if nobody had told a trait."""
    told = {
        one: {name: value for name, value in values.items() if name != trait}
        for one, values in evidence.told.items()
    }
    return _together(evidence, evidence.links(), told, pair, policy)


def refusal_of_link(first: Evidence, second: Evidence, pair: tuple[str, str], policy: Policy) -> str:
    """Why a link between two identifiers would be refused, seen after all others; empty if it would not.

    Each evidence is the one that holds its identifier, maybe the same.
    """
    both = (first,) if first.root == second.root else (first, second)
    identifiers = [one for each in both for one in each.identifiers if one not in each.awaited]
    links = [link for each in both for link in each.links()]
    seen_ms = max((link.last_ms for link in links), default=0) + 1
    link = Link(*policy.ordered(*pair), seen_ms, seen_ms, "")
    told = {one: values for each in both for one, values in each.told.items()}
    inert = first.inert | second.inert
    rows = {name: row for each in both for name, row in each.rows.items()}
    known = [each.alike for each in both if each.alike is not None]
    alike = known[0].beside(known[-1]) if known else None
    _, refused = group_evidence(rows, identifiers, [*links, link], inert, policy, told, alike)
    return next((one.reason for one in refused if one.link is link), "")


def at_once(evidence: Evidence, values: Iterable[str], within_ms: int) -> int:
    """How many of these values, of a type with a sliding limit, are in use at the busiest instant."""
    seen: dict[str, list[Link]] = {value: [] for value in values}
    for link in evidence.links():
        if link.stronger not in evidence.inert and link.weaker not in evidence.inert:
            for end in (link.stronger, link.weaker):
                if end in seen:
                    seen[end].append(link)
    spans = [
        (min(link.first_ms for link in links), max(link.last_ms for link in links))
        for links in seen.values()
        if links
    ]
    return most_at_once(spans, within_ms)


def _together(
    evidence: Evidence, links: list[Link], told: Told, pair: tuple[str, str], policy: Policy
) -> bool:
    identifiers = [one for one in evidence.identifiers if one not in evidence.awaited]
    groups, _ = group_evidence(
        evidence.rows, identifiers, links, evidence.inert, policy, told, evidence.alike
    )
    return any(pair[0] in group and pair[1] in group for group in groups)
