"""What a killed demo leaves behind is ended and removed; what it cleaned up itself is left alone."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from connectors.demo.watchdog import Watchdog

DEMO = """
import subprocess, sys, time
from pathlib import Path
from connectors.demo.watchdog import Watchdog
watchdog = Watchdog()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
watchdog.watch(child.pid)
watchdog.remove(Path(sys.argv[1]))
print(child.pid, watchdog.pid, flush=True)
time.sleep(600)
"""


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_killed_demo_leaves_no_process_and_no_directory(tmp_path: Path) -> None:
    data = tmp_path / "run"
    (data / "broker").mkdir(parents=True)
    demo = subprocess.Popen([sys.executable, "-c", DEMO, str(data)], stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    child, watchdog = (int(pid) for pid in demo.stdout.readline().split())
    demo.send_signal(signal.SIGKILL)
    demo.wait()
    demo.stdout.close()
    deadline = time.monotonic() + 20
    while not (gone(child) and gone(watchdog) and not data.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert gone(child)
    assert gone(watchdog)
    assert not data.exists()


@pytest.mark.parametrize("forgotten", [True, False])
def test_a_demo_that_says_done_is_left_alone(tmp_path: Path, forgotten: bool) -> None:
    child, watchdog = sleeper(), Watchdog()
    try:
        watchdog.watch(child.pid)
        watchdog.remove(tmp_path)
        if forgotten:
            watchdog.forget(child.pid)
        watchdog.close()
        assert child.poll() is None
        assert tmp_path.exists()
    finally:
        child.kill()
        child.wait()
