"""Processes, ports and log files as the embedded broker needs them. It must not know what Kafka is.

A pid alone proves nothing: pids are used again. A process is ours when it started at the recorded moment and
carries the expected argument.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil

TAIL_BYTES_MAX: Final = 64 * 1024
CREATED_TOLERANCE_S: Final = 0.05  # the kernel counts in ticks of 10 ms
FOREIGN_JVM_VARIABLES: Final = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH")


@dataclass(frozen=True, slots=True)
class PidRecord:
    """What the pid file of a broker says. `created_s`: start of the process in seconds since the epoch."""

    pid: int
    created_s: float
    port: int
    controller_port: int


def write_record(path: Path, record: PidRecord) -> None:
    """Replace the pid file in one step."""
    replace_text(path, json.dumps(asdict(record)) + "\n")


def read_record(path: Path) -> PidRecord | None:
    """Return the pid file's content; None when there is none or it is damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return PidRecord(
            int(values["pid"]),
            float(values["created_s"]),
            int(values["port"]),
            int(values["controller_port"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def replace_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new text, never half of one."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def find_process(record: PidRecord, argument: str) -> psutil.Process | None:
    """Return the live process of the record; None when it has ended or its pid is another program's now."""
    try:
        process = psutil.Process(record.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        same = abs(process.create_time() - record.created_s) <= CREATED_TOLERANCE_S
        return process if same and argument in process.cmdline() else None
    except psutil.Error:
        return None


def end_process(process: psutil.Process, grace_s: float) -> bool:
    """SIGTERM, then SIGKILL after `grace_s`; returns whether SIGTERM was enough. The process is gone then."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(grace_s)
        except psutil.TimeoutExpired:
            kill_process(process)
            return False
    return True


def kill_process(process: psutil.Process) -> None:
    """SIGKILL, and wait until the process is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()
        process.wait(10)


def is_port_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT do not matter
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_ports(host: str, count: int) -> list[int]:
    """Return distinct ports that are free now. Another process may be quicker: the caller tries again."""
    with contextlib.ExitStack() as probes:
        ports = []
        for _ in range(count):
            probe = probes.enter_context(socket.socket())
            probe.bind((host, 0))
            ports.append(int(probe.getsockname()[1]))
        return ports


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment of the JVM: ours without what would change its options, and with UTF-8 for file names."""
    kept = {name: value for name, value in variables.items() if name not in FOREIGN_JVM_VARIABLES}
    return {**kept, "LC_ALL": "C.UTF-8"}


def size_of(path: Path) -> int:
    """Size of a file in bytes; 0 when there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def last_lines(path: Path, count: int, offset: int = 0) -> tuple[str, ...]:
    """The last `count` lines with text written at or behind `offset` bytes, without stack frames."""
    size = size_of(path)
    if size < offset:
        offset = 0  # the file was rolled over meanwhile
    try:
        with path.open("rb") as handle:
            handle.seek(max(offset, size - TAIL_BYTES_MAX))
            text = handle.read().decode("utf-8", "replace")
    except OSError:
        return ()
    lines = [
        line.rstrip()
        for line in text.splitlines()
        if line.strip() and not line.startswith(("\tat ", "\t..."))
    ]
    return tuple(lines[-count:])
