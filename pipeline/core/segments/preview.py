"""Who would be inside if definitions were applied now, compared with who is today. Nothing is changed.

Leaves that the state does not keep yet are counted from the history, by the rules of the back-fill that
applying would start. It must not know where profiles and touches are read.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from ..facet import Facet
from ..node import Component, Profile
from ..touch import Touch
from .catalogue import Catalogue, CompiledSegment
from .definition import Definition
from .leaf import LeafState, combine_states
from .notes import leaves_to_fill, notes_of
from .references import users_of

EXAMPLES_MAX: Final = 20  # profile ids shown of each group, the smallest
OVERLAPS_MAX: Final = 10  # other segments shown, those that share most profiles


@dataclass(slots=True)
class Group:
    """How many profiles, and some of their ids."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, profile_id: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.examples) < EXAMPLES_MAX or profile_id < self.examples[-1]:
            insort(self.examples, profile_id)
            del self.examples[EXAMPLES_MAX:]

    def to_json(self) -> dict[str, Any]:
        """`{count, examples}`."""
        return {"count": self.count, "examples": self.examples}


@dataclass(slots=True)
class SegmentPreview:
    """What applying one definition would do. `today`: profiles that consumers were told are inside."""

    definition: Definition
    notes: list[str]
    today: int = 0
    inside: Group = field(default_factory=Group)
    entering: Group = field(default_factory=Group)
    leaving: Group = field(default_factory=Group)
    overlaps: Counter[str] = field(default_factory=Counter)

    def add(self, profile: Profile, inside: bool) -> None:
        """Count one profile that would be inside, or not."""
        memberships = {} if profile.entry is None else profile.entry.memberships
        name = self.definition.id
        was_inside = name in memberships and bool(memberships[name][0])
        self.today += was_inside
        if inside:
            self.inside.add(profile.id)
            self.overlaps.update(
                other for other, membership in memberships.items() if membership[0] and other != name
            )
        if inside != was_inside:
            (self.entering if inside else self.leaving).add(profile.id)

    def scale(self, factor: float) -> None:
        """Turn the numbers of a sample into estimates for all."""
        self.today = round(self.today * factor)
        for group in (self.inside, self.entering, self.leaving):
            group.count = round(group.count * factor)
        self.overlaps = Counter({name: round(count * factor) for name, count in self.overlaps.items()})

    def to_json(self) -> dict[str, Any]:
        """The shape of one segment in `elo segments preview --json`."""
        return {
            "id": self.definition.id,
            "today": self.today,
            "inside": self.inside.to_json(),
            "entering": self.entering.to_json(),
            "leaving": self.leaving.to_json(),
            "overlaps": dict(self.overlaps.most_common(OVERLAPS_MAX)),
            "notes": self.notes,
        }


class Preview:
    """Takes touches first, if there are leaves to fill, then every live profile.

    `applied`: the definitions in force, of which `removed` would be deleted. `history_ms`: how far back
    touches are kept.
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
        self._catalogue = Catalogue(self._all.values())
        self.fill = leaves_to_fill(self._catalogue.leaves, Catalogue(before.values()).leaves)
        """Leaf key → whether the state keeps it, but too few instants of it."""
        self._filled: dict[str, Facet] = {}
        self._wanted = [self._catalogue.segments[name] for name in sorted(wanted)]
        self.segments = {
            segment.id: SegmentPreview(segment.definition, list(self._notes(segment, history_ms)))
            for segment in self._wanted
        }
        self._removed = [SegmentPreview(before[name], []) for name in sorted(removed)]
        self.segments.update((one.definition.id, one) for one in self._removed)
        self.profiles = 0

    def _notes(self, segment: CompiledSegment, history_ms: int) -> Iterator[str]:
        yield from notes_of(segment, self.fill, history_ms)
        if users := sorted(users_of([segment.id], self._all)):
            yield f"also changes who is inside {', '.join(users)}"

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
        self.profiles += 1
        fold = profile.fold
        if self.fill:
            fold.leaves = {**fold.leaves, **self._leaves(component, profile)}
        for segment in self._wanted:
            inside, _ = segment.evaluate(fold, profile.types, now_ms)
            self.segments[segment.id].add(profile, inside)
        for one in self._removed:
            one.add(profile, False)

    def scale(self, factor: float) -> None:
        """Turn the numbers of a sample into estimates for all: `factor` times as many."""
        self.profiles = round(self.profiles * factor)
        for one in self.segments.values():
            one.scale(factor)

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
