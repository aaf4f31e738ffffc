"""Rehearses an identity policy over everything that is in `elo.state` now, read from outside.

Partitions are judged by several processes, each read to its end and judged one component at a time. What one
of them holds meanwhile is the packed records of its partition.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from ..core.node import Component, page_key
from ..core.policy import Policy
from ..core.policy_change import PolicyChange
from ..core.published import Published, policy_of
from ..core.rehearsal import Rehearsal, Rehearsing
from ..core.segments.catalogue import Catalogue
from ..core.segments.parse import definition_from_json
from ..settings import Settings
from .inspect import latest_records, outputs_for
from .restore import partitions_of


@dataclass(frozen=True, slots=True)
class Rehearse:
    """What is to be rehearsed, so that it can be sent: policies as text and model, definitions as JSON."""

    settings: Settings
    before: tuple[str, bytes]
    after: tuple[str, bytes]
    definitions: tuple[Any, ...]
    now_ms: int


def rehearse(
    settings: Settings, before: Published, after: Published, definitions: Iterable[Any], now_ms: int
) -> Rehearsal:
    """Judge every live component under both policies. Instants in ms."""
    written = (before.text, before.model), (after.text, after.model)
    what = Rehearse(settings, *written, tuple(definitions), now_ms)
    numbers = range(partitions_of(settings, settings.topics().state))
    processes = min(len(numbers), os.cpu_count() or 1)
    result = Rehearsal()
    if processes == 1:
        for number in numbers:
            result.take(_rehearse_partition(what, number))
        result.compare(before.policy, after.policy)
        return result
    # Not forked: the Kafka client of this process would not survive it.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=gc.disable) as pool:
        for one in pool.map(_rehearse_partition, [what] * len(numbers), numbers):
            result.take(one)
    result.compare(before.policy, after.policy)
    return result


def rehearsing(
    settings: Settings, before: Policy, after: Policy, definitions: Iterable[Any], now_ms: int
) -> Rehearsing:
    """What judges the components of a deployment."""
    catalogue = Catalogue(map(definition_from_json, definitions))
    change = PolicyChange(before, after)
    return Rehearsing(change, outputs_for(settings, before), outputs_for(settings, after), catalogue, now_ms)


def _rehearse_partition(what: Rehearse, number: int) -> Rehearsal:
    """Runs in a process of its own."""
    before, after = policy_of(*what.before), policy_of(*what.after)
    judge = rehearsing(what.settings, before, after, what.definitions, what.now_ms)
    components, pages = latest_records(what.settings, number)

    def load_pages(component: Component) -> None:
        for page in range(1, len(component.pages)):
            stored = pages.get(page_key(component.root, page))
            if stored is not None:
                component.load_page(page, stored)

    for key, value in components.items():
        judge.see(key[1:].decode(), value, load_pages)
    return judge.result
