"""The collector as a process: hostile senders, keys that are read again, what it says at the start."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.collector import CollectorProcess
from tests.support.fleet import wait_for

NOBODY = "127.0.0.1:1"
"""No broker answers there: events go to the disk, and these tests need none."""


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[CollectorProcess]:
    config = tmp_path / "elo.yaml"
    config.write_text("write_keys: {old: app}\n")
    environment = {**os.environ, "ELO_BOOTSTRAP": NOBODY, "ELO_CONFIG": str(config)}
    collector = CollectorProcess("collector", tmp_path, environment)
    collector.start().wait_ready()
    yield collector
    if collector.is_alive():
        collector.kill()
    print(collector.tail())


def post(port: int, body: bytes, key: str = "wk") -> int:
    """The status of one track."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/track", body, {"X-Write-Key": key})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


TRACK = json.dumps({"event": "Seen", "userId": "u1"}).encode()


def test_keys_are_read_again_and_the_end_is_clean(collector: CollectorProcess, tmp_path: Path) -> None:
    assert [post(collector.port, TRACK, key) for key in ("wk", "old", "new")] == [200, 200, 401]
    (tmp_path / "elo.yaml").write_text("write_keys: {old: app, new: app}\n")
    collector.process.send_signal(signal.SIGHUP)
    wait_for(lambda: post(collector.port, TRACK, "new") == 200, "the new key is known")
    (tmp_path / "elo.yaml").write_text("write_keys: {new: nowhere}\n")
    collector.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "stay as they are" in collector.tail(), "the mistake is in the log")
    assert [post(collector.port, TRACK, key) for key in ("wk", "old", "new")] == [200, 200, 200]
    assert collector.terminate() == 0
    assert "Traceback" not in collector.tail()


def request_of(body: bytes, length: int = 0) -> bytes:
    """A batch as bytes; `length`: what it says of its body, when that is not so."""
    return b"POST /v1/batch HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (length or len(body)) + body


BOMB = gzip.compress(b"[" * 50_000_000)
DAMAGED = b"\x1f\x8b" + os.urandom(1_000)
HOSTILE = (
    request_of(b"")[:20],  # half a head
    request_of(b"[", 4_000_000),  # half a body
    b"",  # nothing at all
    b"GET / HTTP/1.1\r\n" + b"x: %s\r\n" % (b"a" * 1_000) * 200,  # a head that is too large
    request_of(BOMB), request_of(DAMAGED),
)  # fmt: skip


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.soak)])
def test_hostile_senders_do_not_stop_others(collector: CollectorProcess, count: int) -> None:
    """All stay connected as long as they are let, and none reads an answer. Others are served meanwhile."""
    import psutil

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 500)), hard))
    slowest_s = 0.0
    process = psutil.Process(collector.process.pid)
    most = 0
    with contextlib.ExitStack() as opened:
        for number in range(count):
            connection = socket.create_connection(("127.0.0.1", collector.port), timeout=20)
            opened.callback(connection.close)
            with contextlib.suppress(ConnectionError):  # who sends too much is put out
                connection.sendall(HOSTILE[number % len(HOSTILE)])
            if number % (count // 10) == 0:
                begun_s = time.monotonic()
                assert post(collector.port, TRACK) == 200
                slowest_s = max(slowest_s, time.monotonic() - begun_s)
                assert post(collector.port, BOMB) == 413
                assert post(collector.port, DAMAGED) == 400
                most = max(most, process.memory_info().rss)
    assert slowest_s < 10
    assert collector.get("livez")[0] == 200
    assert post(collector.port, TRACK) == 200
    print(f"{count} connections, slowest answer to others {slowest_s:.2f} s, memory {most >> 20} MB")
    assert most < 400 * 1024 * 1024


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "there is no write key, give one with --write-key KEY=SOURCE"),
        (("--write-key", "k"), "--write-key takes KEY=SOURCE"),
        (("--write-key", "k=fax"), "fax, which is not a source, name one of web, app, crm, email"),
    ],
)
def test_it_says_why_it_does_not_start(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    environment = {**os.environ, "ELO_BOOTSTRAP": NOBODY, "ELO_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "collect", "--port", "1", *arguments],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert sentence in done.stderr
