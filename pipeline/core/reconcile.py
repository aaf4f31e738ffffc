"""The books of the reconciliation: what became of each touchpoint of one partition of an input.

Touchpoints in = applied + duplicates + rejected, and those that are not there yet. A book has one byte for
each offset, so nothing is estimated. It must not know how records are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum


class Fate(IntEnum):
    """What became of a touchpoint. One may turn up several times, for it is read at least once: the highest
    counts.
    """

    UNSEEN = 0
    """Nothing that came of it was found."""
    WAITING = 1
    """It is not read yet, or its touch is not handled yet."""
    REJECTED = 2
    DUPLICATE = 3
    """Its event id was in the history of its strongest identifier."""
    APPLIED = 4
    MISSING = 5
    """It was read, and nothing came of it: this must not be."""
    VOID = 6
    """No record is at this offset: a transaction marker, or deleted."""

    @property
    def label(self) -> str:
        """As it is printed, and as a label of metrics."""
        return self.name.lower()


SHOWN = (Fate.APPLIED, Fate.DUPLICATE, Fate.REJECTED, Fate.WAITING, Fate.MISSING)
"""The parts that touchpoints in are the sum of."""


class Book:
    """The fates at the offsets [start, end) of one partition. What lies below `start` is of no interest."""

    __slots__ = ("_fates", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self._fates = bytearray()

    @property
    def end(self) -> int:
        """The offset behind the last one."""
        return self.start + len(self._fates)

    def extend(self, end: int) -> None:
        """Reach at least to `end`."""
        if end > self.end:
            self._fates.extend(bytes(end - self.end))

    def note(self, offset: int, fate: Fate) -> None:
        """Something was found of the touchpoint at `offset`."""
        place = offset - self.start
        if place < 0:
            return
        if place >= len(self._fates):
            self.extend(offset + 1)
        if fate > self._fates[place]:
            self._fates[place] = fate

    def correct(self, offset: int, fate: Fate) -> None:
        """What was noted at `offset` was wrong."""
        if self.start <= offset < self.end:
            self._fates[offset - self.start] = fate

    def offsets(self, fate: Fate, start: int, end: int) -> Iterator[int]:
        """The offsets of [start, end) with this fate, ascending."""
        low, high = max(start - self.start, 0), min(end - self.start, len(self._fates))
        while (place := self._fates.find(fate, low, max(high, 0))) >= 0:
            yield self.start + place
            low = place + 1

    def counts(self, start: int, end: int) -> dict[Fate, int]:
        """How many of [start, end) have each fate."""
        part = self._fates[max(start - self.start, 0) : max(end - self.start, 0)]
        return {fate: part.count(fate) for fate in Fate}

    def settle(self, end: int) -> dict[Fate, int]:
        """Close the book up to `end`: what lies below is counted and forgotten."""
        found = self.counts(self.start, end)
        done = min(max(end - self.start, 0), len(self._fates))
        del self._fates[:done]
        self.start += done
        return found
