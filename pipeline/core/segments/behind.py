"""Which identifiers of a profile are behind what a condition has found: those whose facets hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..facet import Facet
from .asked import Asked, asked_by
from .definition import Computed, Condition, ConsentGiven, HasIdentifier, Score, TraitDate, TraitTests, atoms
from .ingredients import kept_events


def identifiers_behind(
    condition: Condition,
    computed: Computed | Score | None,
    events: Iterable[tuple[int, str]],
    fold: Facet,
    facets: Mapping[str, Facet],
) -> tuple[str, ...]:
    """Sorted. `computed`: what the trait of the condition is made of; `events`: those that decide it.

    Of a trait that keeps several values, whoever has told one. `facets`: those of the profile, by identifier.
    """
    if isinstance(condition, HasIdentifier):
        kind = f"{condition.identifier_type}:"
        return tuple(sorted(one for one in facets if one.startswith(kind)))
    if isinstance(condition, ConsentGiven):
        word = fold.consent.get(condition.purpose)
        return _where(facets, lambda facet: word is not None and facet.consent.get(condition.purpose) == word)
    if isinstance(condition, TraitTests | TraitDate) and computed is None:
        cell, name = fold.traits.get(condition.trait), condition.trait
        several = cell is not None and isinstance(cell[1], dict)
        return _where(facets, lambda facet: name in facet.traits and (several or facet.traits[name] == cell))
    asked = [one for atom in atoms(condition if computed is None else computed) for one in asked_by(atom)]
    if ever := [one for one in asked if one.within_ms is None and not one.needed and one.text_in is None]:
        return _where(facets, lambda facet: any(counts(facet, one) for one in ever))
    wanted = set(events)
    keys = [one.key() for one in asked]
    return _where(facets, lambda facet: any(_holds(facet, key, wanted) for key in keys))


def counts(facet: Facet, asked: Asked) -> bool:
    """Whether a facet has counted such an event, ever."""
    return asked.key() in facet.leaves if asked.needs_leaf() else asked.event in facet.counters


def _holds(facet: Facet, key: str, wanted: set[tuple[int, str]]) -> bool:
    state = facet.leaves.get(key)
    return state is not None and not wanted.isdisjoint(kept_events(key, state))


def _where(facets: Mapping[str, Facet], holds: Callable[[Facet], bool]) -> tuple[str, ...]:
    return tuple(sorted(identifier for identifier, facet in facets.items() if holds(facet)))
