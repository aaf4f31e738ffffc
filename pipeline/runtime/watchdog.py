"""Ends a worker that stands still. One that hangs is worse than one that is gone: nobody takes over from it.

What may hang says when it begins and when it ends; the event loop begins anew every second. A thread counts
the seconds of each. It counts its own looks, not the clock, so a process that was stopped from outside, or a
machine that slept, does not look like one that hangs. If the interpreter itself stands still, for a call into
C keeps its lock, that thread stands still as well: then `faulthandler` ends the process from C.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger()

LOOK_S: Final = 1.0
BACKSTOP_S: Final = 10.0
"""How much later than the limit the process is ended from C: the thread comes first where it can."""
SAY_S: Final = 5.0  # whoever reads the log may hang as well
EXIT_STUCK: Final = 3


class Watchdog:
    """Watches one process. `limit_s`: whatever takes longer, hangs. `end`: called with the exit code."""

    def __init__(self, limit_s: float, end: Callable[[int], None] = os._exit) -> None:
        self.limit_s = limit_s
        self._end = end
        self._under_way: dict[str, list[float]] = {}
        self._stopping = threading.Event()

    def begin(self, what: str) -> None:
        """Something begins that must end, or begin anew, within the limit. May be called on any thread."""
        self._under_way[what] = [0.0]

    def end(self, what: str) -> None:
        """It has ended."""
        self._under_way.pop(what, None)

    def start(self) -> None:
        """Watch from now on, until the process ends."""
        self._set_backstop()
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopping.set()

    def look(self) -> None:
        """Another second has passed."""
        for what, seconds in list(self._under_way.items()):
            seconds[0] += LOOK_S
            if seconds[0] > self.limit_s:
                self._bite(what)

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            self._set_backstop()
            self.look()
        faulthandler.cancel_dump_traceback_later()

    def _set_backstop(self) -> None:
        faulthandler.dump_traceback_later(self.limit_s + BACKSTOP_S, exit=True)

    def _bite(self, what: str) -> None:
        saying = threading.Thread(target=self._say, args=(what,), daemon=True)
        saying.start()
        saying.join(SAY_S)
        self._end(EXIT_STUCK)

    def _say(self, what: str) -> None:
        log.error("the worker hangs, it ends", what=what, seconds=round(self.limit_s), stacks=stacks())
        sys.stderr.flush()


def stacks() -> dict[str, list[str]]:
    """Where every thread is: its name → its calls, the innermost last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    found = {}
    for ident, frame in sys._current_frames().items():
        calls = traceback.extract_stack(frame)
        found[names.get(ident, str(ident))] = [f"{one.filename}:{one.lineno} {one.name}" for one in calls]
    return found
