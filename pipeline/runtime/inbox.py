"""What a task has been handed and not yet worked off, in order, without holes and without repetition.

A batch that begins above the expected offset shows that one was lost on the way (Faust drops what an older
generation of the group left behind): it is refused, and the reader must go back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Stretch(Protocol):
    """A batch of the transport."""

    topic: str
    records: list[Any]
    position_start: int
    position_end: int
    epoch: int


class Inbox:
    """Records of the two inputs of one partition. Offsets below `expected` are skipped.

    `belongs`: whether a record is for this partition; None: all are.
    """

    def __init__(self, expected: Mapping[str, int], belongs: Callable[[Any], bool] | None = None) -> None:
        self.expected = dict(expected)
        self._belongs = belongs
        self.waiting: dict[str, deque[Any]] = {topic: deque() for topic in expected}
        self.epochs: dict[str, int] = dict.fromkeys(expected, 0)

    def __len__(self) -> int:
        return sum(len(records) for records in self.waiting.values())

    def offer(self, batch: Stretch) -> bool:
        """Take a batch in.

        Returns False if one before it is missing: rewind, and note the epoch in `epochs`.
        """
        if batch.epoch < self.epochs[batch.topic]:
            return True  # It left before the rewind; the same records come again.
        expected = self.expected[batch.topic]
        if batch.position_start > expected:
            return False
        if batch.position_end >= expected:
            records = batch.records
            if batch.position_start < expected:
                records = [record for record in records if record.offset() >= expected]
            if self._belongs is not None:
                records = [record for record in records if self._belongs(record)]
            self.waiting[batch.topic].extend(records)
            self.expected[batch.topic] = batch.position_end
        return True

    def take(self, most: int, topic: str | None = None) -> list[Any]:
        """Up to `most` records in the order of broker time; records of one topic stay in the order of the
        log. `topic`: of this one only.
        """
        queues = [queue for name, queue in self.waiting.items() if queue and topic in (None, name)]
        if len(queues) == 1:
            queue = queues[0]
            return [queue.popleft() for _ in range(min(most, len(queue)))]
        taken: list[Any] = []
        while len(taken) < most:
            queues = [queue for queue in queues if queue]
            if not queues:
                break
            if len(queues) == 1:
                queue = queues[0]
                taken.extend(queue.popleft() for _ in range(min(most - len(taken), len(queue))))
                break
            a, b = queues
            taken.append((a if a[0].timestamp()[1] <= b[0].timestamp()[1] else b).popleft())
        return taken
