"""A partition of one destination: its lane, and what was read and not taken in."""

from __future__ import annotations

from collections import deque
from typing import Final

from confluent_kafka import Message

from .lane import Lane
from .records import Stored

WINDOW: Final = (
    1_000  # changes that were read and are not settled: at most so many are sent again after a crash
)
WAITING_MAX: Final = 100_000  # above, nothing more is read until some were delivered


class Partition:
    """A partition that is ours: its lane, and what was read and not taken in."""

    def __init__(self, number: int, position: int) -> None:
        self.lane = Lane(number, position)
        self.backlog: deque[Message] = deque()
        self.restored = False
        self.found: dict[str, Stored] = {}  # while it is restored
        self.letters: set[str] = set()
        self.paused = False
        self.held: tuple[str, int] | None = None
        self.committed = position

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be taken in now."""
        lane = self.lane
        return not self.restored or len(lane.watermark) >= WINDOW or lane.stored >= WAITING_MAX

    @property
    def is_half_full(self) -> bool:
        """Whether reading should go on later: what the client has fetched is thrown away with each pause."""
        return len(self.lane.watermark) >= WINDOW // 2
