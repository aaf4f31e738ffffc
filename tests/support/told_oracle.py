"""The oracle of what is told: every change of membership with its instant and sequence, decided slowly.

Plays a history step by step, each seen at its instant of arrival: touches, definitions that come, change and
go, and time that passes. After each step it looks at everybody whom the step can have changed. Links must not
be shared: an identifier that stops linking is not played here.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from pipeline.core.outbox import Cause
from pipeline.core.policy import Policy
from pipeline.core.touch import Touch
from tests.support.laws import changes_of
from tests.support.memory import Cluster
from tests.support.oracle import JsonDefinition, Person, people
from tests.support.segment_oracle import id_of

KINDS: Final = {Cause.TIMER: "timer", Cause.DEFINITION: "definition", Cause.BACKFILL: "definition"}
"""The kind of a change by its cause; of all others `event`."""


@dataclass(frozen=True, slots=True)
class Change:
    """One membership change as it must be told. `kind`: `event`, `timer` or `definition`."""

    profile_id: str
    segment_id: str
    change: str
    sequence: int
    occurred_at: int
    kind: str


class Story:
    """What must be told until now."""

    def __init__(self, policy: Policy, profile_key: bytes, start_ms: int) -> None:
        self.policy, self.profile_key, self.clock_ms = policy, profile_key, start_ms
        self.told: list[Change] = []
        self.touches: list[Touch] = []
        self.definitions: dict[str, JsonDefinition] = {}
        self.people: dict[str, Person] = {}
        self._sequences: dict[tuple[str, str], int] = {}
        self._edges: dict[tuple[str, str], list[int]] = {}
        self._last: dict[str, tuple[frozenset[str], int]] = {}
        """Identifier → all that were ever seen together with it, and the instant of what came last."""

    def touch(self, at_ms: int, touch: Touch) -> None:
        """A touch arrives. A repetition changes nothing."""
        self.wait(at_ms)
        key = touch.identifiers[0], touch.event_id
        if key in {(one.identifiers[0], one.event_id) for one in self.touches}:
            return
        self.touches.append(touch)
        before = self.people
        found = people(self.touches, self.policy, self.profile_key)
        self.people = {person.profile_id: person for person in found}
        occurred_at = self._occurred_at(touch)
        for profile_id in before.keys() - self.people.keys():
            self._forget(profile_id)
            for segment_id in sorted(self.definitions):
                self._decide(profile_id, segment_id, False, occurred_at, "event")
        for profile_id, person in self.people.items():
            if before.get(profile_id) != person:
                self._forget(profile_id)
                for segment_id in self.definitions:
                    self._look(profile_id, segment_id, at_ms, occurred_at, "event")

    def define(self, at_ms: int, definition: JsonDefinition | None, gone: str = "") -> None:
        """A definition comes or changes, or the one called `gone` is deleted."""
        self.wait(at_ms)
        self.definitions = {name: one for name, one in self.definitions.items() if name != gone}
        if definition is not None:
            self.definitions[id_of(definition)] = definition
        self._edges = {}
        for profile_id in self.people:
            if gone:
                self._decide(profile_id, gone, False, at_ms, "definition")
            for segment_id in self.definitions:
                self._look(profile_id, segment_id, at_ms, at_ms, "definition")

    def wait(self, to_ms: int) -> None:
        """Time passes, and makes its changes, each at its own instant."""
        due: dict[int, set[tuple[str, str]]] = {}
        for profile_id, person in self.people.items():
            for segment_id, definition in self.definitions.items():
                key = profile_id, segment_id
                if key not in self._edges:
                    edges = [] if "trait" in definition else (
                        person.window_edges(definition, self.definitions, self.clock_ms)
                    )  # fmt: skip
                    self._edges[key] = edges
                edges = self._edges[key]
                for edge in edges[bisect_right(edges, self.clock_ms) : bisect_right(edges, to_ms)]:
                    due.setdefault(edge, set()).add(key)
        for edge in sorted(due):
            for profile_id, segment_id in sorted(due[edge]):
                self._look(profile_id, segment_id, edge, edge, "timer")
        self.clock_ms = max(self.clock_ms, to_ms)

    def _occurred_at(self, touch: Touch) -> int:
        """The touch's own instant; where it joins components, the latest of what came last to each."""
        own = touch.identifiers[0]
        others = {self._last[one] for one in touch.identifiers if one in self._last}
        joined = frozenset(touch.identifiers).union(*(together for together, _ in others))
        at_ms = max([touch.occurred_at, *(last for together, last in others if own not in together)])
        for identifier in joined:
            self._last[identifier] = joined, at_ms
        return at_ms

    def _forget(self, profile_id: str) -> None:
        for segment_id in self.definitions:
            self._edges.pop((profile_id, segment_id), None)

    def _look(self, profile_id: str, segment_id: str, now_ms: int, occurred_at: int, kind: str) -> None:
        definition = self.definitions[segment_id]
        if "trait" not in definition:
            inside = self.people[profile_id].is_inside(definition, now_ms, self.definitions)
            self._decide(profile_id, segment_id, inside, occurred_at, kind)

    def _decide(self, profile_id: str, segment_id: str, inside: bool, occurred_at: int, kind: str) -> None:
        sequence = self._sequences.get((profile_id, segment_id), 0)
        if inside != bool(sequence % 2):
            self._sequences[profile_id, segment_id] = sequence + 1
            change = "entered" if inside else "exited"
            self.told.append(Change(profile_id, segment_id, change, sequence + 1, occurred_at, kind))


Told = dict[tuple[str, str], list[Change]]


def by_membership(changes: list[Change]) -> Told:
    """Profile and segment → their changes in the order in which they were told."""
    found: Told = {}
    for change in changes:
        found.setdefault((change.profile_id, change.segment_id), []).append(change)
    return found


def told_of(cluster: Cluster) -> list[Change]:
    """What was told, without what the oracle does not know."""
    return [
        Change(one.profile_id, one.segment_id, one.change, one.sequence, one.occurred_at,
                           KINDS.get(one.cause, "event"))
        for one in changes_of(cluster)
    ]  # fmt: skip
