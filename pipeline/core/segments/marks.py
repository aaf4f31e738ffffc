"""What must stand in the stored form of a component that some segments may concern.

A new segment asks about a fraction of all people. Whether a component is one of them can be told from its
bytes, at a fiftieth of what it costs to decode and to evaluate it. It must not know how components are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .catalogue import EMPTY, Catalogue
from .definition import HasIdentifier

NO_TYPES: Final[frozenset[str]] = frozenset()


def marks_of(catalogue: Catalogue, ids: Iterable[str]) -> set[bytes] | None:
    """Texts of which at least one stands in whatever is stored of a profile that may be inside one of these
    segments, or was told to be: what `Catalogue.concerned` looks for, and the ids.

    None: nothing can be told from what is stored. Somebody may be inside of whom nothing is known but the
    types of the identifiers, or the value of a computed trait is part of every profile.
    """
    named = frozenset(ids)
    for name in named:
        segment = catalogue.segments[name]
        types_decide = any(isinstance(one, HasIdentifier) for one in segment.atoms)
        if segment.definition.is_trait or types_decide or segment.evaluate(EMPTY, NO_TYPES, 1)[0]:
            return None
    marks = set(named)
    for index in (catalogue.by_leaf, catalogue.by_counter, catalogue.by_trait, catalogue.by_consent):
        marks.update(key for key, asking in index.items() if any(one.id in named for one in asking))
    return {mark.encode() for mark in marks}
