"""The process of the collector: settings in, uvicorn with its bounds, a clean end on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Mapping

import structlog
import uvicorn

from pipeline.core.errors import ConfigError
from pipeline.core.policy import Policy
from pipeline.runtime.spans import open_spans
from pipeline.settings import Settings, load_policy

from .app import Collector
from .guard import GuardedProtocol, connections_max
from .outlet import Outlet
from .spool import Spool
from .webhooks import webhooks_of

NAMED: frozenset[str] = frozenset(("user_id", "anonymous_id", "device_id"))
"""Identifiers that have a place of their own in every format; others are looked for among the traits."""
GRACE_S = 30

log = structlog.get_logger()


def run(settings: Settings, keys: Mapping[str, str], read_keys: Callable[[], Mapping[str, str]]) -> int:
    """Serve until SIGTERM or Ctrl-C. SIGHUP: use the keys of `read_keys`. Raises ConfigError."""
    policy = load_policy(settings)
    spool = Spool(settings.data_dir / "collect")
    sys.setswitchinterval(0.001)  # the thread that the broker's answers come on must not wait 5 ms
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings, policy, spool, keys, read_keys))


def check_keys(settings: Settings, keys: Mapping[str, str]) -> None:
    """Raises ConfigError when there is no write key, or one of a source that is not registered."""
    if not keys:
        raise ConfigError("there is no write key, give one with --write-key KEY=SOURCE")
    for source in keys.values():
        if source not in settings.sources:
            known = ", ".join(settings.sources)
            raise ConfigError(f"a write key has {source}, which is not a source, name one of {known}")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


class _Server(uvicorn.Server):
    """Ends on SIGTERM and Ctrl-C with an exit code; uvicorn's own would die by the signal in the end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """While it serves."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def _serve(
    settings: Settings,
    policy: Policy,
    spool: Spool,
    keys: Mapping[str, str],
    read_keys: Callable[[], Mapping[str, str]],
) -> int:
    outlet = Outlet(settings, spool, settings.spool_mb * 1024 * 1024)
    trait_identifiers = tuple(name for name in policy.rules if name not in NAMED)
    topics = settings.topics()
    webhooks = webhooks_of(settings, policy, topics)
    collector = Collector(
        outlet, topics, keys, trait_identifiers, settings.event_bytes_max, webhooks, settings.key_events_s,
        open_spans("elo-collect"),
    )  # fmt: skip

    def reload() -> None:
        try:
            found = read_keys()
            check_keys(settings, found)
        except ConfigError as error:
            log.error("the write keys stay as they are", error=str(error))
        else:
            collector.keys = found
            log.info("write keys are read again", keys=len(found))

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    GuardedProtocol.connections_max = connections_max()
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # strangers must not write our log
    config = uvicorn.Config(
        collector, settings.collect_host, settings.collect_port, http=GuardedProtocol, ws="none",
        lifespan="off", log_config=None, access_log=False, server_header=False, backlog=4096,
        timeout_keep_alive=75, timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip
    server = _Server(config)
    log.info(
        "collecting",
        host=settings.collect_host,
        port=settings.collect_port,
        sources=sorted(set(keys.values())),
    )
    try:
        await server.serve()
    finally:
        await outlet.close()
    return 0 if server.started else 1
