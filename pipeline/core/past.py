"""A component as it was at an instant of the past: the touches that had arrived by then, folded again.

What came before the history is what the present state holds beyond all touches of the history. Counts, totals
and instants of it are exact. Where a later touch has replaced something older, the older one is no longer
known. It must not know where touches and state are read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import orjson

from .decisions import DECISION_TYPE
from .facet import NEVER, PAIR, Cell, Facet
from .node import Component
from .outbox import Cause, Outbox
from .outputs import Outputs
from .policy import Policy
from .segments.catalogue import Catalogue
from .segments.definition import Definition
from .segments.explain import WhySegment, explain_segment
from .segments.leaf import LeafState
from .touch import Touch

KEEP_ALL: Final = 1 << 30  # instants of a leaf, while the history is counted


@dataclass(frozen=True, slots=True)
class Arrival:
    """A touch of the history, counted once: when it was logged (ms), and where."""

    at_ms: int
    partition: int
    offset: int
    touch: Touch


@dataclass(frozen=True, slots=True)
class Then:
    """What the component was: itself, or several that joined later. `complete`: all is from the history."""

    components: list[Component]
    complete: bool


def component_then(
    present: Component,
    arrivals: Iterable[Arrival],
    was_known: Callable[[Arrival], bool],
    inert: Collection[str],
    policy: Policy,
    catalogue: Catalogue,
) -> Then:
    """The component if only the arrivals that were known had come, and those of `inert` were shared.

    `arrivals`: all touches of the history whose strongest identifier is in it, in the order of their logs.
    `catalogue`: whose leaves are wanted.
    """
    everything, known = _Folded(present, policy, catalogue), _Folded(present, policy, catalogue)
    later_decisions: set[str] = set()
    for one in arrivals:
        everything.add(one.touch)
        if was_known(one):
            known.add(one.touch)
        elif one.touch.type == DECISION_TYPE:
            later_decisions.add(one.touch.event_id)
    complete = True
    facets: dict[str, Facet] = {}
    for identifier in present.identifiers:
        facet = _older(present.look(identifier), everything.facets.get(identifier))
        complete = complete and not facet.counters
        if identifier in known.facets:
            facet.add(known.facets[identifier], policy.traits, {})
            facet.add_links(known.facets[identifier])
        if facet.counters:
            facets[identifier] = facet
    rows = {name: row for name, row in present.decisions.items() if name not in later_decisions}
    together = [_ends(one, facet) for one, facet in facets.items()]
    together += [{*row[3], *row[4]} for row in rows.values()]
    together += [{one, *edges} for one, (_, edges) in present.matches.items()]
    components = []
    for members in _united(together):
        then = Component(present.root)
        for identifier in present.identifiers:
            if identifier in members:
                then.add_identifier(identifier)
                then.facets[identifier] = facets.get(identifier)
        then.decisions = {name: row for name, row in rows.items() if members & {*row[3], *row[4]}}
        # Whose records matched then is not kept: what matches now stands for it.
        then.matches = {one: row for one, row in present.matches.items() if one in members}
        then.make_inert(one for one in inert if one in members)
        components.append(then)
    return Then(components, complete)


def _ends(identifier: str, facet: Facet) -> set[str]:
    return {identifier, *(end for key in facet.links for end in key.split(PAIR))}


def _united(together: Iterable[set[str]]) -> list[set[str]]:
    """Those that have a member in common, as one."""
    found: list[set[str]] = []
    for members in together:
        beside = [one for one in found if one & members]
        found = [one for one in found if not one & members]
        found.append(members.union(*beside))
    return found


class _Folded:
    """Touches folded into the facets of their strongest identifiers, with every instant of every leaf."""

    def __init__(self, present: Component, policy: Policy, catalogue: Catalogue) -> None:
        self.facets: dict[str, Facet] = {}
        self._present, self._policy, self._catalogue = present, policy, catalogue

    def add(self, touch: Touch) -> None:
        if touch.type == DECISION_TYPE:
            return
        via, at_ms = touch.identifiers[0], touch.occurred_at
        facet = self.facets.get(via)
        if facet is None:
            facet = self.facets[via] = Facet()
        facet.touch(touch.type, at_ms)
        finder = self._catalogue.finders.get(touch.type)
        if finder is not None:
            properties = orjson.loads(touch.properties or "{}")
            for leaf in finder.find(properties):
                facet.see_leaf(leaf.key_for(properties), KEEP_ALL, at_ms, touch.event_id)
        facet.see_traits(orjson.loads(touch.traits or "{}"), at_ms, self._policy.traits)
        facet.see_consent(touch.consent, at_ms)
        self._see_links(facet, touch)

    def _see_links(self, facet: Facet, touch: Touch) -> None:
        """Those that the present facet has too: it has left out what does not link."""
        present = self._present.look(touch.identifiers[0])
        kept: Mapping[str, Any] = {} if present is None else present.links
        others = touch.identifiers[1:]
        keys = [*others, *(f"{a}{PAIR}{b}" for at, a in enumerate(others) for b in others[at + 1 :])]
        for key in keys:
            if key in kept:
                facet.see_link(key, touch.occurred_at, touch.event_id)


# -- what came before the history ---------------------------------------------------------------------------


def _older(present: Facet | None, history: Facet | None) -> Facet:
    """What a present facet holds beyond the touches of the history."""
    older = Facet()
    if present is None:
        return older
    history = history or Facet()
    for event, count in present.counters.items():
        rest = count - history.counters.get(event, 0)
        if rest > 0:
            older.counters[event] = rest
    if not older.counters:
        return older
    if present.first_seen < history.first_seen:
        older.first_seen = present.first_seen
    older.traits = _beyond(present.traits, history.traits)
    older.consent = _beyond(present.consent, history.consent)
    for key, state in present.leaves.items():
        left = _older_leaf(state, history.leaves.get(key))
        if left is not None:
            older.leaves[key] = left
    for key, link in present.links.items():
        mine = history.links.get(key)
        if mine is None:
            older.links[key] = list(link)
        elif link[2] > mine[2]:
            older.links[key] = [link[0], link[0], link[2] - mine[2], link[3], link[3]]
    if older.first_seen == NEVER:  # An older touch of a later event time.
        older.first_seen = present.last_seen
    return older


def _beyond(present: Mapping[str, Cell], history: Mapping[str, Cell]) -> dict[str, Cell]:
    return {name: cell for name, cell in present.items() if history.get(name) != cell}


def _older_leaf(present: LeafState, history: LeafState | None) -> LeafState | None:
    """A leaf without the events of the history; None if nothing is left."""
    if history is None:
        return present
    count = present[0] - history[0]
    if count <= 0:
        return None
    mine = set(zip(history[1], history[2], strict=True))
    kept = [pair for pair in zip(present[1], present[2], strict=True) if pair not in mine]
    left: LeafState = [count, [at_ms for at_ms, _ in kept], [one for _, one in kept]]
    if len(present) == 6:  # Of a least or greatest number that the history has too, nothing older is known.
        left += [str(int(present[3]) - int(history[3])), present[4], present[5]]
    elif len(present) == 5:
        left += present[3:]
    return left


# -- a change that was told ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PastChange:
    """What of a told change is needed to judge it again. `event_id`: the causing event, or empty.

    `identifiers`: those that were told with it, of the profile.
    """

    profile_id: str
    segment_id: str
    entered: bool
    occurred_at: int
    decided_at: int
    cause: Cause
    event_id: str
    identifiers: Sequence[str]

    def instant_ms(self) -> int:
        """The instant for which it was decided."""
        return self.occurred_at if self.cause is Cause.TIMER else self.decided_at

    def inert(self, now: frozenset[str]) -> list[frozenset[str]]:
        """Who may have been shared when it was decided, the likeliest answer first; `now` those who are now.

        Since when is not kept. Who was told beside others was not shared, unless a decision united them.
        """
        beside = frozenset(self.identifiers) if len(self.identifiers) > 1 else frozenset()
        return list(dict.fromkeys((now - beside, now)))

    def cuts(self, arrivals: Iterable[Arrival]) -> list[Callable[[Arrival], bool]]:
        """Which of the arrivals had been folded when it was decided, the likeliest answer first.

        What is due is told before a touch of that very instant is folded. Else it was all that had been
        logged by then, but for what came behind the causing touch, be it in the same millisecond, or while a
        message of it was on its way. A change that joins components may name another touch than the last.
        """
        if self.cause is Cause.TIMER:
            return [lambda one: one.at_ms < self.occurred_at]
        decided_ms = self.decided_at
        caused = [one for one in arrivals if self.event_id and one.touch.event_id == self.event_id]
        causing = min(caused, key=lambda one: one.touch.occurred_at != self.occurred_at, default=None)
        by_then: list[Callable[[Arrival], bool]] = [
            lambda one: one.at_ms <= decided_ms,
            lambda one: one.at_ms < decided_ms or one == causing,
        ]
        if causing is None:
            return by_then
        number, offset = causing.partition, causing.offset

        def behind(one: Arrival) -> bool:
            return one.partition == number and one.offset > offset

        return [lambda one: one.at_ms <= decided_ms and not behind(one), *by_then]


@dataclass(frozen=True, slots=True)
class JudgedAgain:
    """`why` None: the profile id stood for nobody, or for `heir`. `complete`: all of it is in the history."""

    why: WhySegment | None
    identifiers: list[str]
    heir: str
    complete: bool


def judge_again(
    change: PastChange,
    present: Component,
    arrivals: Sequence[Arrival],
    definitions: Mapping[str, Definition],
    policy: Policy,
    profile_key: bytes,
) -> JudgedAgain:
    """Judge a change by what had arrived by then.

    `definitions`: those in force then, that of the segment among them. `present`: the component in which the
    profile id was told of.
    """
    catalogue = Catalogue(definitions.values())
    nodes: Any = None
    outputs = Outputs(policy, catalogue, nodes, profile_key, 0)
    found = []
    for inert, cut in product(change.inert(present.inert), change.cuts(arrivals)):
        then = component_then(present, arrivals, cut, inert, policy, catalogue)
        outputs.outbox = Outbox()
        profiles = [profile for component in then.components for profile in outputs.profiles(component)]
        profile = next((one for one in profiles if one.id == change.profile_id), None)
        if profile is None:
            entry = present.entries[change.profile_id]
            heirs = [one.id for one in profiles if entry.anchor in one.identifiers]
            judged = JudgedAgain(None, [], heirs[0] if heirs else "", then.complete)
        else:
            own, at_ms = list(profile.identifiers), change.instant_ms()
            why = explain_segment(
                definitions[change.segment_id], profile.fold, own, at_ms, definitions, _facets(then, own)
            )
            judged = JudgedAgain(why, own, "", then.complete)
        inside = judged.why is not None and judged.why.inside
        if inside == change.entered:
            return judged
        found.append(judged)
    return found[0]


def _facets(then: Then, identifiers: Iterable[str]) -> dict[str, Facet]:
    wanted = set(identifiers)
    return {
        one: facet for component in then.components for one, facet in component.facets.items()
        if facet is not None and one in wanted
    }  # fmt: skip
