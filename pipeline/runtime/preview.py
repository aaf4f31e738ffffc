"""Evaluates definitions over everything that is in `elo.state` now, read from outside."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..core.outbox import Outbox
from ..core.policy import Policy
from ..core.segments.definition import Definition
from ..core.segments.preview import Preview
from ..settings import Settings
from .history import read_touches
from .inspect import outputs_for, read_components
from .restore import partitions_of


def preview(
    settings: Settings,
    policy: Policy,
    definitions: Iterable[Definition],
    applied: Iterable[Definition],
    now_ms: int,
    removed: Collection[str] = (),
) -> Preview:
    """Read the history, if a leaf must be filled from it, then every live profile.

    `removed`: ids of applied definitions that would be deleted.
    """
    result = Preview(definitions, applied, policy.history_ms, removed)
    if result.fill:
        partitions = range(partitions_of(settings, settings.topics().touches))
        for touch in read_touches(settings, partitions, matching=result.wants):
            result.see(touch)
    outputs = outputs_for(settings, policy)
    for component in read_components(settings):
        outputs.outbox = Outbox()
        for profile in outputs.profiles(component):
            result.add(component, profile, now_ms)
    return result
