"""A relay in front of the collector that is a bad network: it answers 503 or 429, or hands over twice."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GZIP = b"\x1f\x8b"


@dataclass
class Line:
    """A relay at work: its address, how many requests came, and how many of them in gzip."""

    host: str = ""
    requests: int = 0
    packed: int = 0


@contextmanager
def relay(port: int, *, refuse: tuple[int, ...] = (), twice: bool = False) -> Iterator[Line]:
    """A relay to `port`.

    `refuse`: statuses of the first answers; the first of those requests is handed over all the same, as when
    only the answer is lost. `twice`: every request is handed over twice.
    """
    left = list(refuse)
    lock = threading.Lock()
    line = Line()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                line.requests += 1
                line.packed += body.startswith(GZIP)
                is_first = len(left) == len(refuse)
                status = left.pop(0) if left else 0
            if status and not is_first:
                self._answer(status, b"{}")
                return
            answer = self._hand_over(body)
            if twice:
                answer = self._hand_over(body)
            self._answer(status or answer[0], answer[1])

        def _hand_over(self, body: bytes) -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            headers = {name: text for name, text in self.headers.items() if name.lower() != "host"}
            connection.request("POST", self.path, body, headers)
            answer = connection.getresponse()
            found = answer.status, answer.read()
            connection.close()
            return found

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            if status in (429, 503):
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        line.host = f"http://127.0.0.1:{server.server_address[1]}"
        yield line
    finally:
        server.shutdown()
        server.server_close()
