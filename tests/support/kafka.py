"""A real Kafka for the tests: fixtures `kafka`, `topic_prefix`, `own_broker`, and what the run says of it.

`ELO_TEST_BOOTSTRAP` names a broker that is there already. Else a Docker engine that answers runs a
container, else the embedded broker runs: same tests. Under pytest-xdist all workers share one broker; the
first that needs it starts it, and the main process, which outlives the workers, stops it. A watchdog ends
an embedded broker whose pytest was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka.admin import AdminClient

from pipeline.broker import KAFKA_VERSION, EmbeddedBroker
from pipeline.broker.config import BEHAVIOUR
from pipeline.broker.jars import exclusive
from pipeline.broker.progress import OnStream

BOOTSTRAP_VARIABLE: Final = "ELO_TEST_BOOTSTRAP"
IMAGE: Final = "confluentinc/cp-kafka:8.1.1"  # Apache Kafka 4.1.1
CONTAINER_TIMEOUT_S: Final = 120
ENGINE_TIMEOUT_S: Final = 3
REQUEST_TIMEOUT_S: Final = 30
STATE_FILE: Final = "kafka.json"
WORKER_KEY: Final = "elo_kafka_dir"
OWNER_KEY: Final = "elo_kafka_owner"
SHARED_DIR: Final = pytest.StashKey[Path]()
USED: Final = pytest.StashKey["Kafka"]()


@dataclass(frozen=True, slots=True)
class Kafka:
    """The broker of this run. `kind` tells people what it is; `container` is an id or empty."""

    bootstrap: str
    kind: str
    data_dir: str = ""
    container: str = ""

    def stop(self) -> None:
        """End it, and remove what it kept; a broker that was there before is left alone."""
        if self.container:
            import docker

            with contextlib.closing(docker.from_env()) as engine:
                engine.containers.get(self.container).remove(force=True, v=True)
        if self.data_dir:
            EmbeddedBroker(Path(self.data_dir)).stop()
            shutil.rmtree(self.data_dir, ignore_errors=True)


def choose(variables: Mapping[str, str]) -> str:
    """Which kind of broker this run takes: `given`, `container` or `embedded`."""
    if variables.get(BOOTSTRAP_VARIABLE):
        return "given"
    return "container" if engine_answers(variables) else "embedded"


def engine_answers(variables: Mapping[str, str]) -> bool:
    """Whether a Docker engine answers. Without a socket nothing is imported: unit tests start quickly."""
    sockets = [Path("/var/run/docker.sock"), Path.home() / ".docker/run/docker.sock"]
    if "XDG_RUNTIME_DIR" in variables:
        sockets.append(Path(variables["XDG_RUNTIME_DIR"]) / "docker.sock")
    if "DOCKER_HOST" not in variables and not any(path.exists() for path in sockets):
        return False
    import docker
    from docker.errors import DockerException

    try:
        with contextlib.closing(docker.from_env(timeout=ENGINE_TIMEOUT_S)) as engine:
            return bool(engine.ping())
    except (DockerException, OSError):
        return False


def start(owner_pid: int, *, shared: bool) -> Kafka:
    """Start what `choose` says. `owner_pid`: the process with whose end an embedded broker ends too."""
    chosen = choose(os.environ)
    if chosen == "given":
        bootstrap = os.environ[BOOTSTRAP_VARIABLE]
        return Kafka(bootstrap, f"the broker of {BOOTSTRAP_VARIABLE} at {bootstrap}")
    why = ""
    if chosen == "container":
        try:
            return start_container(shared=shared)
        except Exception as error:  # noqa: BLE001  the engine may answer and still have no image or network
            why = f" (the container failed: {type(error).__name__})"
    broker = EmbeddedBroker(
        Path(tempfile.mkdtemp(prefix="elo-kafka-")), owner_pid=owner_pid, report=OnStream()
    )
    broker.start()
    kind = f"embedded Apache Kafka {KAFKA_VERSION} at {broker.bootstrap}{why}"
    return Kafka(broker.bootstrap, kind, data_dir=str(broker.data_dir))


def start_container(*, shared: bool) -> Kafka:
    """Start Kafka with testcontainers, configured as the embedded broker is."""
    from testcontainers.community.kafka import KafkaContainer
    from testcontainers.core.config import testcontainers_config

    # Its reaper follows the process that starts the container, which may end before the other workers do.
    testcontainers_config.ryuk_disabled = shared
    container = KafkaContainer(IMAGE).with_kraft()
    for name, value in BEHAVIOUR.items():
        container.with_env("KAFKA_" + name.upper().replace(".", "_"), str(value))
    try:
        container.start(timeout=CONTAINER_TIMEOUT_S)
    except BaseException:
        container.stop()
        raise
    bootstrap = container.get_bootstrap_server()
    identity = str(container.get_wrapped_container().id)
    return Kafka(bootstrap, f"{IMAGE} in a container at {bootstrap}", container=identity)


def read_state(directory: Path) -> Kafka | None:
    """The broker that the workers of this run share, if one of them has started it."""
    try:
        return Kafka(**json.loads((directory / STATE_FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[Kafka]:
    """A real Kafka broker; tests keep apart by `topic_prefix`."""
    worker: dict[str, Any] | None = getattr(request.config, "workerinput", None)
    if worker is None:
        found = start(os.getpid(), shared=False)
        request.config.stash[USED] = found
        yield found
        found.stop()
        return
    directory = Path(worker[WORKER_KEY])
    with exclusive(directory / "lock"):
        shared = read_state(directory)
        if shared is None:
            shared = start(worker[OWNER_KEY], shared=True)
            (directory / STATE_FILE).write_text(json.dumps(asdict(shared)), encoding="utf-8")
    yield shared


@pytest.fixture
def topic_prefix(request: pytest.FixtureRequest) -> Iterator[str]:
    """A prefix for topics and groups that no other test has; the topics are deleted after the test."""
    found = request.getfixturevalue("kafka") if "kafka" in request.fixturenames else None
    prefix = f"t{uuid.uuid4().hex[:10]}."
    yield prefix
    if found is not None:
        admin = AdminClient({"bootstrap.servers": found.bootstrap, "log_level": 0})
        made = [
            name for name in admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics if name.startswith(prefix)
        ]
        for future in admin.delete_topics(made).values() if made else ():
            future.result(REQUEST_TIMEOUT_S)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """An embedded broker for one test, which may stop, kill and start it. It is not started yet."""
    broker = EmbeddedBroker(tmp_path / "broker", owner_pid=os.getpid(), report=OnStream())
    yield broker
    broker.stop()
    shutil.rmtree(broker.data_dir, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In xdist's main process: tell a worker where the state of the shared broker is, and who owns it."""
    directory = node.config.stash.get(SHARED_DIR, None)
    if directory is None:
        directory = node.config.stash[SHARED_DIR] = Path(tempfile.mkdtemp(prefix="elo-kafka-shared-"))
    node.workerinput[WORKER_KEY] = str(directory)
    node.workerinput[OWNER_KEY] = os.getpid()


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say which broker integration tests will take."""
    if hasattr(config, "workerinput"):
        return None
    names = {
        "given": f"the broker of {BOOTSTRAP_VARIABLE}",
        "container": f"{IMAGE} in a container",
        "embedded": f"embedded Apache Kafka {KAFKA_VERSION} (no Docker engine answers)",
    }
    return f"kafka: {names[choose(os.environ)]}"


def say_kafka(terminalreporter: Any, config: pytest.Config) -> None:
    """Say which broker the tests really took; nothing when none of them needed one."""
    directory = config.stash.get(SHARED_DIR, None)
    used = config.stash.get(USED, None) or (read_state(directory) if directory else None)
    if used is not None:
        terminalreporter.write_line(f"kafka: tests ran on {used.kind}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """In xdist's main process, after the last worker has ended: stop the shared broker."""
    directory = config.stash.get(SHARED_DIR, None)
    if directory is not None:
        shared = read_state(directory)
        if shared is not None:
            shared.stop()
        shutil.rmtree(directory, ignore_errors=True)
