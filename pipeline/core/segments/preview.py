"""Who would be inside if definitions were applied now, compared with who is today. Nothing is changed.

Leaves that the state does not keep yet are counted from the history, by the rules of the back-fill that
applying would start. It must not know where profiles and touches are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from ..facet import Facet
from ..node import Component, Profile
from ..touch import Touch
from ..touchpoint import FUTURE_MS_MAX
from .asked import asked_by
from .catalogue import Catalogue
from .counted import Group, Values
from .definition import TRAIT, Definition, FirstTime
from .leaf import LeafState, combine_states
from .notes import leaves_to_fill, notes_of
from .references import Users

OVERLAPS_MAX: Final = 10  # other segments shown, those that share most profiles
CLOCKS_MS: Final = 60_000  # by which the clocks of brokers and workers may differ


@dataclass(slots=True)
class SegmentPreview:
    """What applying one definition would do. `today`: profiles that consumers were told are inside."""

    definition: Definition
    notes: list[str]
    today: Group = field(default_factory=Group)
    inside: Group = field(default_factory=Group)
    entering: Group = field(default_factory=Group)
    leaving: Group = field(default_factory=Group)
    overlaps: Counter[str] = field(default_factory=Counter)

    def add(self, component: Component, profile: Profile, inside: bool) -> None:
        """Count one profile that would be inside, or not."""
        memberships = {} if profile.entry is None else profile.entry.memberships
        name = self.definition.id
        was_inside = name in memberships and bool(memberships[name][0])
        if was_inside:
            self.today.add(profile.id, component.root)
        if inside:
            self.inside.add(profile.id, component.root)
            self.overlaps.update(
                other for other, membership in memberships.items() if membership[0] and other != name
            )
        if inside != was_inside:
            (self.entering if inside else self.leaving).add(profile.id, component.root)

    def to_json(self, share: float = 1.0) -> dict[str, Any]:
        """The shape of one segment in `elo segments preview --json`. `share` of all that was looked at."""
        overlaps = self.overlaps.most_common(OVERLAPS_MAX)
        return {
            "id": self.definition.id,
            "today": self.today.total(share),
            "inside": self.inside.to_json(share),
            "entering": self.entering.to_json(share),
            "leaving": self.leaving.to_json(share),
            "overlaps": {name: round(count / share) for name, count in overlaps},
            "notes": self.notes,
        }


@dataclass(slots=True)
class TraitPreview:
    """What applying the definition of a computed trait would do. `changing`: profiles whose value would be
    another one than it is by the definition in force.
    """

    definition: Definition
    notes: list[str]
    values: Values = field(default_factory=Values)
    changing: Group = field(default_factory=Group)

    def add(self, component: Component, profile: Profile, value: Any, before: Any) -> None:
        """Count one profile. None: it has no value."""
        if value is not None:
            self.values.add(profile.id, component.root, value)
        if (type(value), value) != (type(before), before):
            self.changing.add(profile.id, component.root)

    def to_json(self, share: float = 1.0) -> dict[str, Any]:
        """The shape of one computed trait in `elo segments preview --json`."""
        return {
            "id": self.definition.id,
            "values": self.values.to_json(share),
            "changing": self.changing.to_json(share),
            "notes": self.notes,
        }


class Preview:
    """Takes touches first, if there are leaves to fill, then every live profile.

    `applied`: the definitions in force, of which `removed` would be deleted. `history_ms`: how far back
    touches are kept. `share`: of all components, how many are looked at; to be said by whoever chooses them.
    """

    def __init__(
        self,
        definitions: Iterable[Definition],
        applied: Iterable[Definition],
        history_ms: int,
        removed: Collection[str] = (),
    ) -> None:
        wanted = {one.id: one for one in definitions}
        before = {one.id: one for one in applied}
        self._all = {name: one for name, one in {**before, **wanted}.items() if name not in removed}
        self._catalogue, self._before = Catalogue(self._all.values()), Catalogue(before.values())
        self.fill = leaves_to_fill(self._catalogue.leaves, self._before.leaves)
        """Leaf key → whether the state keeps it, but too few instants of it."""
        self._filled: dict[str, Facet] = {}
        self._users = Users(self._all)
        shown = {name: (one, self._notes(name, history_ms)) for name, one in sorted(wanted.items())}
        shown |= {name: (before[name], []) for name in sorted(removed)}
        self.segments: dict[str, SegmentPreview | TraitPreview] = {
            name: TraitPreview(*one) if name.startswith(TRAIT) else SegmentPreview(*one)
            for name, one in shown.items()
        }
        self.profiles = Group()
        self.share = 1.0

    def _notes(self, name: str, history_ms: int) -> list[str]:
        notes = list(notes_of(self._catalogue.segments[name], self.fill, history_ms))
        if users := sorted(self._users.of([name])):
            notes.append(f"also changes who is inside {', '.join(users)}")
        return notes

    def since_ms(self, now_ms: int) -> int:
        """No touch that was logged earlier can change an answer; 0 if any may."""
        windows = list(self._windows())
        if None in windows:
            return 0
        longest_ms = max((one for one in windows if one is not None), default=0)
        return max(0, now_ms - longest_ms - FUTURE_MS_MAX - CLOCKS_MS)

    def _windows(self) -> Iterator[int | None]:
        """How far back the leaves to fill are looked at, ms; None: for ever."""
        for name in self.segments.keys() & self._catalogue.segments.keys():
            for one in self._catalogue.segments[name].atoms:
                for part in asked_by(one):
                    if part.needs_leaf() and part.key() in self.fill:
                        yield None if isinstance(one, FirstTime) else part.within_ms

    def wants(self, touch: Touch) -> bool:
        """Whether a touch may belong to a leaf that must be filled."""
        leaves = self._catalogue.leaves_by_event.get(touch.type, ())
        return any(leaf.key in self.fill for leaf in leaves)

    def see(self, touch: Touch) -> None:
        """Count a touch of the history for the leaves that the state does not keep. Each touch once."""
        finder = self._catalogue.finders.get(touch.type)
        if finder is None:
            return
        properties = orjson.loads(touch.properties or "{}")
        for leaf in finder.find(properties):
            if leaf.key in self.fill:
                facet = self._filled.setdefault(touch.identifiers[0], Facet())
                facet.see_leaf(leaf.key_for(properties), leaf.capacity, touch.occurred_at, touch.event_id)

    def add(self, component: Component, profile: Profile, now_ms: int) -> None:
        """Evaluate every definition over one live profile. Its fold is changed: it is of no further use."""
        self.profiles.add(profile.id, component.root)
        fold, types = profile.fold, profile.types
        if self.fill:
            fold.leaves = {**fold.leaves, **self._leaves(component, profile)}
        for name, counted in self.segments.items():
            segment = self._catalogue.segments.get(name)
            if isinstance(counted, TraitPreview):
                trait = name[len(TRAIT) :]
                after, before = (
                    next(made.traits[trait](fold, types, now_ms))[0] if trait in made.traits else None
                    for made in (self._catalogue, self._before)
                )
                counted.add(component, profile, after, before)
            else:
                inside = segment is not None and segment.evaluate(fold, types, now_ms)[0]
                counted.add(component, profile, inside)

    def _leaves(self, component: Component, profile: Profile) -> dict[str, LeafState]:
        """The states of the leaves to fill, of all facets of a profile."""
        states: dict[str, LeafState] = {key: [0, [], []] for key in self.fill}
        for identifier in profile.identifiers:
            facet, filled = component.facet(identifier), self._filled.get(identifier)
            for key, kept in self.fill.items():
                again = [0, [], []] if filled is None else filled.leaves.get(key, [0, [], []])
                before = facet.leaves.get(key) if kept and facet is not None else None
                capacity = self._catalogue.leaves[key].capacity
                state = again if before is None else _remembered(before, again)
                states[key] = combine_states(states[key], state, capacity)
        return states


def _remembered(before: LeafState, again: LeafState) -> LeafState:
    """A kept state with further instants: what was counted stays counted."""
    pairs = [*zip(before[1], before[2], strict=True)]
    pairs += [pair for pair in zip(again[1], again[2], strict=True) if pair[1] not in before[2]]
    pairs.sort()
    return [before[0], [at_ms for at_ms, _ in pairs], [event_id for _, event_id in pairs], *before[3:]]
