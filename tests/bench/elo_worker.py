"""One Elo worker as a user starts it, seen only through its commands, its metrics and its topics."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.cli.idle import Watcher
from pipeline.settings import load_settings
from pipeline.topics import Topics
from pipeline.wire.avro import decode_record

from .child import Child
from .cluster import Cluster
from .oracle import SEGMENTS, Oracle, compare, compare_changes

READY_WITHIN_S: Final = 120
IDLE_WITHIN_S: Final = 600
POLL_S: Final = 0.1
TIMER_SLACK_MS: Final = 2_000  # a due change is decided within a second of its instant


class EloWorker:
    """A worker process of one deployment, which is its topic prefix, with a data directory of its own."""

    def __init__(
        self, cluster: Cluster, topics: Topics, work: Path, launcher: tuple[str, ...] = ("pipeline",)
    ) -> None:
        """`launcher`: the module that is run, and its arguments before those of the worker's command."""
        self.topics, self._cluster = topics, cluster
        own = {"ELO_BOOTSTRAP": cluster.bootstrap, "ELO_TOPIC_PREFIX": topics.prefix}
        self._environment = {**os.environ, **own}
        self._settings = load_settings({"bootstrap": cluster.bootstrap, "topic_prefix": topics.prefix})
        self._data = work / f"{topics.prefix}data"
        self._log = work / f"{topics.prefix}worker.log"
        self._dump = work / f"{topics.prefix}dump.jsonl"
        self._launcher = launcher
        self._child: Child | None = None

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        self._port = _free_port()
        command = [sys.executable, "-m", *self._launcher, "worker", "--data-dir", str(self._data)]
        self._child = Child(
            "elo worker", [*command, "--web-port", str(self._port)], self._environment, self._log
        )

    @property
    def child(self) -> Child:
        """The process. Raises SystemExit before the first start."""
        if self._child is None:
            raise SystemExit("bench: the worker was not started")
        return self._child

    def stop(self) -> list[str]:
        """Drain and end the process; return what was wrong with its end."""
        code = self._child.stop() if self._child else 0
        return [] if code == 0 else [f"the worker ended with {code}"]

    def wipe(self) -> None:
        """Lose the local state."""
        shutil.rmtree(self._data, ignore_errors=True)

    def run(self, *arguments: str) -> str:
        """Run one `elo` command; return what it printed. Raises SystemExit when it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            env=self._environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(
                f"bench: elo {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout

    def apply(self, definitions: Iterable[Mapping[str, Any]]) -> None:
        """Publish segment definitions, given in their JSON form."""
        self.run("segments", "apply", self._file(definitions))

    def preview(self, definitions: Iterable[Mapping[str, Any]], *options: str) -> tuple[float, Any]:
        """Preview definitions; return how long the command took, s, and its answer."""
        started = time.monotonic()
        answer = self.run("segments", "preview", self._file(definitions), "--json", *options)
        return time.monotonic() - started, json.loads(answer)

    def rehearse(self, policy: Mapping[str, Any]) -> float:
        """Rehearse an identity policy; return how long the command took, s."""
        path = self._log.with_name(f"{self.topics.prefix}identity.yaml")
        path.write_text(json.dumps(policy))  # JSON is YAML
        started = time.monotonic()
        self.run("identity", "rehearse", str(path))
        return round(time.monotonic() - started, 1)

    def _file(self, definitions: Iterable[Mapping[str, Any]]) -> str:
        path = self._log.with_name(f"{self.topics.prefix}segments.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(list(definitions)))  # JSON is YAML
        return str(path)

    def metrics(self) -> dict[str, float]:
        """Each metric of the worker, summed over its labels; empty while it does not answer."""
        self.child.check()
        text = self._ask("metrics")
        found: dict[str, float] = {}
        for line in (text or "").splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                name = name.partition("{")[0]
                found[name] = found.get(name, 0.0) + float(value)
        return found

    def is_ready(self) -> bool:
        """Whether the worker owns its partitions and reads input."""
        return self._ask("readyz") is not None

    def wait_ready(self) -> None:
        """Wait for `/readyz`. Raises SystemExit when it takes too long."""
        deadline = time.time() + READY_WITHIN_S
        while not self.is_ready():
            self.child.check()
            if time.time() > deadline:
                raise SystemExit(
                    f"bench: the worker was not ready within {READY_WITHIN_S} s, see {self._log}"
                )
            time.sleep(POLL_S)

    def _ask(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return None

    def wait_intake(self, n: int) -> None:
        """Wait until all `n` touchpoints are read and committed by the intake. Cheap: one request a poll."""
        places = self._cluster.places(self.topics.touchpoints)
        while sum(item.offset for item in self._cluster.committed(self._settings.group, places).values()) < n:
            self.child.check()
            time.sleep(POLL_S)

    def wait_idle(self) -> float:
        """Wait until everything is consumed and committed; return the start of the look that found it so."""
        watcher = Watcher(self._settings)
        deadline = time.time() + IDLE_WITHIN_S
        try:
            while True:
                self.child.check()
                looked_at = time.time()
                behind, _ = watcher.look()
                if not behind:
                    return looked_at
                if looked_at > deadline:
                    named = ", ".join(entry.sentence(int(looked_at * 1000)) for entry in behind[:3])
                    raise SystemExit(f"bench: still behind after {IDLE_WITHIN_S} s: {named}")
                time.sleep(POLL_S)
        finally:
            watcher.close()

    def differences(self, oracle: Oracle) -> list[str]:
        """Compare what is stored and what was told with the oracle; none when they agree."""
        expected = oracle.profiles()
        from_ms = int(time.time() * 1000) - TIMER_SLACK_MS
        self._write_dump()
        changes = self._net_changes()
        rejected = sum(1 for _ in self._cluster.read_all([self.topics.rejected]))
        to_ms = int(time.time() * 1000)
        found = compare(expected, _read_lines(self._dump), from_ms, to_ms)
        found += compare_changes(expected, changes, from_ms, to_ms)
        if rejected != oracle.rejected:
            found.append(f"{rejected} touchpoints were rejected, expected {oracle.rejected}")
        return found

    def profiles(self) -> list[dict[str, Any]]:
        """Every live profile, as `elo state dump --json` gives it."""
        self._write_dump()
        return list(_read_lines(self._dump))

    def _write_dump(self) -> None:
        with self._dump.open("wb") as file:
            command = [sys.executable, "-m", "pipeline", "state", "dump", "--json"]
            subprocess.run(command, env=self._environment, stdout=file, check=True)

    def _net_changes(self) -> dict[str, int]:
        net = dict.fromkeys(SEGMENTS, 0)
        for message in self._cluster.read_all([self.topics.membership]):
            change = decode_change(message.value() or b"")
            net[change["segment_id"]] += 1 if change["change"] == "entered" else -1
        return net

    def count_differences(self, oracle: Oracle) -> list[str]:
        """Compare the worker's counters with the oracle; it must have run since the first touchpoint."""
        metrics = self.metrics()
        wanted = {
            "elo_touchpoints_total": oracle.taken,
            "elo_duplicates_total": oracle.duplicates,
            "elo_rejected_total": oracle.rejected,
        }
        return [
            f"{name} is {metrics.get(name, 0):.0f}, expected {value}"
            for name, value in wanted.items()
            if metrics.get(name, 0) != value
        ]


def decode_change(value: bytes) -> dict[str, Any]:
    record = decode_record(value)
    if not isinstance(record, dict):
        raise SystemExit(f"bench: a membership change cannot be read: {record}")
    return record


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
