"""Brings committed state of one partition to the disk, every few seconds and beside the work.

A crash in between only makes the next replay longer. A disk that fails stops the worker at the next look.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any, Final

from . import metrics
from .crashpoints import reach
from .environment import wall_ms
from .measures import Measures
from .opening import Partition
from .watchdog import Watchdog

PENDING_MAX: Final = 20_000  # records of a partition that wait; more are written before the interval is over
TURNS: Final = 8  # partitions begin their intervals one after the other, so that they do not write at once


class Flusher:
    """The write-behind of one open partition. All methods run on the event loop's thread."""

    def __init__(
        self,
        partition: Partition,
        number: int,
        touches: str,
        interval_ms: int,
        in_thread: Callable[..., Awaitable[Any]],
        measures: Measures,
        changelog_next: Callable[[], int],
        watchdog: Watchdog,
    ) -> None:
        self._partition = partition
        self._touches = touches
        self._interval_s = interval_ms / 1000
        self._in_thread = in_thread
        self._measures = measures
        self._changelog_next = changelog_next
        self._watchdog = watchdog
        self._name = f"write of partition {number}"
        self._flushed_at = time.monotonic() + self._interval_s * (number % TURNS) / TURNS
        self._running: asyncio.Future[None] | None = None

    def maybe(self, offsets: dict[str, int]) -> None:
        """Start a flush if the interval is over, or if much waits. `offsets`: what is committed.

        Not to be called while a transaction commits: the changelog position must fit what is pending.
        """
        if self._running is not None and self._running.done():
            self._running.result()
            self._running = None
        now_s = time.monotonic()
        store = self._partition.store
        is_due = now_s - self._flushed_at >= self._interval_s or len(store.pending) > PENDING_MAX
        if self._running is not None or not is_due or not store.pending:
            return
        self._flushed_at = now_s
        self._running = asyncio.ensure_future(self._begin(offsets))

    async def all(self, offsets: dict[str, int]) -> None:
        """Everything committed is on disk when this returns. Not to be called while a transaction commits."""
        if self._running is not None:
            await self._running
            self._running = None
        await self._begin(offsets)

    def _begin(self, offsets: dict[str, int]) -> Awaitable[None]:
        """Set aside what is pending with its position, now; write it on a thread."""
        partition = self._partition
        position = partition.position
        position.state_next = max(position.state_next, self._changelog_next())
        position.touches_next = max(position.touches_next, offsets[self._touches])
        position.at_ms = wall_ms()
        partition.store.begin_flush(partition.outputs.unpublished)
        return self._write(copy(position))

    async def _write(self, position: Any) -> None:
        reach("flush.begun")
        begun_at = time.monotonic()
        self._watchdog.begin(self._name)
        try:
            await self._in_thread(self._partition.store.flush, position)
        finally:
            self._watchdog.end(self._name)
        metrics.FLUSH_SECONDS.observe(time.monotonic() - begun_at)
        reach("flush.written")
        self._partition.store.end_flush()
        self._measures.flushed(self._partition.store)
