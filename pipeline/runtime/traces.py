"""Whose trace a membership change belongs to: that of the touchpoint which decided it, in W3C's form.

A touchpoint carries the `traceparent` of its context; a change carries it on as a header of its record. Only
what has one costs anything.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from ..core.touch import Touch
from ..core.touchpoint import TRACEPARENT

KEPT_MAX: Final = 10_000
"""Outputs may be held for seconds after their touch; nobody's trace waits longer than so many others."""
LINKS_MAX: Final = 128
"""Traces that the span of a batch links to: as many as the SDK keeps without OTEL_SPAN_LINK_COUNT_LIMIT."""

FLAGS_AT: Final = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0")
SAMPLED: Final = "13579bdf"
"""W3C: the last bit of the flags, the last digit of a `traceparent` that has nothing behind them."""


class Traced:
    """The sampled traces of the touches of one batch, each once, at most `most`.

    `begun_ns`: when it was begun, by the wall clock.
    """

    __slots__ = ("begun_ns", "most", "parents")

    def __init__(self, most: int) -> None:
        self.begun_ns, self.most = time.time_ns(), most
        self.parents: dict[str, None] = {}

    def add(self, traceparent: str) -> None:
        """There is a touch with this trace."""
        if len(self.parents) < self.most and traceparent[FLAGS_AT] in SAMPLED:
            self.parents[traceparent] = None


class Traces:
    """The traces of the touches that a worker has handled last: event id → `traceparent`."""

    def __init__(self, links_max: int = 0) -> None:
        """`links_max`: how many traces of a batch are wanted for its span."""
        self._kept: dict[str, bytes] = {}
        self._links_max = links_max
        self._batch = Traced(0)

    def begin(self) -> Traced:
        """Begin a batch: what is returned gets the traces that are kept from now on."""
        self._batch = Traced(self._links_max)
        return self._batch

    def keep(self, touch: Touch) -> None:
        """Remember the trace of a touch that has one."""
        if len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[touch.event_id] = touch.traceparent.encode()
        self._batch.add(touch.traceparent)

    def headers(self, event_ids: Sequence[str]) -> list[tuple[str, str | bytes | None]]:
        """Headers of a change that was decided by these events: the first trace that is known."""
        for event_id in event_ids if self._kept else ():
            if (parent := self._kept.get(event_id)) is not None:
                return [(TRACEPARENT, parent)]
        return []
