"""Slow and endless requests lose their connection, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import uvicorn

from connectors.collect import guard
from connectors.collect.guard import GuardedProtocol

GOOD: Final = b"POST /v1/track HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
PATIENCE_S: Final = 0.4


async def echo(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    """Reads the whole body, then answers."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server in a thread that waits PATIENCE_S for a request and takes 40 connections."""
    monkeypatch.setattr(guard, "REQUEST_S", PATIENCE_S)
    monkeypatch.setattr(GuardedProtocol, "connections_max", 40)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        echo, http=GuardedProtocol, ws="none", lifespan="off", log_config=None, access_log=False,
        timeout_keep_alive=30,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()
    listener.close()


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(port: int) -> bytes:
    """The status line of an ordinary request."""
    with contextlib.closing(connect(port)) as connection:
        connection.sendall(GOOD)
        return connection.recv(15)


def ended(connection: socket.socket) -> bytes:
    """What the server still says before it ends the connection; fails when it does not within 5 s."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(4096):
            said += part
    connection.close()
    return said


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST /v1/track HTTP/1.1\r\nhost: x\r\n",
        b"POST /v1/track HTTP/1.1\r\nhost: x\r\ncontent-length: 90\r\n\r\n{",
        b"POST /v1/track HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
        GOOD + b"POST /v1/tr",
    ],
    ids=[
        "nothing",
        "half a head",
        "half a body",
        "half a chunked body",
        "half a second one",
    ],
)
def test_a_request_that_does_not_end_loses_its_connection(port: int, start: bytes) -> None:
    slow = connect(port)
    slow.sendall(start)
    assert ask(port) == b"HTTP/1.1 200 OK"
    begun_s = time.monotonic()
    said = ended(slow)
    assert said.count(b"HTTP/1.1") == start.count(GOOD)
    assert time.monotonic() - begun_s < 5


def test_a_byte_now_and_then_does_not_help(port: int) -> None:
    slow = connect(port)
    slow.sendall(b"GET / HTTP/1.1\r\n")
    sent = 0
    with contextlib.suppress(OSError):
        while sent < 100:
            slow.sendall(b"x")
            sent += 1
            time.sleep(PATIENCE_S / 8)
    slow.close()
    assert sent < 40


def test_an_empty_line_between_requests_does_not_keep_a_connection(port: int) -> None:
    slow = connect(port)
    slow.sendall(GOOD)
    assert slow.recv(4096).startswith(b"HTTP/1.1 200 OK")
    slow.sendall(b"\r\n")
    assert ended(slow) == b""


def test_a_head_without_end_is_refused(port: int) -> None:
    endless = connect(port)
    with contextlib.suppress(OSError):
        endless.sendall(b"GET / HTTP/1.1\r\n")
        for number in range(3_000):
            endless.sendall(b"x-%d: %s\r\n" % (number, b"a" * 1_000))
    assert ended(endless)[:12] in (b"HTTP/1.1 431", b"")  # the answer may be lost with the connection
    assert ask(port) == b"HTTP/1.1 200 OK"


def test_a_connection_may_rest_between_requests(port: int) -> None:
    connection = connect(port)
    for _ in range(2):
        connection.sendall(GOOD)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")
        time.sleep(PATIENCE_S * 2)
    connection.close()


def test_one_connection_too_many_is_ended_and_the_others_go_on(port: int) -> None:
    first = [connect(port) for _ in range(40)]
    time.sleep(0.1)
    assert ended(connect(port)) == b""
    first[0].sendall(GOOD)
    assert first[0].recv(15) == b"HTTP/1.1 200 OK"
    for one in first:
        one.close()
