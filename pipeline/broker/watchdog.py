"""Ends a broker when the process that owns it has ended, in whatever way: so that tests leave none behind.

Run as a file beside the broker, in a session of its own: `python -P watchdog.py OWNER_PID OWNER_CREATED_S
BROKER_PID BROKER_CREATED_S`. Nothing of Elo is imported: it must stay small and start quickly. Linux's
"signal on parent's death" was rejected: it follows a thread, not a process.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from typing import Final

import psutil

POLL_S: Final = 0.5
CREATED_TOLERANCE_S: Final = 0.05


def spawn(owner: psutil.Process, broker: psutil.Process) -> subprocess.Popen[bytes]:
    """Start a watchdog; it ends by itself half a second after the first of the two."""
    watched = [str(value) for process in (owner, broker) for value in (process.pid, process.create_time())]
    return subprocess.Popen(
        [sys.executable, "-P", __file__, *watched],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def find(pid: int, created_s: float) -> psutil.Process | None:
    """Return the live process that had this pid when it started at that moment."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        if alive and abs(process.create_time() - created_s) <= CREATED_TOLERANCE_S:
            return process
    return None


def main(arguments: list[str]) -> None:
    """Watch until one of the two processes has ended."""
    owner, broker = ((int(arguments[at]), float(arguments[at + 1])) for at in (0, 2))
    while find(*broker) is not None:
        if find(*owner) is None:
            with contextlib.suppress(psutil.Error):
                process = find(*broker)
                if process is not None:
                    process.kill()
            return
        time.sleep(POLL_S)


if __name__ == "__main__":
    main(sys.argv[1:])
