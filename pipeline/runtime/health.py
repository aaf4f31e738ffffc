"""`/livez`, `/readyz`, `/startupz` and `/metrics` of a worker, on an HTTP server of its own port.

Live means that the event loop turns: nothing else makes a restart useful, least of all a long restore.
Started means that the worker was admitted to its group once; it needs no partition for that. Ready means that
every partition that it has is restored and reads.
"""

from __future__ import annotations

import socket
from typing import Any

import orjson
from aiohttp import web

from ..core.errors import ConfigError
from . import metrics


class Health:
    """Answers for one worker."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker

    async def live(self, request: web.Request) -> web.Response:
        """200 as long as the event loop turns."""
        return web.json_response({"status": "live"})

    async def startup(self, request: web.Request) -> web.Response:
        """200 from the moment on at which the group has admitted the worker; 503 before."""
        started = self.worker.is_started()
        return web.json_response(
            {"status": "started" if started else "starting"}, status=200 if started else 503
        )

    async def ready(self, request: web.Request) -> web.Response:
        """200 when every owned partition serves; 503 while one is restored or none was assigned yet."""
        tasks = self.worker.tasks
        states = {
            str(partition): "ready" if task.ready else "restoring"
            for partition, task in sorted(tasks.items())
        }
        ready = bool(states) and all(state == "ready" for state in states.values())
        body = orjson.dumps({"status": "ready" if ready else "not ready", "partitions": states})
        return web.Response(body=body, status=200 if ready else 503, content_type="application/json")

    async def metrics(self, request: web.Request) -> web.Response:
        """Everything that is declared in metrics.py, as the one who asks wants it."""
        body, kind = metrics.exposition(metrics.REGISTRY, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": kind})


def check_port(host: str, port: int) -> None:
    """Raises ConfigError when the port is taken; port 0 means none."""
    if port == 0:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} for metrics and health is taken, choose another with --web-port"
            ) from error


def application(health: Health) -> web.Application:
    """What is answered under which path."""
    app = web.Application()
    app.add_routes(
        [
            web.get("/livez", health.live),
            web.get("/startupz", health.startup),
            web.get("/readyz", health.ready),
            web.get("/metrics", health.metrics),
        ]
    )
    return app


async def serve(health: Health, host: str, port: int) -> None:
    """Start the server; port 0 means none. The port was checked before the worker started."""
    if port == 0:
        return
    runner = web.AppRunner(application(health), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
