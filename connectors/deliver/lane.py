"""The changes of one destination on one partition: what may be sent next, and how far everything is settled.

The changes of a profile go one after the other, each when the one before was settled. What fails is *stored*
on `elo.deliveries`, and all that waits behind it in its profile: from then on it counts as settled for the
offset. Pure: instants are arguments; it must not know how anything is sent or stored.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(eq=False, slots=True)
class Pending:
    """A change on its way. `offset` is that on `segments.membership`; instants are in ms.

    `alone`: it is sent without others, because a request with others was refused. `stored`: `elo.deliveries`
    has a record of it. `redriven`: it was a letter. `traceparent`: its trace, empty without one.
    """

    change: Mapping[str, Any]
    value: bytes
    offset: int
    attempts: int = 0
    failed_at: int = 0
    due_at: int = 0
    alone: bool = False
    stored: bool = False
    redriven: bool = False
    traceparent: str = ""

    @property
    def change_id(self) -> str:
        """The idempotency key."""
        return str(self.change["change_id"])

    @property
    def profile_id(self) -> str:
        """Whose change it is."""
        return str(self.change["profile_id"])


class Watermark:
    """The first offset that is not settled. Offsets come in ascending order and are settled in any."""

    def __init__(self, next_offset: int) -> None:
        self.position = next_offset
        self._open: deque[int] = deque()
        self._settled: set[int] = set()
        self._next = next_offset

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, offset: int) -> None:
        """This offset was read."""
        if not self._open:
            self.position = offset
        self._open.append(offset)
        self._next = offset + 1

    def settle(self, offset: int) -> None:
        """Nothing more is to be done for this offset; one that was not read is left alone."""
        if not self.position <= offset < self._next:
            return
        self._settled.add(offset)
        while self._open and self._open[0] in self._settled:
            self._settled.discard(self._open.popleft())
        self.position = self._open[0] if self._open else self._next
        if not self._open:
            self._settled.clear()


class Lane:
    """Queues by profile. A head that was taken is *in flight* until `done` or `again` is called for it."""

    def __init__(self, partition: int, next_offset: int) -> None:
        self.partition = partition
        self.watermark = Watermark(next_offset)
        self.stored = 0
        self.in_flight: set[Pending] = set()
        self.closed = False
        self._queues: dict[str, list[Pending]] = {}
        self._ids: set[str] = set()
        self._due: list[tuple[int, int, str]] = []  # due_at, offset, profile id; overtaken ones stay

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, pending: Pending) -> list[Pending]:
        """Take a change in. Returns what has to be stored: itself, when a stored one is ahead of it.

        A change that was read again after a restart is left out when a later one of its profile is here: then
        it was settled.
        """
        queue = self._queues.setdefault(pending.profile_id, [])
        if pending.change_id in self._ids or (
            queue and not pending.redriven and pending.offset < queue[-1].offset
        ):
            self.watermark.settle(pending.offset)
            return []
        self._ids.add(pending.change_id)
        self.stored += pending.stored
        start = 1 if queue and queue[0] in self.in_flight else 0
        insort(queue, pending, lo=start, key=_offset_of)
        if queue[0] is pending:
            self._push(pending)
        return [pending] if queue[0].stored and not pending.stored else []

    def take(self, now_ms: int, most: int, *, hurry: bool = False) -> list[Pending]:
        """Up to `most` heads that are due, no two of one profile. `hurry`: due or not."""
        taken: list[Pending] = []
        while self._due and len(taken) < most and (hurry or self._due[0][0] <= now_ms):
            due_at, offset, profile_id = self._due[0]
            queue = self._queues.get(profile_id)
            head = queue[0] if queue else None
            if head is None or head in self.in_flight or (head.due_at, head.offset) != (due_at, offset):
                heapq.heappop(self._due)
                continue
            if head.alone and taken:
                break
            heapq.heappop(self._due)
            self.in_flight.add(head)
            taken.append(head)
            if head.alone:
                break
        return taken

    def next_due(self) -> int | None:
        """The instant at which `take` may find something; None: nothing waits for an instant."""
        return self._due[0][0] if self._due else None

    def hurry(self) -> None:
        """Everything is due now: the destination is back."""
        self._due.clear()
        for queue in self._queues.values():
            if queue[0] not in self.in_flight:
                queue[0].due_at = 0
                self._push(queue[0])

    def done(self, pending: Pending) -> None:
        """It was delivered, or kept as a letter: the next of its profile may go."""
        self.in_flight.discard(pending)
        queue = self._queues[pending.profile_id]
        queue.remove(pending)
        self._ids.discard(pending.change_id)
        self.stored -= pending.stored
        if queue:
            self._push(queue[0])
        else:
            del self._queues[pending.profile_id]

    def again(self, pending: Pending, due_at: int) -> None:
        """It is to be sent once more at an instant."""
        self.in_flight.discard(pending)
        pending.due_at = due_at
        self._push(pending)

    def unstored(self, pending: Pending) -> list[Pending]:
        """What of its profile no record on `elo.deliveries` holds, in order."""
        return [one for one in self._queues[pending.profile_id] if not one.stored]

    def mark_stored(self, pending: Pending) -> None:
        """A record of it is on its way to `elo.deliveries`."""
        if not pending.stored:
            pending.stored = True
            self.stored += 1

    def all(self) -> Iterator[Pending]:
        """Every change that is here."""
        for queue in self._queues.values():
            yield from queue

    def _push(self, pending: Pending) -> None:
        heapq.heappush(self._due, (pending.due_at, pending.offset, pending.profile_id))


def _offset_of(pending: Pending) -> int:
    return pending.offset
