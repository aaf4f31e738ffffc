"""Progress of a download on standard error: a bar on a terminal, a line each quarter elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

LINES_PER_DOWNLOAD: Final = 4


class Silent:
    """Says nothing."""

    def say(self, text: str) -> None:
        """Drop the line."""

    @contextmanager
    def downloading(self, _title: str, _total_bytes: int) -> Iterator[Callable[[int], None]]:
        """Show nothing."""
        yield lambda _size: None


class OnStream:
    """Writes to a text stream, by default to standard error."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    @property
    def stream(self) -> TextIO:
        """Where lines go; standard error as it is now, not as it was at the import."""
        return self._stream or sys.stderr

    def say(self, text: str) -> None:
        """Write one line."""
        self.stream.write(text + "\n")
        self.stream.flush()

    @contextmanager
    def downloading(self, title: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        """Show how much of `total_bytes` has arrived."""
        if self.stream.isatty():
            with self._bar(title, total_bytes) as advance:
                yield advance
        else:
            yield self._lines(title, total_bytes)

    @contextmanager
    def _bar(self, title: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=Console(file=self.stream)) as progress:
            task = progress.add_task(title, total=total_bytes)
            yield lambda size: progress.advance(task, size)

    def _lines(self, title: str, total_bytes: int) -> Callable[[int], None]:
        lock = threading.Lock()
        arrived_bytes, quarters_said = 0, 0

        def advance(size: int) -> None:
            nonlocal arrived_bytes, quarters_said
            with lock:
                arrived_bytes += size
                quarters = arrived_bytes * LINES_PER_DOWNLOAD // max(total_bytes, 1)
                if quarters > quarters_said:
                    quarters_said = quarters
                    self.say(f"{title}: {arrived_bytes / 1e6:.0f} of {total_bytes / 1e6:.0f} MB")

        return advance
