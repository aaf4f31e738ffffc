"""How many events each write key may send: so many a second, with a burst. Pure: instants are arguments.

A batch may go below zero once, since its size is known only when it was read; its sender then waits until
that is paid back, so over time nobody sends more than the rate.
"""

from __future__ import annotations

from math import ceil
from typing import Final

BURST_S: Final = 10.0  # a phone that comes back from a tunnel sends what it has
RETRY_AFTER_S_MAX: Final = 300
KEYS_MAX: Final = 10_000  # those of the settings, and of settings before; more are forgotten


class Allowance:
    """What is left to each write key. `per_second` 0: no limit."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._most = per_second * BURST_S
        self._left: dict[str, tuple[float, float]] = {}

    def wait_s(self, key: str, now_s: float) -> int:
        """After how many whole seconds the sender should come again; 0: its request is taken."""
        if not self._per_second:
            return 0
        left = self._left_at(key, now_s)
        return 0 if left > 0 else min(max(ceil(-left / self._per_second), 1), RETRY_AFTER_S_MAX)

    def spend(self, key: str, events: int, now_s: float) -> None:
        """So many events are taken."""
        if self._per_second:
            left = self._left_at(key, now_s) - events
            if len(self._left) >= KEYS_MAX and key not in self._left:
                self._left.clear()
            self._left[key] = left, now_s

    def _left_at(self, key: str, now_s: float) -> float:
        left, at_s = self._left.get(key, (self._most, now_s))
        return min(left + (now_s - at_s) * self._per_second, self._most)
