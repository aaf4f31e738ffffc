"""Where a trait, an event, another segment, a purpose or an identifier type is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .definition import (
    Computed,
    ConsentGiven,
    Definition,
    EventAggregate,
    EventCount,
    EventSequence,
    FirstTime,
    HasIdentifier,
    InSegment,
    NotSince,
    TraitDate,
    TraitTests,
    atoms,
)

Usage = dict[str, dict[str, list[str]]]
"""Kind → name → ids of the segments that use it, sorted."""


def usage_of(definitions: Iterable[Definition]) -> Usage:
    """Who uses what, as it is written: what a segment inside uses is shown at that one."""
    found: Usage = {kind: {} for kind in ("traits", "events", "segments", "purposes", "identifier_types")}
    for definition in sorted(definitions, key=lambda one: one.id):
        for kind, name in sorted(set(_used_by(definition))):
            found[kind].setdefault(name, []).append(definition.id)
    return {kind: dict(sorted(names.items())) for kind, names in found.items()}


def _used_by(definition: Definition) -> Iterator[tuple[str, str]]:
    if definition.purpose is not None:
        yield "purposes", definition.purpose
    for one in atoms(definition.where):
        if isinstance(one, TraitTests | TraitDate):
            yield "traits", one.trait
        elif isinstance(one, EventSequence):
            yield from (("events", step.event) for step in one.steps)
        elif isinstance(one, EventCount | EventAggregate | FirstTime | NotSince):
            yield "events", one.event
        elif isinstance(one, Computed):
            yield from (("events", event) for event in one.events)
        elif isinstance(one, InSegment):
            yield "segments", one.segment_id
        elif isinstance(one, ConsentGiven):
            yield "purposes", one.purpose
        elif isinstance(one, HasIdentifier):
            yield "identifier_types", one.identifier_type
