"""Timers of one partition: which components are due, and when the next one is.

Every timer is a key in the store (`t`, due instant, root), derived from the stored components, so it costs no
record of the changelog. Those within the horizon are also in a heap in memory. An overtaken timer is
harmless: the component it wakes finds nothing due and sets its next one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final

from ..core.facet import NEVER

TIMER_KEY: Final = b"t"
HORIZON_MS: Final = 120_000  # timers due within it are held in memory
LOADED_MAX: Final = 2_000  # most timers taken from the store at once: about 10 ms


def timer_key(due_ms: int, root: str) -> bytes:
    """Store key of a timer; keys sort by due instant."""
    return TIMER_KEY + due_ms.to_bytes(8, "big") + root.encode()


def parse_timer_key(key: bytes) -> tuple[int, str]:
    """Inverse of `timer_key`."""
    return int.from_bytes(key[1:9], "big"), key[9:].decode()


class Timers:
    """The timers that are due before `horizon_ms`.

    Those beyond it stay in the store until `extend` brings them.
    """

    def __init__(self) -> None:
        self.heap: list[tuple[int, str]] = []
        self.horizon_ms = 0

    def add(self, due_ms: int, root: str) -> None:
        """Set a timer; the caller has stored its key."""
        if due_ms < self.horizon_ms:
            heapq.heappush(self.heap, (due_ms, root))

    def due(self, now_ms: int, most: int) -> list[tuple[int, str]]:
        """Take up to `most` timers due by `now_ms`, oldest first."""
        taken: list[tuple[int, str]] = []
        while self.heap and self.heap[0][0] <= now_ms and len(taken) < most:
            taken.append(heapq.heappop(self.heap))
        return taken

    def count_due(self, now_ms: int) -> int:
        """How many timers in memory are due by `now_ms`."""
        if not self.heap or self.heap[0][0] > now_ms:
            return 0
        return sum(1 for due_ms, _ in self.heap if due_ms <= now_ms)

    def next_ms(self) -> int:
        """The next timer in memory, or the horizon if there is none before it."""
        return min(self.heap[0][0] if self.heap else NEVER, self.horizon_ms)

    def wants_more(self, now_ms: int) -> bool:
        """Whether the horizon has come near and there is room, so that `extend` should be called."""
        return self.horizon_ms < now_ms + HORIZON_MS // 2 and len(self.heap) < LOADED_MAX // 2

    def extend(self, stored: Iterable[bytes], now_ms: int) -> None:
        """Move the horizon on. `stored`: timer keys from the old horizon on, in ascending order."""
        target_ms = now_ms + HORIZON_MS
        for loaded, key in enumerate(stored):
            due_ms, root = parse_timer_key(key)
            if due_ms >= target_ms:
                break
            if loaded >= LOADED_MAX and due_ms > self.heap[-1][0]:
                target_ms = due_ms
                break
            heapq.heappush(self.heap, (due_ms, root))
        self.horizon_ms = target_ms
