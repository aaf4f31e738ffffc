"""The demo's surroundings: signals, its directory, its environment, and the end of a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.demo.interrupts import Interrupts
from connectors.demo.stage import Stage
from pipeline.cli.options import CommandFailed
from pipeline.settings import load_settings


def stage(tmp_path: Path, *, keep: bool = False) -> Stage:
    return Stage(load_settings({"data_dir": tmp_path}), keep, lambda line: None)


def test_what_killed_demos_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    demo = tmp_path / "demo"
    left = demo / f"run-{int(ended.stdout)}"
    others = [demo / f"run-{os.getpid()}", demo / f"kept-{int(ended.stdout)}", demo / "run-mine"]
    for directory in (left, *others):
        directory.mkdir(parents=True)
    stage(tmp_path)
    assert not left.exists()
    assert all(directory.exists() for directory in others)


def test_settings_of_another_deployment_do_not_reach_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELO_TOPIC_PREFIX", "eu.")
    monkeypatch.setenv("ELO_IDENTITY", "/etc/elo/identity.yaml")
    monkeypatch.setenv("ELO_DEBUG", "1")
    made = stage(tmp_path)
    found = {name: value for name, value in made._environment().items() if name.startswith("ELO_")}
    assert found == {"ELO_DEBUG": "1", "ELO_BOOTSTRAP": "localhost:9092", "ELO_DATA_DIR": str(made.directory)}


def test_a_worker_that_ended_by_itself_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    made = stage(tmp_path)
    made.directory.mkdir(parents=True)
    made.log.write_text("starting\nfatal, the disk is full\n", encoding="utf-8")
    made.worker = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    made.worker.wait()
    with pytest.raises(CommandFailed, match=r"exit code 3(.|\n)*the disk is full"):
        made.check()


@pytest.mark.parametrize("keep", [True, False])
def test_closing_ends_the_worker_and_removes_the_directory_unless_kept(tmp_path: Path, keep: bool) -> None:
    before = signal.getsignal(signal.SIGINT)
    made = stage(tmp_path, keep=keep)
    made.directory.mkdir(parents=True)
    made.worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    made.close()
    assert made.worker_exit == -signal.SIGTERM
    assert made.directory.exists() is keep
    assert signal.getsignal(signal.SIGINT) is before


def test_a_command_that_fails_says_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"`elo segments apply nowhere.yaml` failed: .*nowhere.yaml"):
        stage(tmp_path).command("segments", "apply", "nowhere.yaml")


def test_the_first_signal_asks_once_the_shop_is_open_and_any_other_ends() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        interrupts.gentle = True
        signal.raise_signal(signal.SIGINT)
        assert interrupts.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
