"""`elo demo` ends by itself with a truth check that passes, and leaves nothing behind, killed or not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.deployment import ROOT

START_S = 120.0  # 8 s are usual
END_S = 180.0  # 25 s are usual: the shop, then ten quiet seconds


def start(data_dir: Path, *options: str) -> subprocess.Popen[str]:
    """A demo outside a terminal, with its lines on one pipe."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("ELO_", "DEMO_"))
    }
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "pipeline", "demo", *options],
        cwd=ROOT,
        env={**environment, "ELO_DATA_DIR": str(data_dir)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def read_until(demo: subprocess.Popen[str], words: str) -> list[str]:
    """Lines up to the first that holds `words`."""
    assert demo.stdout is not None
    lines: list[str] = []
    deadline = time.monotonic() + START_S
    while not (lines and words in lines[-1]):
        line = demo.stdout.readline()
        assert line, "".join(lines)
        assert time.monotonic() < deadline, "".join(lines)
        lines.append(line)
    return lines


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Every process that works below the directory, by its arguments or its working directory."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        words = " ".join(process.info["cmdline"] or [])
        home = (process.info["environ"] or {}).get("ELO_DATA_DIR", "")
        if str(data_dir) in words or home.startswith(str(data_dir)):
            found.append(process)
    return found


@pytest.mark.slow  # Ctrl-C makes the same check; .ci/run plays the demo to its end
def test_the_demo_ends_by_itself_and_its_truth_check_passes(tmp_path: Path) -> None:
    demo = start(tmp_path, "--seconds", "6", "--rate", "150", "--seed", "3")
    try:
        said = demo.communicate(timeout=END_S + START_S)[0]
    finally:
        demo.kill()
    assert demo.returncode == 0, said
    assert "Truth check passed." in said
    assert "DIFFERS" not in said
    assert "first membership change" in said
    assert "enters madrid-running-no-purchase: " in said
    assert list((tmp_path / "demo").iterdir()) == []
    assert processes_of(tmp_path) == []


def test_a_killed_demo_leaves_no_process_and_no_data(tmp_path: Path) -> None:
    demo = start(tmp_path)
    try:
        read_until(demo, "one worker is ready")
        assert len(processes_of(tmp_path)) >= 3, "the demo, its broker and its worker"
    finally:
        demo.kill()
        demo.communicate()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (processes_of(tmp_path) or list((tmp_path / "demo").iterdir())):
        time.sleep(0.2)
    assert processes_of(tmp_path) == []
    assert list((tmp_path / "demo").iterdir()) == []


def test_a_worker_that_dies_ends_the_demo_with_its_log(tmp_path: Path) -> None:
    demo = start(tmp_path)
    try:
        ready = read_until(demo, "one worker is ready")[-1]
        os.kill(int(ready.rpartition("pid ")[2].rstrip(")\n")), signal.SIGKILL)
        said = demo.communicate(timeout=END_S)[0]
    finally:
        demo.kill()
    assert demo.returncode == 1
    assert "elo: the worker has ended by itself with exit code -9; the end of its log:" in said
    assert "Traceback" not in said
    assert processes_of(tmp_path) == []


def test_ctrl_c_closes_the_shop_and_the_check_is_made(tmp_path: Path) -> None:
    demo = start(tmp_path, "--rate", "50")
    try:
        read_until(demo, "first membership change")
        demo.send_signal(signal.SIGINT)
        said = demo.communicate(timeout=END_S)[0]
    finally:
        demo.kill()
    assert demo.returncode == 0, said
    assert "Truth check passed." in said
    assert processes_of(tmp_path) == []
