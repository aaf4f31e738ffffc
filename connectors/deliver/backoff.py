"""When something is tried again, and how fast: the schedule of retries, the circuit breaker, the rate.

Pure: instants are arguments, in milliseconds; chance is a number that the caller brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

BREAKER_FAILURES: Final = 10  # requests in a row; a destination that fails at random does not reach it
OPEN_MS_FIRST: Final = 1_000
OPEN_MS_MAX: Final = 300_000
JITTER: Final = 0.2  # changes that failed together do not come back together


def retry_ms(schedule: Sequence[int], attempts: int, chance: float) -> int:
    """How long to wait after so many failed attempts (≥ 1). The last step repeats; `chance` in [0, 1)."""
    step_ms = schedule[min(attempts, len(schedule)) - 1]
    return max(1, round(step_ms * (1 - JITTER + 2 * JITTER * chance)))


class Breaker:
    """Stops asking a destination that only fails: one probe from time to time, until one succeeds."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_ms = 0
        self._until_ms = 0
        self._probing = False
        self.failing_since_ms: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has failed so often in a row that only probes are sent."""
        return self._failures >= BREAKER_FAILURES

    def wait_ms(self, now_ms: int) -> int | None:
        """How long nothing may be sent; 0: now; None: until the request under way has ended."""
        if now_ms < self._until_ms:
            return self._until_ms - now_ms
        return None if self._probing else 0

    def sent(self) -> None:
        """A request begins."""
        self._probing = self.is_open

    def succeeded(self) -> bool:
        """It took a request. Returns whether that closes the breaker."""
        was_open = self.is_open
        self._failures = self._open_ms = self._until_ms = 0
        self._probing, self.failing_since_ms = False, None
        return was_open

    def resumed(self) -> None:
        """An operator says that it is well again: a probe at once, and how long it has failed counts anew."""
        self._open_ms = self._until_ms = 0
        self.failing_since_ms = None

    def failed(self, now_ms: int, after_ms: int | None = None) -> None:
        """A request failed; `after_ms`: how long the destination asks to be left alone."""
        self._probing = False
        self._failures += 1
        if self.failing_since_ms is None:
            self.failing_since_ms = now_ms
        if self.is_open and now_ms >= self._until_ms:
            self._open_ms = min(max(2 * self._open_ms, OPEN_MS_FIRST), OPEN_MS_MAX)
            self._until_ms = now_ms + self._open_ms
        if after_ms is not None:
            self._until_ms = max(self._until_ms, now_ms + after_ms)


class Rate:
    """At most so many requests a second, with a burst of one second's worth. 0: no limit."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._tokens = max(per_second, 1.0)
        self._at_ms = 0

    def wait_ms(self, now_ms: int) -> int:
        """How long until the next request may begin."""
        if not self.per_second:
            return 0
        passed_ms = max(now_ms - self._at_ms, 0)
        self._at_ms = max(now_ms, self._at_ms)
        self._tokens = min(self._tokens + passed_ms * self.per_second / 1000, max(self.per_second, 1.0))
        return 0 if self._tokens >= 1 else 1 + int((1 - self._tokens) * 1000 / self.per_second)

    def sent(self) -> None:
        """A request begins."""
        self._tokens -= 1
