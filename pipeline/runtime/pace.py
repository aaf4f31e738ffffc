"""How much of a worker's time a change of the identity policy may take while touches come."""

from __future__ import annotations

import time
from typing import Final

PAUSE_FACTOR: Final = 10  # a step is followed by so many times its own duration; docs/decisions/0015
BUSY_S: Final = 0.3  # touches come: the last ones are not older than this


class Pace:
    """One per worker, for all of its partitions. Not busy, it holds nobody back."""

    def __init__(self) -> None:
        self._next_at = 0.0
        self._busy_until = 0.0

    def busy(self) -> None:
        """Touches have come."""
        self._busy_until = time.monotonic() + BUSY_S

    def took(self, seconds: float) -> None:
        """A step took so long."""
        self._next_at = time.monotonic() + PAUSE_FACTOR * seconds

    def allows(self) -> bool:
        """Whether a step may be done now."""
        now = time.monotonic()
        return now >= self._next_at or now >= self._busy_until
