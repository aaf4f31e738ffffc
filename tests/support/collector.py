"""A collector process under test, and senders that behave as SDKs do: in order, again until it is taken."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

import orjson

from tests.support.fleet import ROOT, Fleet, Worker, decode

KEY: Final = "wk"
ANSWER_S: Final = 30.0
RETRY_S: Final = 0.1


class CollectorProcess(Worker):
    """`elo collect` in a process that dies with the test; killed, paused and started again as a worker is."""

    def start(self, data_dir: Path | None = None, **variables: object) -> CollectorProcess:
        """Start the process; it is not ready yet."""
        assert not self.is_alive()
        more = {name: str(value) for name, value in variables.items()}
        command = [sys.executable, "-m", "tests.support.launch", "collect", "--port", str(self.port)]
        command += ["--write-key", f"{KEY}=web", "--data-dir", str(data_dir or self.data_dir)]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env={**self.environment, **more}, stdout=output, stderr=output
            )
        return self


def make_collector(fleet: Fleet, name: str = "collector", **settings: object) -> CollectorProcess:
    """A collector of a deployment, ready; its process ends with the fleet."""
    import os

    own = {f"ELO_{setting.upper()}": str(value) for setting, value in settings.items()}
    collector = CollectorProcess(name, fleet.directory, {**os.environ, **fleet.environment, **own})
    fleet.workers[name] = collector
    collector.start().wait_ready()
    return collector


class Sender(threading.Thread):
    """One producer: sends batches of its events one after the other, each until it is answered with 200."""

    def __init__(self, port: int, name: str, batch: int = 10) -> None:
        super().__init__(daemon=True)
        self.port, self.sender, self.batch = port, name, batch
        self.acknowledged: list[str] = []
        self.statuses: dict[int, int] = {}
        self.slowest_s = 0.0
        self._stopped = threading.Event()

    def run(self) -> None:
        """Send until `finish`; what is being sent then is sent to its end."""
        number = 0
        while not self._stopped.is_set():
            ids = [f"{self.sender}-{number + step:06}" for step in range(self.batch)]
            number += self.batch
            items = [
                {"type": "track", "event": "Seen", "userId": self.sender, "messageId": one} for one in ids
            ]
            body = orjson.dumps({"batch": items, "writeKey": KEY})
            while (status := self._post(body)) != 200:
                time.sleep(RETRY_S)
                self.statuses[status] = self.statuses.get(status, 0) + 1
            self.acknowledged += ids

    def finish(self) -> None:
        """Stop, and wait for the last answer."""
        self._stopped.set()
        self.join(60)
        assert not self.is_alive()

    def _post(self, body: bytes) -> int:
        """The status of one request; 0 when there was no answer."""
        begun_s = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", "/v1/batch", body)
            status = connection.getresponse().status
            self.slowest_s = max(self.slowest_s, time.monotonic() - begun_s)
            return status
        return 0


def check_arrived(fleet: Fleet, senders: list[Sender]) -> int:
    """Everything acknowledged is there, each sender's events in their order. Returns how many came twice."""
    seen: dict[str, list[str]] = {sender.sender: [] for sender in senders}
    first: set[str] = set()
    repeated = 0
    for message in fleet.read("touchpoints.web"):
        event: Any = decode(message.value())
        if event["event_id"] in first:
            repeated += 1
            continue
        first.add(event["event_id"])
        seen[event["identifiers"][0]["value"]].append(event["event_id"])
    for sender in senders:
        assert set(sender.acknowledged) - set(seen[sender.sender]) == set(), "acknowledged and lost"
        assert seen[sender.sender] == sorted(seen[sender.sender]), "out of order"
        assert sender.acknowledged, sender.statuses
    return repeated
