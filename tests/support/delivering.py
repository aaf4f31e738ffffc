"""Delivery under test: changes on `segments.membership`, `elo deliver run` in processes, and what arrived."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import orjson

from pipeline.core.outbox import MembershipChange
from pipeline.wire.records import encode_membership_change
from tests.support.deployment import ROOT, Deployment
from tests.support.fleet import SESSION_MS, _free_port, shortest_session_ms
from tests.support.receiver import Receiver, Request

NOW_MS: Final = 1_760_000_000_000
PARTITIONS: Final = 2
READY_S: Final = 60.0
QUICK: Final = {"timeout": "500ms", "retries": ["50ms", "100ms", "200ms", "500ms", "1s"]}


class Changes:
    """Makes changes whose sequences have no gap per profile and segment, and sends them."""

    def __init__(self, deployment: Deployment, partitions: int = PARTITIONS) -> None:
        self.deployment, self.partitions = deployment, partitions
        self.sequences: dict[tuple[str, str], int] = defaultdict(int)
        self.sent: list[MembershipChange] = []
        self._made = 0

    def make(self, profile: str, segment: str = "a", **fields: Any) -> MembershipChange:
        """The next change of a profile and segment."""
        self._made += 1
        sequence = self.sequences[profile, segment] = self.sequences[profile, segment] + 1
        known: dict[str, Any] = {
            "change_id": f"{profile}-{segment}-{sequence}", "profile_id": profile, "segment_id": segment,
            "segment_version": 1, "change": "entered" if sequence % 2 else "exited", "sequence": sequence,
            "occurred_at": NOW_MS + self._made, "decided_at": NOW_MS + self._made, "cause": "event",
            "identifiers": (f"user_id:{profile}", f"email:{profile}@example.com"),
        }  # fmt: skip
        return MembershipChange(**{**known, **fields})

    def send(self, changes: Iterable[MembershipChange]) -> None:
        """Put them on the topic, a profile always on the same partition."""
        producer = self.deployment.producer
        for change in changes:
            self.sent.append(change)
            key = change.profile_id.encode()
            while True:
                try:
                    producer.produce(
                        self.deployment.prefix + "segments.membership", encode_membership_change(change), key,
                        crc32(key) % self.partitions,
                    )  # fmt: skip
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(30) == 0

    def crowd(self, count: int, profiles: int, seed: int) -> list[MembershipChange]:
        """Many changes of many profiles in two segments."""
        rng = random.Random(seed)
        return [self.make(f"p{rng.randrange(profiles)}", rng.choice("ab")) for _ in range(count)]


class Deliverer:
    """`elo deliver run` in one process after another."""

    def __init__(self, deployment: Deployment, directory: Path, *destinations: dict[str, Any]) -> None:
        self.deployment = deployment
        self.file = directory / "destinations.yaml"
        self.file.write_bytes(orjson.dumps({"destinations": destinations}))
        self.log = directory / "deliver.log"
        self.session_ms = max(SESSION_MS, shortest_session_ms(deployment.bootstrap))
        self.processes: list[tuple[subprocess.Popen[bytes], int]] = []

    def start(self, *, ready: bool = True) -> subprocess.Popen[bytes]:
        """Start one more process."""
        port = _free_port()
        command = [sys.executable, "-m", "tests.support.launch", "deliver", "run"]
        command += ["--destinations", str(self.file), "--web-port", str(port), *self.deployment.options]
        environment = {**os.environ, "ELO_SESSION_TIMEOUT_MS": str(self.session_ms)}
        with self.log.open("ab") as output:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        self.processes.append((process, port))
        if ready:
            self.wait_ready(process, port)
        return process

    def wait_ready(self, process: subprocess.Popen[bytes], port: int) -> None:
        """Wait until the group has spoken and what waits is known."""
        deadline = time.monotonic() + READY_S
        while self.get(port, "readyz")[0] != 200:
            assert process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def get(self, port: int, path: str) -> tuple[int, str]:
        """Ask the newest process, or nobody."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, answer.read().decode()
        except OSError:
            return 0, ""

    def stop(self) -> None:
        """End them in order; each must say that all was well."""
        for process, _ in self.processes:
            if process.poll() is None:
                process.terminate()
                assert process.wait(60) == 0, self.log.read_text()

    def kill(self) -> None:
        """End them whatever they do."""
        for process, _ in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def await_all(receiver: Receiver, path: str, ids: set[str], timeout_s: float, deliverer: Deliverer) -> None:
    """Wait until a destination has accepted all these changes."""
    deadline = time.monotonic() + timeout_s
    missing, looked = set(ids), 0
    while missing:
        # Only what is new: the receiver shares this process, and must not wait for the interpreter.
        fresh = receiver.accepted[looked:]
        looked += len(fresh)
        missing -= {one["change_id"] for one in changes_of(one for one in fresh if one.path == path)}
        assert time.monotonic() < deadline, f"{len(missing)} missing\n{deliverer.log.read_text()[-4000:]}"
        time.sleep(0.1 if missing else 0)


def changes_of(requests: Iterable[Request]) -> list[dict[str, Any]]:
    """The changes of requests in the form of the template `elo`, one or several in each."""
    found: list[dict[str, Any]] = []
    for request in requests:
        body = request.body
        found += [one["data"] for one in body["data"]] if isinstance(body["data"], list) else [body["data"]]
    return found


def assert_in_order(changes: Iterable[dict[str, Any]]) -> int:
    """First arrivals are in order per profile and without gap per segment. Returns how many were repeated."""
    seen: dict[str, dict[str, Any]] = {}
    last: dict[tuple[str, str], int] = defaultdict(int)
    newest: dict[str, int] = defaultdict(int)
    repeated = 0
    for change in changes:
        if change["change_id"] in seen:
            assert seen[change["change_id"]] == change, "a repetition must be the same"
            repeated += 1
            continue
        seen[change["change_id"]] = change
        place = change["profile_id"], change["segment_id"]
        assert change["sequence"] == last[place] + 1, f"gap at {change['change_id']}"
        last[place] = change["sequence"]
        assert change["occurred_at"] > newest[change["profile_id"]], f"overtaken: {change['change_id']}"
        newest[change["profile_id"]] = change["occurred_at"]
    return repeated
