"""Examples in a rehearsal: a few of many, the same whatever the order in which they are found."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

EXAMPLES_MAX: Final = 10


@dataclass(slots=True)
class Examples:
    """How many, and some of them: those with the smallest names, in whatever order they are read."""

    count: int = 0
    kept: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def add(self, name: str, describe: Callable[[], dict[str, Any]]) -> None:
        """Count one more. `describe` is asked only for one that is kept."""
        self.count += 1
        if len(self.kept) < EXAMPLES_MAX or name < self.kept[-1][0]:
            self._keep(name, describe())

    def take(self, other: Examples) -> None:
        """Count those of another partition."""
        self.count += other.count
        for name, example in other.kept:
            self._keep(name, example)

    def _keep(self, name: str, example: dict[str, Any]) -> None:
        insort(self.kept, (name, example), key=lambda one: one[0])
        del self.kept[EXAMPLES_MAX:]

    def to_json(self) -> dict[str, Any]:
        """`{count, examples}`."""
        return {"count": self.count, "examples": [example for _, example in self.kept]}
