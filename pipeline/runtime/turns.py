"""What changes of definitions and of policies share: components by turns, partitions that have told."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from ..core.node import COMPONENT_KEY, component_key
from .store import Store


def next_roots(store: Store, cursor: str, count: int) -> list[str]:
    """Roots of the next `count` components on disk behind the root `cursor`, empty for the first of all.

    Fewer are the last.
    """
    start = component_key(cursor) + b"\x00" if cursor else COMPONENT_KEY
    return [key[len(COMPONENT_KEY) :].decode() for key, _ in islice(store.scan(COMPONENT_KEY, start), count)]


def all_reached(told: Mapping[str, int], goal: int, partitions: int) -> bool:
    """Whether every partition has told that it has reached `goal`. `told`: partition → how far it is."""
    return sum(1 for reached in told.values() if reached >= goal) >= partitions
