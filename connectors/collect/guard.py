"""HTTP for strangers: uvicorn's protocol with bounds on the time and the size of what they send.

A request must be complete within REQUEST_S, its head must fit HEAD_BYTES_MAX, and there may be only so many
connections. Whoever sends a byte a minute, or a header without end, loses the connection.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_S: Final = 20.0
"""From the first byte of a request to its last, and from a connection to its first request."""
HEAD_BYTES_MAX: Final = 64 * 1024
CONNECTIONS_MAX: Final = 20_000
FILES_SPARED: Final = 200  # for Kafka, the spool and the log
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


def connections_max() -> int:
    """How many connections this process may have, after it has raised its limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + FILES_SPARED
    allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    return (allowed if soft == resource.RLIM_INFINITY else min(soft, wanted)) - FILES_SPARED


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    connections_max = CONNECTIONS_MAX

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._is_in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse one too many at once: it has no request to answer yet."""
        super().connection_made(transport)
        if len(self.connections) > self.connections_max:
            transport.abort()
            return
        self._press()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._relax()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; count a head that is not complete yet. Any byte starts the clock, an empty line too."""
        self._press()
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        """The first byte of a request is here: the rest must follow in time."""
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0
        self._press()

    def on_headers_complete(self) -> None:
        """The head fits."""
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is complete: the answer takes what it takes."""
        self._relax()
        super().on_message_complete()

    def _press(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _relax(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
