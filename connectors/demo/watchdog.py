"""Runs beside the demo and cleans up when the demo is gone, even after a `kill -9`.

Standard input is a pipe from the demo: lines `pid N`, `forget N`, `remove DIRECTORY` and `done`. An end of
the pipe without `done` means that the demo died: kill those processes, then remove those directories, which
hold nothing of value. Run as a file of its own, with the standard library alone, so that it starts quickly.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Final

GONE_S: Final = 5.0  # how long killed processes may take to let go of their files
LOOK_S: Final = 0.05
REMOVALS: Final = 2  # a process that the pipe never named may still write when the demo dies early
SETTLE_S: Final = 1.0


class Watchdog:
    """The demo's end of the pipe."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C is for the demo; the watchdog outlives it
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def watch(self, pid: int) -> None:
        """Kill this process should the demo die."""
        self._order(f"pid {pid}")

    def forget(self, pid: int) -> None:
        """The process has ended: its number may become somebody else's."""
        self._order(f"forget {pid}")

    def remove(self, directory: os.PathLike[str]) -> None:
        """Remove this directory should the demo die."""
        self._order(f"remove {os.fspath(directory)}")

    def close(self) -> None:
        """All is cleaned up; let it go."""
        self._order("done")
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.wait()

    def _order(self, line: str) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # somebody killed it; the demo still cleans up itself
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()


def main() -> None:
    """Follow the pipe to its end and do what is left to do."""
    pids: list[int] = []
    directories: list[str] = []
    for line in sys.stdin:
        order, _, rest = line.rstrip("\n").partition(" ")
        match order:
            case "pid":
                pids.append(int(rest))
            case "forget":
                with contextlib.suppress(ValueError):
                    pids.remove(int(rest))
            case "remove":
                directories.append(rest)
            case "done":
                return
            case _:
                pass
    left = [pid for pid in pids if _signal(pid, signal.SIGKILL)]
    deadline = time.monotonic() + GONE_S
    while left and time.monotonic() < deadline:
        time.sleep(LOOK_S)
        left = [pid for pid in left if _signal(pid, 0)]
    for directory in directories:
        for _ in range(REMOVALS):
            shutil.rmtree(directory, ignore_errors=True)
            time.sleep(SETTLE_S)


def _signal(pid: int, number: int) -> bool:
    """Send a signal. Returns whether the process is still there."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):  # gone, or the number is somebody else's by now
        return False
    return True


if __name__ == "__main__":
    main()
