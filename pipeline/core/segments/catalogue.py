"""All segment definitions of a moment, compiled, with indexes from an input to what it can change.

Immutable: a new or edited definition makes a new catalogue. It must not know how definitions arrive or what a
change of membership leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, TypeVar

from ..errors import InvariantViolation
from ..facet import NEVER, Facet
from .asked import Asked, asked_by
from .compile import compile_condition, timeline_of
from .definition import (
    TRAIT,
    All,
    Atom,
    Computed,
    Condition,
    ConsentGiven,
    Definition,
    Operator,
    PropertyTests,
    Score,
    TraitDate,
    TraitTests,
    atoms,
)
from .leaf import VALUE, Leaf, event_ids, millionths, scalar_text
from .operators import compile_where
from .references import References
from .signed import Evaluate
from .values import Timeline

DECIDING_EVENTS_MAX: Final = 20
FEW: int = 16
"""So many segments are evaluated in the time in which those that concern a profile are looked up. Not Final:
compiled code would not see that a test has made it small."""
STEPS_MAX: Final = 100  # instants that are looked at for the next change: 2 ms
TYPE_SETS_MAX: Final = 1_000  # sets of identifier types for which it is kept who is inside with nothing else
EMPTY: Final = Facet()
"""A profile of which nothing is known. Never changed."""
EVERYBODY: Final = All(())
_INSIDE: Final = (True, NEVER)
_OUTSIDE: Final = (False, NEVER)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class LeafUse:
    """How one segment uses a leaf: the window (None: ever) and how many of the newest instants decide."""

    key: str
    within_ms: int | None
    needed: int


class CompiledSegment:
    """One definition, ready to be evaluated over a fold. Not written again.

    `where`: its condition with those of other segments written out; `atoms`, `asked`: what is in that.
    `timed`: whether the answer can change by itself. `paused`: nobody enters.
    """

    __slots__ = (
        "_evaluate",
        "_exact_false",
        "_exact_true",
        "_purpose",
        "asked",
        "atoms",
        "definition",
        "id",
        "paused",
        "timed",
        "uses",
        "version",
    )

    def __init__(self, definition: Definition, where: Condition) -> None:
        compiled = compile_condition(where)
        self.definition = definition
        self.id = definition.id
        self.version = definition.version
        self.paused = definition.paused
        self.atoms: tuple[Atom, ...] = tuple(atoms(where))
        self.asked: tuple[Asked, ...] = tuple(asked for one in self.atoms for asked in asked_by(one))
        self.uses: tuple[LeafUse, ...] = _uses(self.asked)
        self.timed = compiled.windows
        self._purpose = definition.purpose
        self._evaluate: Evaluate = compiled.evaluate
        self._exact_true = compiled.exact_true
        self._exact_false = compiled.exact_false

    def evaluate(self, fold: Facet, identifier_types: Collection[str], now_ms: int) -> tuple[bool, int]:
        """Whether a profile is inside at `now_ms` > 0, and the next instant at which that changes by itself.

        The instant is exact and greater than `now_ms`, or, where that takes more than STEPS_MAX instants to
        see, one at which to look again; NEVER if only an input can change the answer. An event at t counts
        while now < t + window, also before t: events may be up to five minutes ahead.
        """
        if self._purpose is not None:
            word = fold.consent.get(self._purpose)
            if word is None or not word[0]:
                return _OUTSIDE
        signed = self._evaluate(fold, identifier_types, now_ms)
        if signed > 0:
            if signed == NEVER:
                return _INSIDE
            if self._exact_true:
                return True, signed
        elif signed == -NEVER:
            return _OUTSIDE
        elif self._exact_false:
            return False, -signed
        return signed > 0, self._change_after(fold, identifier_types, signed)

    def deciding_events(self, fold: Facet, now_ms: int) -> tuple[str, ...]:
        """Ids of the events behind the answer at `now_ms`, newest first, at most DECIDING_EVENTS_MAX.

        Of each leaf those newest instants that decide it: inside the window, or leaving it at this very
        instant (they decide an exit by time). Events that are only counted leave no id behind.
        """
        found: set[tuple[int, str]] = set()
        for use in self.uses:
            state = fold.leaves.get(use.key)
            if state is None:
                continue
            oldest_ms = -NEVER if use.within_ms is None else now_ms - use.within_ms
            pairs = zip(state[1][-use.needed :], event_ids(use.key, state)[-use.needed :], strict=True)
            found.update((t, event_id) for t, event_id in pairs if t >= oldest_ms)
        newest = sorted(found, reverse=True)[:DECIDING_EVENTS_MAX]
        return tuple(event_id for _, event_id in newest)

    def _change_after(self, fold: Facet, identifier_types: Collection[str], signed: int) -> int:
        """Follow the instants at which a condition changes until one changes the answer.

        A birthday that comes every year may never change it: after STEPS_MAX it is time to look again.
        """
        inside = signed > 0
        for _ in range(STEPS_MAX):
            due_ms = abs(signed)
            if due_ms == NEVER:
                return NEVER
            signed = self._evaluate(fold, identifier_types, due_ms)
            if (signed > 0) != inside:
                return due_ms
        return abs(signed)


class LeafFinder:
    """The leaves of one event type that an event matches, without trying each of them.

    Most leaves ask that some property *is* a text. Those are found by that text, so that a thousand segments
    on a thousand categories cost an event what the segments on its own category cost.
    """

    __slots__ = ("_by_text", "_plain", "_tried")

    def __init__(self, leaves: Iterable[Leaf]) -> None:
        plain: list[Leaf] = []
        tried: list[Leaf] = []
        by_text: dict[str, dict[str, list[Leaf]]] = {}
        for leaf in leaves:
            named = _text_asked_for(leaf.where)
            if not leaf.where and leaf.number_in is None and leaf.text_in is None:
                plain.append(leaf)
            elif named is None:
                tried.append(leaf)
            else:
                by_text.setdefault(named[0], {}).setdefault(named[1], []).append(leaf)
        self._plain = tuple(plain)
        self._tried = tuple(tried)
        self._by_text = tuple((name, _frozen(texts)) for name, texts in by_text.items())

    def find(self, properties: dict[str, Any]) -> list[Leaf]:
        """Every leaf that an event with these properties belongs to, each once, in a fixed order."""
        found = list(self._plain)
        for name, leaves_by_text in self._by_text:
            text = properties.get(name)
            if type(text) is str:
                for leaf in leaves_by_text.get(text, ()):
                    if leaf.matches(properties):
                        found.append(leaf)
        for leaf in self._tried:
            if leaf.matches(properties):
                found.append(leaf)
        return found


class Catalogue:
    """Every segment by id, every leaf by key, and who is affected by what. Tuples are sorted by segment id.

    `by_event[type]`: segments that any event of the type can affect; narrower, for an event whose leaves are
    known: `by_counter[type]` (those that count the type without `where` and window) and `asking(key)`.
    `by_trait`, `by_consent` (a segment's own purpose among them): as the name says. `leaves_by_event` and
    `finders`: the types that need leaf state.
    `capacities`: leaf key → capacity, for folding. `traits`: name → computed trait. The definition of one is
    among the segments as one that nobody is in: what it asks of events, and when it changes, is found there.
    """

    __slots__ = (
        "_inside_with",
        "by_consent",
        "by_counter",
        "by_event",
        "by_leaf",
        "by_trait",
        "capacities",
        "finders",
        "leaves",
        "leaves_by_event",
        "segments",
        "traits",
    )

    def __init__(
        self, definitions: Iterable[Definition], among: Mapping[str, Definition] | None = None
    ) -> None:
        """Compile. Raises InvariantViolation when two definitions have one id: keep them by id.

        `among`: by id, those that references are looked up in; by default the definitions themselves.
        """
        named: dict[str, Definition] = {}
        for definition in sorted(definitions, key=lambda definition: definition.id):
            if definition.id in named:
                raise InvariantViolation("two definitions have one id", segment=definition.id)
            named[definition.id] = definition
        references = References(named if among is None else among)
        wheres = {name: references.expand(one.where) for name, one in named.items()}
        compiled = {name: CompiledSegment(one, wheres[name]) for name, one in named.items()}
        self.traits: dict[str, Timeline] = {
            name[len(TRAIT) :]: timeline_of(where)
            for name, where in wheres.items()
            if isinstance(where, Computed | Score)
        }
        self.segments: Mapping[str, CompiledSegment] = MappingProxyType(compiled)
        self.leaves: Mapping[str, Leaf] = MappingProxyType(_leaves(compiled.values()))
        self.capacities: dict[str, int] = {key: leaf.capacity for key, leaf in self.leaves.items()}
        by_event: dict[str, list[Leaf]] = {}
        for leaf in self.leaves.values():
            by_event.setdefault(leaf.event, []).append(leaf)
        self.leaves_by_event: dict[str, tuple[Leaf, ...]] = _frozen(by_event)
        self.finders: dict[str, LeafFinder] = {event: LeafFinder(found) for event, found in by_event.items()}
        self.by_event = self._index(lambda segment: (one.event for one in segment.asked))
        self.by_counter = self._index(
            lambda segment: (one.event for one in segment.asked if not one.needs_leaf())
        )
        self.by_leaf = self._index(lambda segment: (use.key for use in segment.uses))
        self.by_trait = self._index(
            lambda segment: (one.trait for one in segment.atoms if isinstance(one, TraitTests | TraitDate))
        )
        self.by_consent = self._index(_purposes)
        self._inside_with: dict[frozenset[str], tuple[CompiledSegment, ...]] = {}

    def computed(self, fold: Facet, identifier_types: Collection[str], now_ms: int) -> dict[str, Any]:
        """The values of the computed traits of a profile at `now_ms` > 0; None: there is none."""
        return {
            name: next(timeline(fold, identifier_types, now_ms))[0] for name, timeline in self.traits.items()
        }

    def asking(self, key: str) -> tuple[CompiledSegment, ...]:
        """Segments that ask about a leaf. The key of a valued one may have a number behind it."""
        found = self.by_leaf.get(key)
        if found is None:
            found = self.by_leaf.get(key.partition(VALUE)[0], ())
        return found

    def concerned(
        self, fold: Facet, identifier_types: Collection[str], memberships: Mapping[str, list[Any]]
    ) -> Iterable[CompiledSegment]:
        """Segments, sorted by id, that a profile may be inside of, or of which it was told that it is.

        Every other one finds nothing of what it asks about, so its answer is that for a profile of which only
        the identifier types are known: no, for ever. All, if they are few.
        `memberships`: segment id → whether inside, and more.
        """
        if len(self.segments) <= FEW:
            return self.segments.values()
        found = {segment.id: segment for segment in self.inside_with(identifier_types)}
        for keys, index in (
            (fold.leaves, self.by_leaf),
            (fold.counters, self.by_counter),
            (fold.traits, self.by_trait),
            (fold.consent, self.by_consent),
        ):
            for key in keys:
                for segment in index.get(key, ()):
                    found[segment.id] = segment
        for name, membership in memberships.items():
            if membership[0] and name in self.segments:
                found[name] = self.segments[name]
        return [found[name] for name in sorted(found)]

    def inside_with(self, identifier_types: Collection[str]) -> tuple[CompiledSegment, ...]:
        """Segments that a profile is in of which nothing is known but which identifier types it has.

        Evaluate them once for each new profile: no index of what was seen leads to them.
        """
        key = frozenset(identifier_types)
        known = self._inside_with.get(key)
        if known is None:
            if len(self._inside_with) >= TYPE_SETS_MAX:
                self._inside_with.clear()
            segments = self.segments.values()
            known = tuple(one for one in segments if one.evaluate(EMPTY, key, 1)[0])
            self._inside_with[key] = known
        return known

    def _index(
        self, keys_of: Callable[[CompiledSegment], Iterable[str]]
    ) -> dict[str, tuple[CompiledSegment, ...]]:
        index: dict[str, list[CompiledSegment]] = {}
        for segment in self.segments.values():
            for key in dict.fromkeys(keys_of(segment)):
                index.setdefault(key, []).append(segment)
        return _frozen(index)


def deciding(catalogue: Catalogue, pending: Collection[str]) -> Catalogue:
    """What is told of a catalogue: all but segments whose ids are in `pending`, and paused ones.

    Of a paused segment with a purpose it is still told who withdraws consent: everybody else is inside.
    """
    named = {name: segment.definition for name, segment in catalogue.segments.items()}
    if not pending and not any(one.paused for one in named.values()):
        return catalogue
    told: list[Definition] = []
    for name, one in named.items():
        if name not in pending and not one.paused:
            told.append(one)
        elif name not in pending and one.purpose is not None:
            told.append(replace(one, where=EVERYBODY))
    return Catalogue(told, named)


def _frozen(lists: Mapping[str, list[Value]]) -> dict[str, tuple[Value, ...]]:
    return {key: tuple(lists[key]) for key in sorted(lists)}


def _purposes(segment: CompiledSegment) -> Iterable[str]:
    if segment.definition.purpose is not None:
        yield segment.definition.purpose
    for one in segment.atoms:
        if isinstance(one, ConsentGiven):
            yield one.purpose


def _uses(asked: Iterable[Asked]) -> tuple[LeafUse, ...]:
    uses = (LeafUse(one.key(), one.within_ms, max(one.needed, 1)) for one in asked if one.needs_leaf())
    return tuple(dict.fromkeys(uses))


def _leaves(segments: Iterable[CompiledSegment]) -> dict[str, Leaf]:
    """Every leaf that some segment needs, sorted by key, as large as its most demanding user wants it."""
    leaves: dict[str, Leaf] = {}
    for segment in segments:
        for one in segment.asked:
            if not one.needs_leaf():
                continue
            key = one.key()
            known = leaves.get(key)
            same = (one.event, one.where, one.number_in, one.text_in)
            if known is not None and (known.event, known.where, known.number_in, known.text_in) != same:
                raise InvariantViolation("two leaves have one key", leaf=key)
            leaves[key] = Leaf(
                key=key,
                event=one.event,
                where=one.where,
                matches=_matches(one) if known is None else known.matches,
                capacity=max(one.needed, 1 if known is None else known.capacity),
                keep_ms=max(one.within_ms or 0, 0 if known is None else known.keep_ms),
                number_in=one.number_in,
                text_in=one.text_in,
            )
    return {key: leaves[key] for key in sorted(leaves)}


def _matches(asked: Asked) -> Callable[[Mapping[str, Any]], bool]:
    """Whether an event belongs to the leaf; one that keeps numbers or texts wants one."""
    where, name = compile_where(asked.where), asked.number_in
    if asked.text_in:
        text_in = asked.text_in
        return lambda properties: where(properties) and scalar_text(properties.get(text_in)) is not None
    if name is None:
        return where
    return lambda properties: where(properties) and millionths(properties.get(name)) is not None


def _text_asked_for(where: tuple[PropertyTests, ...]) -> tuple[str, str] | None:
    """The first property that must be one text, and the text."""
    for tested in where:
        for test in tested.tests:
            if test.operator is Operator.IS and isinstance(test.operand, str):
                return tested.property, test.operand
    return None
