"""Segments inside segments: which definitions use which, and conditions with the others written out.

Whatever is on the topic has a meaning: a reference to a segment that does not exist, that leads back to
itself, or whose conditions are too many holds for nobody. Commands refuse such definitions before that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NoReturn

from .definition import (
    All,
    AnyOf,
    Condition,
    ConsentGiven,
    Definition,
    InSegment,
    NoneOf,
    atoms,
)
from .document import DefinitionError, Place, similar_to

EXPANDED_MAX: Final = 1_000  # conditions with those of the segments inside; bounds the work per evaluation
LEVELS_MAX: Final = 16  # segments inside segments
NOBODY: Final = AnyOf(())


def references_of(definition: Definition) -> tuple[InSegment, ...]:
    """The references in a definition, as they are written."""
    return tuple(one for one in atoms(definition.where) if isinstance(one, InSegment))


def users_of(names: Collection[str], definitions: Mapping[str, Definition]) -> set[str]:
    """Ids of the definitions that refer to one of `names`, directly or through others."""
    uses = {name: {inside.segment_id for inside in references_of(one)} for name, one in definitions.items()}
    found: set[str] = set()
    wanted = set(names)
    while wanted:
        wanted = {name for name, used in uses.items() if name not in found and used & wanted}
        found |= wanted
    return found


class References:
    """What each definition stands for when another one refers to it."""

    def __init__(self, definitions: Mapping[str, Definition]) -> None:
        self._whole: dict[str, Condition] = {}
        if not any(references_of(one) for one in definitions.values()):
            self._add(definitions, definitions)
            return
        sizes = _Sizes(definitions)
        self._add(definitions, (name for name in sizes.order if sizes.fault(name) is None))

    def _add(self, definitions: Mapping[str, Definition], names: Iterable[str]) -> None:
        for name in names:
            one = definitions[name]
            granted = () if one.purpose is None else (ConsentGiven(one.purpose),)
            self._whole[name] = All((*granted, self.expand(one.where)))

    def __contains__(self, name: str) -> bool:
        """Whether anybody can be inside the segment by a reference."""
        return name in self._whole

    def expand(self, condition: Condition) -> Condition:
        """The condition, in which each reference has become the condition that it stands for."""
        if isinstance(condition, InSegment):
            return self._whole.get(condition.segment_id, NOBODY)
        if isinstance(condition, All | AnyOf | NoneOf):
            inner = tuple(self.expand(one) for one in condition.conditions)
            return condition if inner == condition.conditions else type(condition)(inner)
        return condition


class _Sizes:
    """How many conditions and levels each definition has with all that is inside.

    `order`: used ones first. A definition on a cycle, or above one, is in neither.
    """

    def __init__(self, definitions: Mapping[str, Definition]) -> None:
        self.sizes: dict[str, int] = {}
        self.levels: dict[str, int] = {}
        self.order: list[str] = []
        used = {
            name: [one.segment_id for one in references_of(definition) if one.segment_id in definitions]
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
                known = [name for name in sorted(after) if name != definition.id]
                hint = similar_to(one.segment_id, known) if known else "apply it first"
                raise DefinitionError(one.place, f"there is no segment {one.segment_id!r}", hint)
    sizes = _Sizes(after)
    for definition in fresh.values():
        if definition.id not in sizes.sizes:
            _refuse_cycle(definition, after, sizes)
    for name in sizes.order:
        fault = sizes.fault(name)
        if fault is not None and (name in fresh or users_of(fresh, after) & {name}):
            raise DefinitionError(_place_in(after[name]), f"segment {name} {fault}", "use fewer of them")


def _refuse_cycle(definition: Definition, definitions: Mapping[str, Definition], sizes: _Sizes) -> NoReturn:
    """Name a way that leads back. Of what is on a cycle or above one, something inside is as well."""
    path = [definition.id]
    while path.count(path[-1]) == 1:
        inside = [one.segment_id for one in references_of(definitions[path[-1]])]
        path.append(next(one for one in inside if one in definitions and one not in sizes.sizes))
    loop = path[path.index(path[-1]) :]
    problem = f"segment {loop[0]} would be inside itself ({' → '.join(loop)})"
    raise DefinitionError(_place_in(definition), problem, "write the conditions out in one of them")


def _place_in(definition: Definition) -> Place:
    references = references_of(definition)
    return references[0].place if references else Place("")
