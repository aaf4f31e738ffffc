"""A destination for tests: a real HTTP server that fails, hangs, answers late or twice as it is told.

It keeps what it has accepted, in order. A request that it hangs on or answers too late was accepted or not,
by chance, as in life.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import web

START_S: Final = 10.0
TWICE: Final = b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares of the requests, by path. `late_s`: longer than the destination's time-out."""

    fail: float = 0.0  # 500, or the connection is cut
    hang: float = 0.0
    late: float = 0.0
    late_s: float = 1.0
    twice: float = 0.0  # two answers to one request
    accept_of_failed: float = 0.3  # so many of those that get no good answer are accepted all the same
    answer: int = 0  # always this status instead
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """One request that was accepted."""

    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return orjson.loads(self.raw)


class Receiver:
    """Listens on a free port from `start` to `stop`. `faults` may be replaced at any time."""

    def __init__(self, seed: int = 0) -> None:
        self.faults: dict[str, Faults] = {}
        self.accepted: list[Request] = []
        self.seen: int = 0
        self.statuses: dict[int, int] = {}
        self.judge: Callable[[Request], int] | None = None
        self._rng = random.Random(seed)
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    def start(self) -> Receiver:
        """Begin to listen."""
        self._thread.start()
        assert self._started.wait(START_S)
        return self

    def stop(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(START_S)

    def url(self, path: str) -> str:
        """The address of one destination."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def of(self, path: str) -> list[Request]:
        """What one destination has accepted, in order."""
        return [one for one in self.accepted if one.path == path]

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/{path}", self._post)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self._started.set()
        await self._end.wait()
        await runner.cleanup()

    async def _post(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        faults = self.faults.get(path, Faults())
        received = Request(path, dict(request.headers), await request.read())
        self.seen += 1
        if faults.answer:
            return web.Response(status=faults.answer, headers=faults.headers)
        if self.judge is not None and (status := self.judge(received)) != 200:
            self.statuses[status] = self.statuses.get(status, 0) + 1
            return web.Response(status=status)
        chance = self._rng.random()
        bad = chance < faults.fail + faults.hang + faults.late
        if not bad or self._rng.random() < faults.accept_of_failed:
            self.accepted.append(received)
        if not bad:
            if self._rng.random() < faults.twice and request.transport is not None:
                request.transport.write(TWICE)
                request.transport.close()
            return web.Response(status=204)
        if chance < faults.fail:
            if self._rng.random() < 0.3 and request.transport is not None:
                request.transport.abort()
            return web.Response(status=self._rng.choice((500, 502, 503, 429)))
        if chance < faults.fail + faults.hang:
            await asyncio.sleep(3600)
        await asyncio.sleep(faults.late_s)
        return web.Response(status=200)
