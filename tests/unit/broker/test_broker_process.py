"""Pid files, ports, log tails, and the watchdog: with small processes in the place of a JVM."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.broker import process, watchdog

SLEEP = "import sys, time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEP


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for child in started:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def run(
    children: list[subprocess.Popen[bytes]], program: str = SLEEP, *arguments: str
) -> subprocess.Popen[bytes]:
    """Start a Python program and wait until it runs."""
    child = subprocess.Popen([sys.executable, "-S", "-c", program, *arguments], stdout=subprocess.PIPE)
    children.append(child)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    return child


def record_of(child: subprocess.Popen[bytes]) -> process.PidRecord:
    """What a pid file would say of this child."""
    return process.PidRecord(child.pid, psutil.Process(child.pid).create_time(), 9092, 9093)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = process.PidRecord(4711, 1_700_000_000.25, 9092, 19093)
    process.write_record(tmp_path / "broker.json", record)
    assert process.read_record(tmp_path / "broker.json") == record
    assert [path.name for path in tmp_path.iterdir()] == ["broker.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": "x", "created_s": 1, "port": 1}', "null"])
def test_a_damaged_record_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "broker.json").write_text(text)
    assert process.read_record(tmp_path / "broker.json") is None
    assert process.read_record(tmp_path / "absent.json") is None


def test_a_process_is_found_by_pid_moment_and_argument(children: list[subprocess.Popen[bytes]]) -> None:
    record = record_of(run(children, SLEEP, "-Delo.broker=/a"))
    found = process.find_process(record, "-Delo.broker=/a")
    assert found is not None
    assert found.pid == record.pid


def test_a_pid_that_now_belongs_to_another_program_is_not_found(
    children: list[subprocess.Popen[bytes]],
) -> None:
    record = record_of(run(children, SLEEP, "-Delo.broker=/a"))
    earlier = process.PidRecord(record.pid, record.created_s - 1, 9092, 9093)
    assert process.find_process(record, "-Delo.broker=/b") is None
    assert process.find_process(earlier, "-Delo.broker=/a") is None


def test_a_process_that_has_ended_is_not_found_even_as_a_zombie(
    children: list[subprocess.Popen[bytes]],
) -> None:
    child = run(children)
    record = record_of(child)
    child.send_signal(signal.SIGKILL)
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert process.find_process(record, "-c") is None
    child.wait()
    assert process.find_process(record, "-c") is None


def test_ending_is_gentle_first_and_forced_when_that_does_not_help(
    children: list[subprocess.Popen[bytes]],
) -> None:
    gentle, stubborn = run(children), run(children, STUBBORN)
    assert process.end_process(psutil.Process(gentle.pid), grace_s=5)
    assert not process.end_process(psutil.Process(stubborn.pid), grace_s=0.2)
    assert not psutil.pid_exists(gentle.pid)
    assert not psutil.pid_exists(stubborn.pid)


def test_a_port_is_free_until_somebody_listens() -> None:
    port, other = process.free_ports("127.0.0.1", 2)
    assert port != other
    assert process.is_port_free("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", port)):
        assert not process.is_port_free("127.0.0.1", port)
    with socket.create_server(("0.0.0.0", port)):
        assert not process.is_port_free("127.0.0.1", port)


def test_options_of_other_java_programs_do_not_reach_the_jvm() -> None:
    seen = process.environment({"HOME": "/h", "JAVA_TOOL_OPTIONS": "-Xmx1m", "CLASSPATH": "x", "LC_ALL": "C"})
    assert seen == {"HOME": "/h", "LC_ALL": "C.UTF-8"}


def test_last_lines_leave_out_what_is_old_empty_or_a_stack_frame(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("old\n")
    offset = process.size_of(log)
    with log.open("a") as handle:
        handle.write("ERROR why\njava.lang.Error: because\n\tat a.b.C\n\n\t... 3 more\nlast\n")
    assert process.last_lines(log, 2, offset) == ("java.lang.Error: because", "last")
    assert process.last_lines(log, 9, offset) == ("ERROR why", "java.lang.Error: because", "last")
    assert process.last_lines(log, 9, offset=10_000) == (
        "old",
        "ERROR why",
        "java.lang.Error: because",
        "last",
    )
    assert process.last_lines(tmp_path / "absent.log", 9) == ()


def test_the_watchdog_ends_the_broker_when_its_owner_is_killed(
    children: list[subprocess.Popen[bytes]],
) -> None:
    owner, broker = run(children), run(children, STUBBORN)
    guard = watchdog.spawn(psutil.Process(owner.pid), psutil.Process(broker.pid))
    children.append(guard)
    time.sleep(2 * watchdog.POLL_S)
    assert guard.poll() is None
    assert broker.poll() is None
    owner.kill()
    assert broker.wait(10) == -signal.SIGKILL
    assert guard.wait(10) == 0


def test_the_watchdog_ends_with_the_broker(children: list[subprocess.Popen[bytes]]) -> None:
    owner, broker = run(children), run(children)
    guard = watchdog.spawn(psutil.Process(owner.pid), psutil.Process(broker.pid))
    children.append(guard)
    broker.kill()
    assert guard.wait(10) == 0
    assert owner.poll() is None
