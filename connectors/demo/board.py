"""The numbers of a running demo: counts, rates over the last seconds, and quantiles of latency."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

RATE_WINDOW_S: Final = 5.0
LATENCIES_RECENT: Final = 2_000  # the quantiles of the screen are over the newest
LATENCIES_MAX: Final = 200_000  # and those of the summary over all, up to this many


class Rate:
    """Events per second over the last `RATE_WINDOW_S`, from a running total."""

    def __init__(self) -> None:
        self.total = 0
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, total: int, now_s: float) -> None:
        """Note the running total at an instant of a monotonic clock."""
        self.total = total
        self._marks.append((now_s, total))
        while len(self._marks) > 2 and self._marks[0][0] < now_s - RATE_WINDOW_S:
            self._marks.popleft()

    def per_second(self) -> float:
        """0 until two marks are there."""
        if len(self._marks) < 2:
            return 0.0
        (begin_s, begin), (end_s, end) = self._marks[0], self._marks[-1]
        return (end - begin) / (end_s - begin_s) if end_s > begin_s else 0.0


def quantile(values: list[int], share: float) -> int | None:
    """The value that `share` of the values do not exceed; None for no values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(slots=True)
class Board:
    """What the view shows and the summary repeats. Times are seconds of a monotonic clock unless named ms."""

    began_s: float
    phase: str = "starting"
    sent: Rate = field(default_factory=Rate)
    handled: Rate = field(default_factory=Rate)
    changes: Rate = field(default_factory=Rate)
    lag: int | None = None
    merges: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[int] = field(default_factory=list)
    recent_ms: deque[int] = field(default_factory=lambda: deque(maxlen=LATENCIES_RECENT))
    timer_late_ms_max: int = 0
    first_change_s: float | None = None

    def see_latency(self, latency_ms: int) -> None:
        """Note one way from a sent touchpoint to the committed change that a consumer read."""
        self.recent_ms.append(latency_ms)
        if len(self.latencies_ms) < LATENCIES_MAX:
            self.latencies_ms.append(latency_ms)
