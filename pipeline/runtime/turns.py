"""What changes of definitions and of policies share: components by turns, partitions that have told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..core.comparing import BLOCK_KEY, block_key
from ..core.node import COMPONENT_KEY, component_key
from .store import Store


def next_components(store: Store, cursor: str) -> Iterator[tuple[str, bytes | None]]:
    """Roots of the components on disk behind the root `cursor`, empty for all, with their newest value.

    None: it was dropped since. What the batch under way has changed is newer still.
    """
    start = component_key(cursor) + b"\x00" if cursor else COMPONENT_KEY
    for key, value in store.scan(COMPONENT_KEY, start):
        yield key[len(COMPONENT_KEY) :].decode(), store.newest(key, value)


def next_blocks(store: Store, cursor: str) -> Iterator[str]:
    """Names of the blocks on disk behind the block `cursor`."""
    for key, _ in store.scan(BLOCK_KEY, block_key(cursor) + b"\x00"):
        yield key[len(BLOCK_KEY) :].decode()


def all_reached(told: Mapping[str, int], goal: int, partitions: int) -> bool:
    """Whether every partition has told that it has reached `goal`. `told`: partition → how far it is."""
    return sum(1 for reached in told.values() if reached >= goal) >= partitions
