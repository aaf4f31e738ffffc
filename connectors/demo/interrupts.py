"""Ctrl-C and SIGTERM: the first one while the shop is open closes it, any other ends the demo at once."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Handles the signals of the main thread while it is entered.

    `gentle`: whether the next signal only sets `asked`; otherwise it raises KeyboardInterrupt, so that
    whatever was started is cleaned up on the way out.
    """

    def __init__(self) -> None:
        self.gentle = False
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.gentle or self.asked:
            raise KeyboardInterrupt
        self.asked = True
