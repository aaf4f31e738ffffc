"""The reading state of one assigned partition: backlog, chain of batches, what Faust has and has finished.

Pure bookkeeping, no client and no clock: the consumer feeds it and asks it. It must not know about groups.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from faust.types.tuples import TP

from .batch import Batch

RECORD_BYTES: Final = 512
"""Memory of a record besides its value: objects of Python and librdkafka, about."""
UNKNOWN: Final = -1
"""A position that is not known before the first record or the first end of partition."""
STALE: Final = -1
"""Generation given to a message that must not reach an agent any more: Faust drops it by itself."""


def memory(records: list[Any]) -> int:
    """Return about how many bytes `records` keep in memory."""
    return sum(map(len, records)) + RECORD_BYTES * len(records)


class Partition:
    """One partition from assignment to revocation."""

    __slots__ = (
        "_bytes",
        "_end_news",
        "_received_ms",
        "_records",
        "acked",
        "begun",
        "committed",
        "ended_ms",
        "epoch",
        "handed",
        "paused",
        "position",
        "seek_to",
        "throttled",
        "tp",
        "unacked",
    )

    def __init__(self, tp: TP, begun: bool) -> None:
        """Start without a position; `begun` is False for a held partition that waits for its first offset."""
        self.tp = tp
        self.begun = begun
        self.epoch = 0
        """How often this partition was rewound."""
        self.paused = False
        """Paused by a task: nothing is handed over."""
        self.throttled = False
        """Paused in the client because the backlog is full."""
        self.seek_to: int | None = None
        """A seek that the client has not carried out yet: until then its records are of the old position."""
        self.position = UNKNOWN
        """Next offset expected from the client."""
        self.handed = UNKNOWN
        """`position_end` of the last batch handed over, which is the `position_start` of the next one."""
        self.ended_ms: int | None = None
        """When the end was last seen, None if records came since."""
        self.acked = UNKNOWN
        """Position below which every batch is acknowledged."""
        self.committed = UNKNOWN
        """Position last committed by this consumer."""
        self.unacked: deque[Any] = deque()
        """Faust messages handed over and not yet acknowledged, oldest first; `value` is the Batch."""
        self._records: list[Any] = []
        self._bytes = 0
        self._received_ms = 0
        self._end_news = True

    @property
    def backlog_records(self) -> int:
        """Records read and not yet handed over."""
        return len(self._records)

    @property
    def backlog_bytes(self) -> int:
        """Memory of these records, about."""
        return self._bytes

    @property
    def has_news(self) -> bool:
        """True if `take` would return a batch, now or when the end is old enough."""
        return bool(self._records) or (self._end_news and self.ended_ms is not None)

    def start_at(self, offset: int) -> None:
        """Forget what was read and expect `offset` next. Batches with Faust become stale.

        An agent that already has one of them goes on with it; its acknowledgement no longer counts.
        """
        for message in self.unacked:
            message.generation_id = STALE
        self.unacked.clear()
        self._records = []
        self._bytes = 0
        self.position = self.handed = offset if offset >= 0 else UNKNOWN
        self.acked = UNKNOWN
        self.ended_ms = None
        self._end_news = True

    def add(self, records: list[Any], now_ms: int) -> None:
        """Append the records of one poll: not empty, offsets increasing."""
        if not self._records:
            self._received_ms = now_ms
            if self.handed == UNKNOWN:
                self.handed = records[0].offset()
            self._records = records
        else:
            self._records.extend(records)
        self._bytes += memory(records)
        self.position = records[-1].offset() + 1
        self.ended_ms = None
        self._end_news = True

    def end(self, offset: int, now_ms: int) -> None:
        """Note that `offset` is the end of the partition: nothing was left to read at `now_ms`."""
        self.position = max(self.position, offset)
        if self.handed == UNKNOWN:
            self.handed = offset
        self.ended_ms = now_ms

    def take(self, records_max: int, end_before_ms: int) -> Batch | None:
        """Return the next batch of at most `records_max` records, None if there is nothing to hand over.

        A batch without records is made only of an end seen at `end_before_ms` or earlier.
        The end is told once: with the last records or, when it came after them, by a batch without records.
        A further end behind transaction markers only is not told; the next batch covers the markers.
        """
        records, start = self._records, self.handed
        if not records and (not self._end_news or self.ended_ms is None or self.ended_ms > end_before_ms):
            return None
        if len(records) <= records_max:
            self._records, self._bytes = [], 0
            end, ended_ms = self.position, self.ended_ms
            self._end_news = ended_ms is None
        else:
            self._records, records = records[records_max:], records[:records_max]
            self._bytes -= memory(records)
            end, ended_ms = records[-1].offset() + 1, None
        received_ms = self._received_ms if records or ended_ms is None else ended_ms
        self.handed = end
        return Batch(self.tp.topic, self.tp.partition, records, start, end, ended_ms, received_ms, self.epoch)

    def put_back(self) -> tuple[int, int]:
        """Take back the batches that Faust has dropped, so that they are handed over again, in order.

        Called after Faust has emptied its queues. A batch that no agent has taken (`tracked`) is dropped for
        good; with it goes every later one. Returns: batches and records taken back.
        """
        unacked = self.unacked
        first = next((i for i, message in enumerate(unacked) if not message.tracked), None)
        if first is None:
            return 0, 0
        dropped: list[Any] = []
        while len(unacked) > first:
            message = unacked.pop()
            message.generation_id = STALE
            dropped.append(message.value)
        dropped.reverse()
        records = [record for batch in dropped for record in batch.records]
        if records:
            self._received_ms = dropped[0].received_ms
        self._records = records + self._records
        self._bytes += memory(records)
        self.handed = dropped[0].position_start
        self._end_news = True
        return len(dropped), len(records)

    def busy(self) -> bool:
        """True if an agent has taken a batch and not finished it."""
        return any(message.tracked and not message.acked for message in self.unacked)

    def freeze(self) -> None:
        """Let no acknowledgement count any more but those already given.

        Used when agents are about to be cancelled.
        """
        self.settle()
        self.unacked.clear()

    def settle(self) -> int:
        """Drop acknowledged batches from the head of the queue; return how many are still with Faust."""
        unacked = self.unacked
        while unacked and unacked[0].acked:
            self.acked = unacked.popleft().value.position_end
        return len(unacked)
