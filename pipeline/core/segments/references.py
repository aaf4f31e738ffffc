"""Segments and computed traits inside definitions: who uses which, conditions with the others written out.

Whatever is on the topic has a meaning: a reference to a segment that does not exist, that leads back to
itself, or whose conditions are too many holds for nobody; a computed trait of which that is true is no
computed one where it is used. Commands refuse such definitions before that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NoReturn

from .definition import (
    TRAIT,
    All,
    AnyOf,
    Computed,
    ComputedTests,
    Condition,
    ConsentGiven,
    Definition,
    InSegment,
    NoneOf,
    Score,
    TraitDate,
    TraitTests,
    atoms,
)
from .document import DefinitionError, Place, similar_to

EXPANDED_MAX: Final = 1_000  # conditions with those of the segments inside; bounds the work per evaluation
LEVELS_MAX: Final = 16  # segments inside segments
NOBODY: Final = AnyOf(())


def references_of(definition: Definition) -> tuple[InSegment, ...]:
    """The references in a definition, as they are written."""
    return tuple(one for one in atoms(definition.where) if isinstance(one, InSegment))


def uses_of(definition: Definition) -> list[tuple[str, Place]]:
    """What a definition refers to, and where: segments, and traits that may be computed, by id."""
    found = []
    for one in atoms(definition.where):
        if isinstance(one, InSegment):
            found.append((one.segment_id, one.place))
        elif isinstance(one, TraitTests | TraitDate):
            found.append((TRAIT + one.trait, one.place))
    return found


def users_of(names: Collection[str], definitions: Mapping[str, Definition]) -> set[str]:
    """Ids of the definitions that refer to one of `names`, directly or through others."""
    return Users(definitions).of(names)


class Users:
    """Which of many definitions refer to which, for several questions."""

    def __init__(self, definitions: Mapping[str, Definition]) -> None:
        self._direct: dict[str, list[str]] = {}
        for name, one in definitions.items():
            for used, _ in uses_of(one):
                self._direct.setdefault(used, []).append(name)

    def of(self, names: Collection[str]) -> set[str]:
        """As `users_of`."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            for user in self._direct.get(waiting.pop(), ()):
                if user not in found:
                    found.add(user)
                    waiting.append(user)
        return found


class References:
    """What each definition stands for when another one refers to it."""

    def __init__(self, definitions: Mapping[str, Definition]) -> None:
        self._whole: dict[str, Condition] = {}
        self._values: dict[str, Computed | Score] = {}
        if not any(one.is_trait or references_of(one) for one in definitions.values()):
            self._add(definitions, definitions)
            return
        sizes = _Sizes(definitions)
        self._add(definitions, (name for name in sizes.order if sizes.fault(name) is None))

    def _add(self, definitions: Mapping[str, Definition], names: Iterable[str]) -> None:
        for name in names:
            one = definitions[name]
            if isinstance(one.where, Computed | Score):
                value = self.expand(one.where)
                assert isinstance(value, Computed | Score)
                self._values[name] = value
                continue
            granted = () if one.purpose is None else (ConsentGiven(one.purpose),)
            self._whole[name] = All((*granted, self.expand(one.where)))

    def __contains__(self, name: str) -> bool:
        """Whether anybody can be inside the segment by a reference."""
        return name in self._whole

    def expand(self, condition: Condition) -> Condition:
        """The condition, in which each reference has become what it stands for."""
        if isinstance(condition, InSegment):
            return self._whole.get(condition.segment_id, NOBODY)
        if isinstance(condition, TraitTests | TraitDate):
            value = self._values.get(TRAIT + condition.trait)
            return condition if value is None else ComputedTests(value, condition)
        if isinstance(condition, Score):
            return Score(tuple((points, self.expand(when)) for points, when in condition.rules))
        if isinstance(condition, All | AnyOf | NoneOf):
            inner = tuple(self.expand(one) for one in condition.conditions)
            return condition if inner == condition.conditions else type(condition)(inner)
        return condition

    def value_of(self, trait: str) -> Computed | Score | None:
        """What a computed trait is made of; None if the name is not that of one."""
        return self._values.get(TRAIT + trait)


class _Sizes:
    """How many conditions and levels each definition has with all that is inside.

    `order`: used ones first. A definition on a cycle, or above one, is in neither.
    """

    def __init__(self, definitions: Mapping[str, Definition]) -> None:
        self.sizes: dict[str, int] = {}
        self.levels: dict[str, int] = {}
        self.order: list[str] = []
        used = {
            name: [used for used, _ in uses_of(definition) if used in definitions]
            for name, definition in definitions.items()
        }
        users: dict[str, list[str]] = {}
        for name, inside in used.items():
            for one in inside:
                users.setdefault(one, []).append(name)
        missing = {name: len(inside) for name, inside in used.items()}
        ready = [name for name, count in missing.items() if count == 0]
        while ready:
            name = ready.pop()
            own = sum(1 for _ in atoms(definitions[name].where))
            self.sizes[name] = own + sum(self.sizes[one] for one in used[name])
            self.levels[name] = 1 + max((self.levels[one] for one in used[name]), default=-1)
            self.order.append(name)
            for user in users.get(name, ()):
                missing[user] -= 1
                if missing[user] == 0:
                    ready.append(user)

    def fault(self, name: str) -> str | None:
        """Why a definition cannot be used inside another one, or be applied."""
        if self.sizes[name] > EXPANDED_MAX:
            return f"has more than {EXPANDED_MAX} conditions with those of the segments inside"
        if self.levels[name] > LEVELS_MAX:
            return f"has more than {LEVELS_MAX} levels of segments inside segments"
        return None


def check_references(definitions: Mapping[str, Definition], new: Iterable[Definition]) -> None:
    """Refuse unknown ids, cycles and what grows too large once `new` is applied to `definitions`.

    Raises DefinitionError, at the reference in a new definition that is wrong.
    """
    fresh = {one.id: one for one in new}
    after = {**definitions, **fresh}
    for definition in fresh.values():
        for one in references_of(definition):
            if one.segment_id not in after:
                known = [
                    name for name, two in sorted(after.items()) if name != definition.id and not two.is_trait
                ]
                hint = similar_to(one.segment_id, known) if known else "apply it first"
                problem = f"there is no segment {one.segment_id!r}"
                raise DefinitionError(one.place, problem, hint, definition.id)
    sizes = _Sizes(after)
    for definition in fresh.values():
        if definition.id not in sizes.sizes:
            _refuse_cycle(definition, after, sizes)
    for name in sizes.order:
        fault = sizes.fault(name)
        if fault is not None and (name in fresh or users_of(fresh, after) & {name}):
            place, problem = _place_in(after[name]), f"{_called(name)} {fault}"
            raise DefinitionError(place, problem, "use fewer of them", name)


def _refuse_cycle(definition: Definition, definitions: Mapping[str, Definition], sizes: _Sizes) -> NoReturn:
    """Name a way that leads back. Of what is on a cycle or above one, something inside is as well."""
    path = [definition.id]
    while path.count(path[-1]) == 1:
        inside = [used for used, _ in uses_of(definitions[path[-1]])]
        path.append(next(one for one in inside if one in definitions and one not in sizes.sizes))
    loop = path[path.index(path[-1]) :]
    itself = "be computed from" if loop[0].startswith(TRAIT) else "be inside"
    problem = f"{_called(loop[0])} would {itself} itself ({' → '.join(loop)})"
    place = next(place for used, place in uses_of(definition) if used == path[1])
    raise DefinitionError(place, problem, "write the conditions out in one of them", definition.id)


def _called(name: str) -> str:
    return f"trait {name[len(TRAIT) :]}" if name.startswith(TRAIT) else f"segment {name}"


def _place_in(definition: Definition) -> Place:
    """Where the first reference stands."""
    return next((place for _, place in uses_of(definition)), Place(""))
