"""What a preview counts: how many profiles, some of them, and what values they have; of all, or of a sample.

A sample takes each component with the same chance, `share`, and all profiles of it. A total is then what was
seen, divided by the share, and lies between two numbers with a probability of 95 %.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from dataclasses import dataclass, field
from math import ceil, floor, sqrt
from typing import Any, Final

EXAMPLES_MAX: Final = 20  # profile ids shown of each group, the smallest
FREQUENT_MAX: Final = 10  # values shown, the most frequent
DISTINCT_MAX: Final = 100_000  # different values that are told apart, so that memory is bounded
QUANTILE: Final = 0.95
Z: Final = 1.96  # 95 % of a normal distribution lie within so many standard deviations


def interval(seen: int, squares: int, share: float) -> tuple[int, int]:
    """Between which numbers a total lies, of which `seen` were seen.

    The exact interval of a number of rare events, as Byar approximates it: right for few as for many, and for
    none. `squares`: of the numbers seen in each component, their sum; profiles of one component come
    together, and so say less than as many of different ones.
    """
    if share >= 1:
        return seen, seen
    spread = (1 - share) * (squares / seen if seen else 1)  # of the variance of rare events
    fewer, more = seen / spread, seen / spread + 1
    low = fewer * max(0.0, 1 - 1 / (9 * fewer) - Z / (3 * sqrt(fewer))) ** 3 if seen else 0.0
    high = more * (1 - 1 / (9 * more) + Z / (3 * sqrt(more))) ** 3
    return max(seen, floor(low * spread / share)), ceil(high * spread / share)


@dataclass(slots=True)
class Group:
    """How many profiles, and some of their ids. Those of one component are added one after the other."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    squares: int = 0
    _component: str = ""
    _together: int = 0

    def add(self, profile_id: str, component: str) -> None:
        """Count one more. `component`: its root."""
        self.count += 1
        self._together = self._together + 1 if component == self._component else 1
        self._component = component
        self.squares += 2 * self._together - 1
        if len(self.examples) < EXAMPLES_MAX or profile_id < self.examples[-1]:
            insort(self.examples, profile_id)
            del self.examples[EXAMPLES_MAX:]

    def total(self, share: float) -> int:
        """How many there are of all."""
        return round(self.count / share)

    def interval(self, share: float) -> tuple[int, int]:
        """Between which numbers the total lies."""
        return interval(self.count, self.squares, share)

    def to_json(self, share: float = 1.0) -> dict[str, Any]:
        """`{count, examples}`, with `interval` if it is an estimate."""
        between = {} if share >= 1 else {"interval": list(self.interval(share))}
        return {"count": self.total(share), **between, "examples": self.examples}


@dataclass(slots=True)
class Values:
    """The values of a computed trait: numbers, or texts and truths. Some of them by profile id."""

    having: Group = field(default_factory=Group)
    _numbers: list[float] = field(default_factory=list)
    _others: Counter[Any] = field(default_factory=Counter)
    _shown: list[tuple[str, Any]] = field(default_factory=list)

    def add(self, profile_id: str, component: str, value: Any) -> None:
        """Count one profile with its value."""
        self.having.add(profile_id, component)
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._numbers.append(value)
        elif value in self._others or len(self._others) < DISTINCT_MAX:
            self._others[value] += 1
        if len(self._shown) < EXAMPLES_MAX or profile_id < self._shown[-1][0]:
            at = bisect_left(self._shown, profile_id, key=lambda one: one[0])
            self._shown.insert(at, (profile_id, value))
            del self._shown[EXAMPLES_MAX:]

    def to_json(self, share: float = 1.0) -> dict[str, Any]:
        """How many have a value; of numbers `min`, `median`, `p95`, `max`, of others the most frequent."""
        having = self.having.to_json(share)
        having["examples"] = [{"profile_id": name, "value": value} for name, value in self._shown]
        if self._numbers:
            self._numbers.sort()
            having |= {"min": self._numbers[0], "median": self._quantile(0.5),
                       "p95": self._quantile(QUANTILE), "max": self._numbers[-1]}  # fmt: skip
        if self._others:
            ranked = sorted(self._others.items(), key=lambda one: (-one[1], str(one[0])))
            having["most_frequent"] = [
                {"value": value, "count": round(count / share)} for value, count in ranked[:FREQUENT_MAX]
            ]
        return having

    def _quantile(self, part: float) -> float:
        """The least value that so many of the values do not exceed."""
        return self._numbers[ceil(part * len(self._numbers)) - 1]
