"""What processes and the machine used: CPU seconds, memory, and what others took meanwhile. Reads /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
NOISY_CORES: Final = 0.25  # more than this used by others and the row is marked as noisy


@dataclass(frozen=True, slots=True)
class Sample:
    """CPU seconds used so far, by named process and by the whole machine. `at`: seconds since the epoch."""

    at: float
    cpu_s: Mapping[str, float]
    machine_s: float


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU between two samples. `other_cores`: busy cores that were none of the named processes."""

    span_s: float
    cpu_s: Mapping[str, float]
    other_cores: float


class Meter:
    """Samples the named processes; this process, the harness, is always one of them."""

    def __init__(self, **pids: int) -> None:
        self._pids = {**pids, "harness": os.getpid()}

    def sample(self) -> Sample:
        """Read all counters now."""
        used = {name: sum(cpu_s(pid) for pid in _tree(pid, name)) for name, pid in self._pids.items()}
        return Sample(time.time(), used, machine_s())


def usage(first: Sample, last: Sample) -> Usage:
    """What was used from `first` to `last`."""
    span_s = max(last.at - first.at, 1e-3)
    used = {name: last.cpu_s[name] - first.cpu_s[name] for name in last.cpu_s}
    other_s = last.machine_s - first.machine_s - sum(used.values())
    return Usage(span_s, used, round(max(0.0, other_s / span_s), 2))


def _tree(pid: int, name: str) -> list[int]:
    """A process and its living descendants; of the harness only itself, its children are measured by name."""
    found = [pid]
    for parent in found:
        if name == "harness":
            break
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(int(child) for child in children.read_text().split())
            except OSError:
                continue  # the thread has just ended
    return found


def cpu_s(pid: int) -> float:
    """User and system time of a process and its reaped children, in seconds; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    ticks = fields[11:13] if pid == os.getpid() else fields[11:15]
    return sum(map(int, ticks)) / TICKS_PER_SECOND


def machine_s() -> float:
    """CPU seconds that all cores together spent busy since the machine started."""
    with open("/proc/stat") as file:
        values = [int(value) for value in file.readline().split()[1:9]]
    return (sum(values) - values[3] - values[4]) / TICKS_PER_SECOND


def rss_mb_max(pid: int) -> float | None:
    """The most memory that the process ever had resident, in MiB; None when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return next(
        (round(int(line.split()[1]) / 1024, 1) for line in status.splitlines() if line[:5] == "VmHWM"), None
    )
