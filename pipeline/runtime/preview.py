"""Evaluates definitions over everything that is in `elo.state` now, or over a sample, read from outside."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterable

from ..core.node import Component
from ..core.outbox import Outbox
from ..core.policy import Policy
from ..core.segments.definition import Definition
from ..core.segments.preview import Preview
from ..settings import Settings
from .history import read_touches
from .inspect import outputs_for, read_components, sample_components
from .restore import partitions_of


def preview(
    settings: Settings,
    policy: Policy,
    definitions: Iterable[Definition],
    applied: Iterable[Definition],
    now_ms: int,
    removed: Collection[str] = (),
    sample: int | None = None,
) -> Preview:
    """Read the history, if a leaf must be filled from it, and every live profile.

    `removed`: ids of applied definitions that would be deleted. `sample`: estimate the numbers from about so
    many components.
    """
    result = Preview(definitions, applied, policy.history_ms, removed)
    collecting = gc.isenabled()
    gc.disable()  # Nothing here is in a cycle, and each pass would walk everybody who was read so far.
    try:
        _evaluate(settings, policy, result, now_ms, sample)
    finally:
        if collecting:
            gc.enable()
    return result


def _evaluate(settings: Settings, policy: Policy, result: Preview, now_ms: int, sample: int | None) -> None:
    components: Iterable[Component]
    if sample is None:
        components, share = read_components(settings), 1.0
        _read_history(settings, result, None)
    else:
        components, share = sample_components(settings, sample)
        known = {identifier.encode() for component in components for identifier in component.identifiers}
        _read_history(settings, result, known.__contains__)
    outputs = outputs_for(settings, policy)
    for component in components:
        outputs.outbox = Outbox()
        for profile in outputs.profiles(component):
            result.add(component, profile, now_ms)
    if 0 < share < 1:
        result.scale(1 / share)


def _read_history(settings: Settings, result: Preview, of_key: Callable[[bytes], bool] | None) -> None:
    if result.fill:
        partitions = range(partitions_of(settings, settings.topics().touches))
        for touch in read_touches(settings, partitions, of_key=of_key, matching=result.wants):
            result.see(touch)
