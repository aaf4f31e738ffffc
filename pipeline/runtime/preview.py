"""Evaluates definitions over everything that is in `elo.state` now, or over a sample, read from outside."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterable
from typing import Final

from ..core.node import Component
from ..core.outbox import Outbox
from ..core.policy import Policy
from ..core.segments.definition import Definition
from ..core.segments.preview import Preview
from ..settings import Settings
from .history import read_touches
from .inspect import choose_components, outputs_for, read_components
from .restore import partitions_of

SAMPLE: Final = 20_000
"""Components that are looked at where there are many: a total is right to about 1 % of everybody."""
EXACT_MAX: Final = 20_000  # up to so many, all are: that takes no longer


def preview(
    settings: Settings,
    policy: Policy,
    definitions: Iterable[Definition],
    applied: Iterable[Definition],
    now_ms: int,
    removed: Collection[str] = (),
    sample: int | None = None,
) -> Preview:
    """Read live profiles, and the history if a leaf must be filled from it.

    `removed`: ids of applied definitions that would be deleted. `sample`: estimate from about so many
    components; 0: from all; None: from SAMPLE if there are many more.
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
    chosen = None
    if sample != 0:
        above = EXACT_MAX if sample is None else 0
        chosen = choose_components(settings, sample or SAMPLE, above)
    components: Iterable[Component]
    if chosen is None:
        _read_history(settings, result, now_ms, None)
        components = read_components(settings)
    else:
        components, result.share = chosen
        known = {identifier.encode() for component in components for identifier in component.identifiers}
        _read_history(settings, result, now_ms, known.__contains__)
    outputs = outputs_for(settings, policy)
    for component in components:
        outputs.outbox = Outbox()
        for profile in outputs.profiles(component):
            result.add(component, profile, now_ms)


def _read_history(
    settings: Settings, result: Preview, now_ms: int, of_key: Callable[[bytes], bool] | None
) -> None:
    if result.fill:
        partitions = range(partitions_of(settings, settings.topics().touches))
        since_ms = result.since_ms(now_ms)
        for touch in read_touches(
            settings, partitions, of_key=of_key, matching=result.wants, since_ms=since_ms
        ):
            result.see(touch)
