"""Why a computed trait has its value: the events or rules behind it, and what time alone makes of it.

The value comes from the same timeline that the workers publish by. It must not know where the profile was
read or how an explanation is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from ..facet import NEVER, Facet
from ..instant import format_instant
from .asked import Asked, asked_by
from .behind import counts, identifiers_behind
from .compile import timeline_of
from .definition import TRAIT, Computed, Definition, Score, TraitTests
from .explain import EVENTS_MAX, STEPS_MAX, Explained, Explainer
from .ingredients import Ingredient, ingredients_of, kept_events


@dataclass(frozen=True, slots=True)
class WhyComputed:
    """The value of one computed trait of one profile at one instant. None: it has no value.

    `becomes`: its value from `changes_ms` on, if nothing happens until then. `events`: those that decide it,
    newest first, of `of` that it is made of; `or_more`: older ones, which do not count, may be there too.
    `alone`: identifier → the value that its own events would have. `rules`: those of a score, with points.
    """

    definition: Definition
    value: Any
    at_ms: int
    changes_ms: int
    becomes: Any
    events: tuple[Ingredient, ...] = ()
    of: int = 0
    or_more: bool = False
    whose: Mapping[tuple[int, str], str] = field(default_factory=dict)
    identifiers: tuple[str, ...] = ()
    alone: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[tuple[int, Explained], ...] = ()

    @property
    def name(self) -> str:
        """Of the trait."""
        return self.definition.id[len(TRAIT) :]

    def by(self, event: Ingredient) -> str | None:
        """The identifier that an event was counted on."""
        return self.whose.get((event.at_ms, event.event_id))

    def to_json(self) -> dict[str, Any]:
        """The part of `elo why PROFILE trait:NAME --json` that the definition decides."""
        events = [
            {
                "event_id": one.event_id,
                "at": format_instant(one.at_ms),
                "value": one.brings,
                "until": format_instant(one.until_ms),
                "identifier": self.by(one),
            }
            for one in self.events
        ]
        return {
            "trait": self.name,
            "trait_version": self.definition.version,
            "value": self.value,
            "evaluated_at": format_instant(self.at_ms),
            "changes_at": format_instant(self.changes_ms),
            "becomes": self.becomes,
            "rule": None,
            "computed": self.definition.where.to_json(),
            "found": {"of": self.of, "or_more": self.or_more},
            "events": events,
            "identifiers": list(self.identifiers),
            "values": [{"identifier": one, "value": value} for one, value in self.alone.items()],
            "conditions": [{"points": points, **one.to_json()} for points, one in self.rules],
        }


def explain_computed(
    definition: Definition,
    fold: Facet,
    identifiers: Collection[str],
    now_ms: int,
    definitions: Mapping[str, Definition],
    facets: Mapping[str, Facet],
) -> WhyComputed:
    """Explain a computed trait over the fold of a profile with these identifiers at `now_ms` > 0.

    `definitions`: all that are in force. `facets`: those of the profile, by identifier.
    """
    explainer = Explainer(fold, identifiers, now_ms, definitions, facets)
    written, made_of = definition.where, explainer.references.expand(definition.where)
    assert isinstance(made_of, Computed | Score)
    timeline = timeline_of(made_of)
    value, changes_ms, becomes = _next_change(timeline(fold, explainer.types, now_ms))
    why = WhyComputed(definition, value, now_ms, changes_ms, becomes)
    if isinstance(written, Score):
        rules = tuple((points, explainer.explain(when)) for points, when in written.rules)
        behind = tuple(sorted({one for _, rule in rules for one in rule.identifiers}))
        return replace(why, rules=rules, identifiers=behind)
    assert isinstance(made_of, Computed)
    made, asked = ingredients_of(made_of, value, fold, now_ms), asked_by(made_of)
    events = made.deciding[: -EVENTS_MAX - 1 : -1]
    alone = {
        one: next(timeline(facet, explainer.types, now_ms))[0]
        for one, facet in sorted(facets.items())
        if any(counts(facet, kind) for kind in asked)
    }
    pairs = [(one.at_ms, one.event_id) for one in events]
    behind = identifiers_behind(TraitTests(why.name, ()), made_of, pairs, fold, facets)
    return replace(
        why, events=events, of=made.of, or_more=made.or_more, whose=_whose(asked, facets), identifiers=behind,
        alone=alone,
    )  # fmt: skip


def _next_change(spans: Iterator[tuple[Any, int]]) -> tuple[Any, int, Any]:
    """The value now, when it becomes another one by itself, and which one. NEVER if it does not."""
    value, until_ms = next(spans)
    for later, later_ms in islice(spans, STEPS_MAX):
        if (type(later), later) != (type(value), value):
            return value, until_ms, later
        until_ms = later_ms
    return value, NEVER, None


def _whose(asked: Iterable[Asked], facets: Mapping[str, Facet]) -> dict[tuple[int, str], str]:
    """(event time, event id) → the identifier on which the event was counted."""
    keys = [one.key() for one in asked]
    return {
        event: identifier
        for identifier, facet in facets.items()
        for key in keys
        if key in facet.leaves
        for event in kept_events(key, facet.leaves[key])
    }
