"""A deployment under test: topics of its own, worker processes that may be stopped in every way, Kafka.

A worker is `elo worker` in a process that dies with the test (tests/support/launch.py), with a data directory
that belongs to its name and outlives the process until it is wiped. Whatever a worker wrote is printed when
the test ends, so that pytest shows it beside a failure.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from confluent_kafka import KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from pipeline.cli.app import app
from pipeline.cli.idle import wait_until_idle
from pipeline.cli.kafka import connect, partitions_of, read_to_end
from pipeline.cli.options import run_app
from pipeline.runtime.inspect import state_dump, state_hash
from pipeline.settings import Settings, load_policy, load_settings, read_policy_file
from pipeline.wire.avro import decode_record, encode_touchpoint

from .kafka import Kafka

ROOT: Final = Path(__file__).resolve().parents[2]
IDLE_S: Final = 120.0  # generous: the machine may be busy with other things
READY_S: Final = 90.0
END_S: Final = 60.0
LOOK_S: Final = 0.05
SESSION_MS: Final = 2_000  # how long the group waits for a dead worker, if the broker allows so little
PROFILE_MS: Final = 500  # what a crash leaves unpublished comes so much later, less than `settle` waits
LOG_SHOWN_BYTES: Final = 6_000
KILLED: Final = -signal.SIGKILL


class Worker:
    """One worker process after another under one name: the same data directory, port and log."""

    def __init__(self, name: str, directory: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.data_dir = directory / name
        self.log = directory / f"{name}.log"
        self.port = _free_port()
        self.environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, data_dir: Path | None = None, **variables: object) -> Worker:
        """Start the process; it is not ready yet. `variables`: of the environment, for this process only."""
        assert not self.is_alive(), f"worker {self.name} runs already"
        more = {name: str(value) for name, value in variables.items()}
        if data_dir is not None:
            self.data_dir = data_dir
        command = [sys.executable, "-m", "tests.support.launch", "worker"]
        command += ["--data-dir", str(self.data_dir), "--web-port", str(self.port)]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env={**self.environment, **more}, stdout=output, stderr=output
            )
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started last."""
        assert self._process is not None, f"worker {self.name} was never started"
        return self._process

    def is_alive(self) -> bool:
        """Whether the process runs, stopped or not."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """`kill -9`, and wait for its end."""
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout_s: float = END_S) -> int:
        """SIGTERM; return the exit code."""
        self.process.terminate()
        return self.wait_end(timeout_s)

    def wait_end(self, timeout_s: float = END_S) -> int:
        """Return the exit code once the process has ended by itself."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"worker {self.name} did not end in {timeout_s:.0f} s\n{self.tail()}"
            ) from None

    def pause(self) -> None:
        """SIGSTOP: it stands still, and does not know it."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Lose the local disk."""
        assert not self.is_alive()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def get(self, path: str) -> tuple[int, str]:
        """Ask its web server: status and body; (0, "") while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, answer.read().decode()
        except OSError:
            return 0, ""

    def wait_ready(self, timeout_s: float = READY_S) -> Worker:
        """Wait until it serves the partitions that it owns."""
        deadline = time.monotonic() + timeout_s
        while self.get("readyz")[0] != 200:
            assert self.is_alive(), f"worker {self.name} ended with {self.process.poll()}\n{self.tail()}"
            assert time.monotonic() < deadline, f"worker {self.name} is not ready\n{self.tail()}"
            time.sleep(LOOK_S)
        return self

    def metrics(self) -> dict[str, float]:
        """Each metric, summed over its labels."""
        found: dict[str, float] = {}
        for line in self.get("metrics")[1].splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                name = name.partition("{")[0]
                found[name] = found.get(name, 0.0) + float(value)
        return found

    def tail(self, size: int = LOG_SHOWN_BYTES) -> str:
        """The end of what it wrote."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"--- {self.log.name}\n{text[-size:]}"


class Fleet:
    """One deployment on a broker, with its workers by name."""

    def __init__(self, bootstrap: str, prefix: str, directory: Path, **settings: object) -> None:
        """`settings`: of all workers, by their names in `pipeline.settings`."""
        self.bootstrap, self.prefix, self.directory = bootstrap, prefix, directory
        own: dict[str, object] = {
            "bootstrap": bootstrap,
            "topic_prefix": prefix,
            "profile_interval_ms": PROFILE_MS,
            "session_timeout_ms": max(SESSION_MS, shortest_session_ms(bootstrap)),
            **settings,
        }
        self.settings: Settings = load_settings(own)
        self.topics = self.settings.topics()
        self.environment = {f"ELO_{name.upper()}": str(value) for name, value in own.items()}
        self.workers: dict[str, Worker] = {}
        self.policy = load_policy(self.settings)
        """The identity policy in force in the end."""
        self.producer = Producer(
            {"bootstrap.servers": bootstrap, "linger.ms": 2, "message.max.bytes": 9_000_000}
        )

    # -- commands -------------------------------------------------------------------------------------------

    def elo(self, *arguments: object) -> None:
        """Run a command in this process; it must succeed."""
        options = ("--bootstrap", self.bootstrap, "--topic-prefix", self.prefix)
        assert run_app(app, [*options, *(str(argument) for argument in arguments)]) == 0

    def create_topics(self, partitions: int) -> Fleet:
        """Create all topics."""
        self.elo("topics", "create", "--partitions", partitions)
        return self

    def apply(self, *definitions: Mapping[str, Any]) -> None:
        """Publish segment definitions, given in their JSON form."""
        path = self.directory / "segments.yaml"
        path.write_bytes(orjson.dumps(definitions))  # JSON is YAML
        self.elo("segments", "apply", path)

    def publish(self, document: Mapping[str, Any]) -> None:
        """Publish an identity policy, given in its JSON form; a model that it names lies in the directory."""
        path = self.directory / "identity.yaml"
        path.write_bytes(orjson.dumps(document))
        self.elo("identity", "publish", path, "--by", "ana", "--reason", "a test")
        self.policy = read_policy_file(self.settings, path)[0]

    # -- workers --------------------------------------------------------------------------------------------

    def worker(self, name: str) -> Worker:
        """The worker of a name, made when it is first asked for."""
        if name not in self.workers:
            environment = {**os.environ, **self.environment}
            self.workers[name] = Worker(name, self.directory, environment)
        return self.workers[name]

    def start(self, *names: str, **variables: object) -> list[Worker]:
        """Start workers, and wait until they are ready."""
        started = [self.worker(name).start(**variables) for name in names]
        return [worker.wait_ready() for worker in started]

    def check_alive(self) -> None:
        """Nobody who was started may have ended by itself."""
        for worker in self.workers.values():
            code = worker.process.poll()
            assert code in (None, 0, KILLED), f"worker {worker.name} ended with {code}\n{worker.tail()}"

    def delete_topics(self) -> None:
        """Delete all topics, once no worker runs any more."""
        admin = connect(self.settings)
        made = [name for name in admin.list_topics(timeout=30).topics if name.startswith(self.prefix)]
        for future in admin.delete_topics(made).values() if made else ():
            future.result(30)

    def close(self) -> None:
        """End every process that is left, and print what they wrote."""
        for worker in self.workers.values():
            if worker.is_alive():
                worker.kill()
        for worker in self.workers.values():
            print(worker.tail())

    # -- Kafka ----------------------------------------------------------------------------------------------

    def send(self, touchpoints: Iterable[Mapping[str, Any]], *, flush: bool = True) -> None:
        """Put touchpoints on the topics of their sources, every third as JSON, the others as Avro."""
        for number, touchpoint in enumerate(touchpoints):
            value = orjson.dumps(touchpoint) if number % 3 == 0 else encode_touchpoint(touchpoint)
            self.send_raw(str(touchpoint["source"]), value)
        if flush:
            assert self.producer.flush(60) == 0

    def send_raw(self, source: str, value: bytes | None, key: bytes | None = None, **more: Any) -> None:
        """Hand one value to the producer."""
        topic = f"{self.prefix}touchpoints.{source}"
        while True:
            try:
                self.producer.produce(topic, value, key, **more)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)

    def wait_idle(self, timeout_s: float = IDLE_S) -> None:
        """Wait until everything that was sent has had its effect."""
        behind = wait_until_idle(self.settings, timeout_s)
        tails = "\n".join(worker.tail() for worker in self.workers.values()) if behind else ""
        now_ms = time.time_ns() // 1_000_000
        assert not behind, f"still behind: {', '.join(one.sentence(now_ms) for one in behind)}\n{tails}"

    def read(self, topic: str) -> list[Message]:
        """Everything committed on a topic, each partition in its order."""
        name = self.prefix + topic
        numbers = partitions_of(connect(self.settings), [name])[name]
        found = list(read_to_end(self.settings, name, numbers))
        return sorted(found, key=lambda message: (message.partition() or 0, message.offset() or 0))

    def records(self, topic: str) -> list[dict[str, Any]]:
        """The Avro records of an output topic; tombstones are left out."""
        return [decode(message.value()) for message in self.read(topic) if message.value() is not None]

    def compacted(self, topic: str) -> dict[str, dict[str, Any]]:
        """What a reader of a compacted topic ends up with: key → newest record, none for a tombstone."""
        newest = {(message.key() or b"").decode(): message.value() for message in self.read(topic)}
        return {key: decode(value) for key, value in newest.items() if value is not None}

    def dump(self) -> list[dict[str, Any]]:
        """The lines of `elo state dump`."""
        return list(state_dump(self.settings))

    def hash(self) -> str:
        """`elo state hash`."""
        return state_hash(self.settings)


MakeFleet = Callable[..., Fleet]


@pytest.fixture
def make_fleet(kafka: Kafka, topic_prefix: str, tmp_path: Path) -> Iterator[MakeFleet]:
    """Makes deployments whose workers have the given settings; their processes end with the test."""
    made: list[Fleet] = []

    def make(**settings: object) -> Fleet:
        prefix = f"{topic_prefix}{len(made)}." if made else topic_prefix
        directory = tmp_path / f"fleet-{len(made)}"
        directory.mkdir()
        made.append(Fleet(kafka.bootstrap, prefix, directory, **settings))
        return made[-1]

    yield make
    for fleet in made:
        fleet.close()


def decode(value: bytes | None) -> dict[str, Any]:
    """An Avro value of ours as plain data."""
    record = decode_record(value or b"")
    assert isinstance(record, dict), record
    return record


def shortest_session_ms(bootstrap: str) -> int:
    """The shortest session timeout that the broker lets a group member have.

    Asked again for a while: brokers that were just started do not all know each other.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    deadline = time.monotonic() + READY_S
    while True:
        try:
            broker = next(iter(admin.list_topics(timeout=30).brokers))
            resource = ConfigResource(ResourceType.BROKER, str(broker))
            described = admin.describe_configs([resource], request_timeout=30)[resource].result()
            return int(described["group.min.session.timeout.ms"].value)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOOK_S)


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = READY_S) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(LOOK_S)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
