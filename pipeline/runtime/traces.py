"""Whose trace a membership change belongs to: that of the touchpoint which decided it, in W3C's form.

A touchpoint carries the `traceparent` of its context; a change carries it on as a header of its record. Only
what has one costs anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..core.touch import Touch

KEPT_MAX: Final = 10_000
"""Outputs may be held for seconds after their touch; nobody's trace waits longer than so many others."""
HEADER: Final = "traceparent"


class Traces:
    """The traces of the touches that a worker has handled last: event id → `traceparent`."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def keep(self, touch: Touch) -> None:
        """Remember the trace of a touch that has one."""
        if len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[touch.event_id] = touch.traceparent.encode()

    def headers(self, event_ids: Sequence[str]) -> list[tuple[str, str | bytes | None]]:
        """Headers of a change that was decided by these events: the first trace that is known."""
        for event_id in event_ids if self._kept else ():
            if (parent := self._kept.get(event_id)) is not None:
                return [(HEADER, parent)]
        return []
