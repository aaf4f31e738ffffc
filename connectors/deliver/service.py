"""One process of `elo deliver run`: all destinations of the file, health and metrics."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any, Final

import structlog
import uvloop
from aiohttp import web
from confluent_kafka import KafkaException

from pipeline.access import Role
from pipeline.core.errors import AccessDenied, ConfigError
from pipeline.runtime.connect import CONNECT_S, RESTART_S, check_access, connect, denial_of, missing_topic
from pipeline.runtime.control import Control
from pipeline.runtime.health import check_port
from pipeline.runtime.logs import configure_logs
from pipeline.runtime.metrics import exposition
from pipeline.runtime.spans import open_spans
from pipeline.settings import Settings

from . import metrics
from .commands import Command, decode_command, encode_command
from .delivery import Delivery
from .destinations import Destination
from .ledger import Ledger

log = structlog.get_logger()
EXIT_CLEAN: Final = 0
EXIT_FATAL: Final = 3
COMMIT_S: Final = 0.5
MEASURE_S: Final = 5.0
STOP_S: Final = 45.0


def run(settings: Settings, destinations: tuple[Destination, ...]) -> int:
    """Deliver until SIGTERM or SIGINT. Returns the exit code: 0 clean, 3 fatal."""
    configure_logs(settings)
    partitions = check_topics(settings, destinations)
    check_port(settings.web_host, settings.web_port)
    return uvloop.run(Service(settings, destinations, partitions).run())


def check_topics(settings: Settings, destinations: tuple[Destination, ...]) -> int:
    """The partition count.

    Raises: ConfigError when a topic is missing or does not fit, AccessDenied when Kafka does not let us use
        them, Retryable when no broker answers.
    """
    topics = settings.topics()
    admin = connect(settings, RESTART_S)
    found = admin.list_topics(timeout=CONNECT_S).topics
    groups = [settings.deliver_group(one.name) for one in destinations]
    check_access(settings, admin, Role.DELIVER, topics, groups)
    for name in (topics.membership, topics.deliveries, topics.destinations):
        if name not in found:
            raise missing_topic(admin, name)
    partitions = len(found[topics.membership].partitions)
    if len(found[topics.deliveries].partitions) != partitions:
        raise ConfigError(f"{topics.deliveries} and {topics.membership} must have the same partitions, "
                          "make them with `elo topics create`")  # fmt: skip
    return partitions


class Service:
    """The deliveries of one process."""

    def __init__(self, settings: Settings, destinations: tuple[Destination, ...], partitions: int) -> None:
        self.settings, self.destinations, self.partitions = settings, destinations, partitions
        self.deliveries: list[Delivery] = []
        self._failure: BaseException | None = None
        self._stop = asyncio.Event()
        self._said: dict[str, Command] = {}

    async def run(self) -> int:
        """Start everything, wait for a signal or a failure, end in order. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self.control = Control(
            self.settings, self.settings.topics().destinations, decode_command,
            lambda: loop.call_soon_threadsafe(self._commanded),
        )  # fmt: skip
        self.control.start()
        await self.control.wait()
        ledger, spans = Ledger(self.settings, self.fail), open_spans("elo-deliver")
        self._producer = ledger
        self.deliveries = [
            Delivery(self.settings, one, ledger, self.partitions, self._command, self._say, self.fail, spans)
            for one in self.destinations
        ]
        running = [self._watched(one.run()) for one in self.deliveries]
        beside = [self._watched(work) for work in (ledger.serve(), self._commit(), self._measure())]
        runner = await self._serve()
        await self._stop.wait()
        for one in self.deliveries:
            one.stop()
        await asyncio.wait(running, timeout=STOP_S)
        for work in beside:
            work.cancel()
        self.control.stop()
        await runner.cleanup()
        if self._failure is not None:
            log.error("delivery ended", error=str(self._failure) or repr(self._failure))
            if isinstance(self._failure, AccessDenied):
                sys.stderr.write(f"elo: {self._failure}\n")
            return EXIT_FATAL
        return EXIT_CLEAN

    def fail(self, error: BaseException) -> None:
        """End the process. Nothing is lost: what is not committed is read again."""
        if self._failure is None:
            kafka = isinstance(error, KafkaException)
            self._failure = (denial_of(self.settings, error.args[0]) if kafka else None) or error
        self._stop.set()

    def _watched(self, work: Any) -> asyncio.Task[None]:
        async def watch() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is, the process must end
                log.error("fatal, delivery ends", error=str(error), kind=type(error).__name__)
                self.fail(error)

        return asyncio.ensure_future(watch())

    def _command(self, key: str) -> Command | None:
        return self.control.view[1].get(key)

    def _say(self, key: str, command: Command) -> None:
        self._producer.say(self.settings.topics().destinations, key, encode_command(command))

    def _commanded(self) -> None:
        if self.control.failure is not None:
            self.fail(self.control.failure)
        for one in self.deliveries:
            one.commanded()

    async def _commit(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_S)
            for one in self.deliveries:
                one.commit()

    async def _measure(self) -> None:
        while True:
            for one in self.deliveries:
                one.measure()
            await asyncio.sleep(MEASURE_S)

    # -- health -----------------------------------------------------------------------------------------

    async def _serve(self) -> web.AppRunner:
        app = web.Application()
        app.add_routes(
            [
                web.get("/livez", self._live),
                web.get("/readyz", self._ready),
                web.get("/metrics", self._metrics),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        if self.settings.web_port:
            await web.TCPSite(runner, self.settings.web_host, self.settings.web_port).start()
        return runner

    async def _live(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "live"})

    async def _ready(self, request: web.Request) -> web.Response:
        """200 when the group has spoken for every destination and what waits is known."""
        shown, ready = {}, True
        for one in self.deliveries:
            restored = one.started and all(part.restored for part in one.partitions.values())
            ready = ready and restored
            held = sorted({part.held for part in one.partitions.values() if part.held})
            shown[one.name] = {
                "ready": restored,
                "state": one.state.value,
                "breaker": "open" if one.breaker.is_open else "closed",
                "partitions": sorted(one.partitions),
                "backfills": [{"segment": segment, "version": version} for segment, version in held],
            }
        body = {"status": "ready" if ready else "not ready", "destinations": shown}
        return web.json_response(body, status=200 if ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        body, kind = exposition(metrics.REGISTRY, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": kind})
