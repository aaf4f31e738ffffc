"""How much of a worker's time a change of policy or of definitions may take while touches come."""

from __future__ import annotations

import time
from typing import Final

BUSY_S: Final = 0.3  # touches come: the last ones are not older than this


class Pace:
    """One per worker, for all of its partitions. Not busy, it holds nobody back.

    A step of a policy is timed by itself. One of definitions lasts until its batch is written: what it tells
    and stores takes longer than to decide it.
    """

    def __init__(self) -> None:
        self._began_at: float | None = None
        self._ended_at = 0.0
        self._took_s = 0.0
        self._busy_until = 0.0

    def busy(self) -> None:
        """Touches have come."""
        self._busy_until = time.monotonic() + BUSY_S

    def begin(self) -> None:
        """A step begins."""
        self._began_at = time.monotonic()

    def end(self) -> None:
        """The step that began is over, if one did."""
        if self._began_at is not None:
            self._ended_at = time.monotonic()
            self._took_s = self._ended_at - self._began_at
            self._began_at = None

    def is_busy(self) -> bool:
        """Whether touches have come just now."""
        return time.monotonic() < self._busy_until

    def allows(self, pause_factor: float) -> bool:
        """Whether a step may be done now: after a pause of so many times the duration of the last one."""
        now = time.monotonic()
        if now >= self._busy_until:
            return True
        return self._began_at is None and now >= self._ended_at + pause_factor * self._took_s
