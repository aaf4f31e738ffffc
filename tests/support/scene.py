"""A whole deployment under watch: broker, two workers, collector, delivery, reconciliation; Prometheus with
the shipped rules, every duration shortened, Alertmanager with the shipped routes, and a pager.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import orjson

from pipeline.broker import EmbeddedBroker
from pipeline.broker.progress import OnStream
from tests.support.collector import KEY, make_collector
from tests.support.delivering import QUICK, Deliverer
from tests.support.fleet import ROOT, Fleet, Worker, wait_for
from tests.support.generated import load
from tests.support.monitoring import Alertmanager, Pager, Prometheus
from tests.support.receiver import Receiver

FASTER: Final = 120
"""What durations of the rules are divided by: 5 minutes are 2.5 s, the 6 hours of a slow window 3 minutes."""
SCRAPE: Final = "500ms"
PARTITIONS: Final = 4
SESSION_MS: Final = 60_000  # longer than a worker stands still in the drill of that
FIRE_S: Final = 60.0
FEED_S: Final = 0.25
PATIENT: Final = {"timeout": "500ms", "retries": ["1s"] * 60}
SEGMENTS: Final = (
    {"id": "seen", "where": {"event": "product_viewed", "within": "1h"}},
    {"id": "just-now", "where": {"event": "product_viewed", "within": "5s"}},
)


class Follower(Worker):
    """`elo reconcile --follow` in a process that dies with the test."""

    def start(self, data_dir: Path | None = None, **variables: object) -> Follower:
        """Start it; it is ready when it answers."""
        command = [sys.executable, "-m", "tests.support.launch", "reconcile", "--follow"]
        command += ["--since", "1m", "--web-port", str(self.port)]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=output, stderr=output
            )
        return self


class Scene:
    """All of it. People come and go until it is closed; `drill` says what an alert does."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._closing = contextlib.ExitStack()
        self.hold = directory / "hold"
        self.hold.mkdir()
        self.fired: set[tuple[str, str]] = set()
        self.feeding = threading.Event()
        self._closed = threading.Event()

    def open(self) -> None:
        """Start everything, and wait until it is scraped."""
        directory = self.directory
        self.broker = EmbeddedBroker(directory / "broker", owner_pid=os.getpid(), report=OnStream())
        self._closing.callback(self.broker.stop)
        self.broker.start()
        self.fleet = Fleet(self.broker.bootstrap, "drill.", directory, session_timeout_ms=SESSION_MS,
                           flush_interval_ms=500, spool_mb=1)  # fmt: skip
        self._closing.callback(self.fleet.close)
        self.fleet.create_topics(PARTITIONS).apply(*SEGMENTS)
        self.a, self.b = self.fleet.start("a", "b", **self.sabotage)
        self.collector = make_collector(self.fleet)
        self.receiver = Receiver().start()
        self._closing.callback(self.receiver.stop)
        options = ("--bootstrap", self.fleet.bootstrap, "--topic-prefix", self.fleet.prefix)
        deployment: Any = SimpleNamespace(bootstrap=self.fleet.bootstrap, options=options)
        self.deliverer = Deliverer(
            deployment, directory,
            {"name": "late", "url": self.receiver.url("late"), **PATIENT},
            *({"name": name, "url": self.receiver.url(name), **QUICK} for name in ("gone", "strict")),
        )  # fmt: skip
        self._closing.callback(self.deliverer.kill)
        self.deliverer.start()
        self.follower = Follower("follower", directory, {**os.environ, **self.fleet.environment})
        self.fleet.workers["follower"] = self.follower
        self.follower.start()
        wait_for(lambda: self.follower.get("metrics")[0] == 200, "the reconciliation answers")
        self._watch()
        self.feeding.set()
        threading.Thread(target=self._feed, daemon=True).start()

    @property
    def sabotage(self) -> dict[str, object]:
        """What the workers are told; without it they are as shipped."""
        return {
            "ELO_COMPILED": 0,
            "ELO_TEST_POISON": "intake",
            "ELO_TEST_LOSE": 1,
            "ELO_TEST_HOLD": self.hold,
        }

    def _watch(self) -> None:
        rules = self.directory / "elo.rules.yml"
        rules.write_text(load("deploy/prometheus/rules.py").render(FASTER), "utf-8")
        self.pager = Pager()
        self._closing.callback(self.pager.stop)
        self.alertmanager = Alertmanager(self.directory, self.pager)
        self._closing.callback(self.alertmanager.stop)
        jobs = {
            "worker": [self.a.port, self.b.port],
            "collect": [self.collector.port],
            "deliver": [self.deliverer.processes[0][1]],
            "reconcile": [self.follower.port],
        }
        self.prometheus = Prometheus(self.directory, jobs, rules=rules, interval=SCRAPE,
                                     alertmanager=self.alertmanager.port)  # fmt: skip
        self._closing.callback(self.prometheus.stop)
        wait_for(lambda: self.prometheus.has_data("sum(up) == 5"), "everything is scraped", FIRE_S)

    # -- people ---------------------------------------------------------------------------------------------

    def _feed(self) -> None:
        number = 0
        while not self._closed.wait(FEED_S):
            if self.feeding.is_set():
                number += 1
                self.send([self.touchpoint(f"feed-{number}-{one}") for one in range(5)])
                self.post(f"collected-{number}")

    def touchpoint(self, name: str, **fields: Any) -> dict[str, Any]:
        """Somebody new looks at a product."""
        return {
            "event_id": name, "source": "web", "type": "product_viewed",
            "occurred_at": time.time_ns() // 1_000_000,
            "identifiers": [{"type": "user_id", "value": name}], **fields,
        }  # fmt: skip

    def send(self, touchpoints: list[dict[str, Any]]) -> None:
        """Send, whether a broker is there or not."""
        self.fleet.send(touchpoints, flush=False)

    def post(self, name: str, size: int = 0) -> int:
        """One event for the collector, with a property of so many characters. Returns the status, 0: none."""
        item = {"type": "track", "event": "Seen", "userId": name, "messageId": name,
                "properties": {"text": "x" * size}}  # fmt: skip
        body = orjson.dumps({"batch": [item], "writeKey": KEY})
        url = f"http://127.0.0.1:{self.collector.port}/v1/batch"
        try:
            with urllib.request.urlopen(url, body, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code
        except OSError:
            return 0

    # -- alerts ---------------------------------------------------------------------------------------------

    def fires(
        self, name: str, severity: str, again: Callable[[], Any] = lambda: None, timeout_s: float = FIRE_S
    ) -> None:
        """Wait until an alert has come to the pager by its route; until then `again` is done each moment."""
        deadline = time.monotonic() + timeout_s
        while self.pager.last(name, severity) != "firing":
            assert time.monotonic() < deadline, f"{name} does not fire\n{self.pager.notices}"
            again()
            time.sleep(0.1)
        self.pager.wait(name, severity, "firing", 1)
        self.fired.add((name, severity))

    def resolves(self, name: str, severity: str, timeout_s: float) -> None:
        """Wait until the pager is told that it is over."""
        wait_for(lambda: self.pager.last(name, severity) == "resolved", f"{name} is resolved", timeout_s)

    def has(self, query: str) -> None:
        """Wait until a query has data."""
        wait_for(lambda: self.prometheus.has_data(query), query, 10)

    def close(self) -> None:
        """End what was started, the last first."""
        self._closed.set()
        self._closing.close()


@contextlib.contextmanager
def open_scene(directory: Path) -> Iterator[Scene]:
    """A scene that is closed whatever happens."""
    scene = Scene(directory)
    try:
        scene.open()
        yield scene
    finally:
        scene.close()
