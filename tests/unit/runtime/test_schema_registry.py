"""The client of a schema registry against a small HTTP server, and what the intake remembers of it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pipeline.core.errors import ConfigError, Reason, Rejection, Retryable
from pipeline.runtime import schema_registry
from pipeline.runtime.schema_registry import RegistryClient, SchemaLookup
from pipeline.wire.avro import TouchpointDecoder, encode_touchpoint
from pipeline.wire.registry import default_registry

NEWEST = default_registry().latest("touchpoint")
EVOLVED = {**NEWEST.raw, "fields": [*NEWEST.raw["fields"], {"name": "x", "type": "long", "default": 0}]}
SENT = {"event_id": "e", "source": "web", "type": "seen", "occurred_at": 1, "identifiers": []}
VALUE = encode_touchpoint(SENT)


class Server:
    """Answers each request with what is set for its method and path, 404 otherwise."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.authorization: str | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append((self.command, self.path))
                outer.authorization = self.headers["Authorization"]
                status, document = outer.answers.get(f"{self.command} {self.path}", (404, {}))
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = _answer

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.stop()


def test_the_calls_and_what_their_answers_mean(server: Server) -> None:
    client = RegistryClient(f"http://ana:p%40ss@127.0.0.1:{server.port}/base/")
    server.answers = {
        "GET /base/schemas/ids/7": (200, {"schema": '{"type": "string"}'}),
        "POST /base/subjects/a-value/versions": (200, {"id": 7}),
        "POST /base/compatibility/subjects/a-value/versions/latest": (200, {"is_compatible": False}),
        "POST /base/subjects/bad/versions": (409, {"message": "no default for x"}),
        "POST /base/subjects/broken": (500, {}),
    }
    assert client.schema_of(7) == {"type": "string"}
    assert client.schema_of(8) is None
    assert client.register("a-value", {}) == 7
    assert client.id_of("a-value", {}) is None
    assert not client.is_compatible("a-value", {})
    assert client.is_compatible("new", {})
    with pytest.raises(ConfigError, match="no default for x"):
        client.register("bad", {})
    with pytest.raises(Retryable, match="answers 500"):
        client.id_of("broken", {})
    assert server.authorization == "Basic " + base64.b64encode(b"ana:p@ss").decode()
    with pytest.raises(ConfigError, match="must be an address"):
        RegistryClient("registry:8081")


def test_a_touchpoint_of_a_foreign_id_is_read_and_the_registry_asked_once(server: Server) -> None:
    server.answers = {"GET /schemas/ids/77": (200, {"schema": json.dumps(EVOLVED)})}
    decode = TouchpointDecoder(lookup=SchemaLookup(RegistryClient(f"http://127.0.0.1:{server.port}")))
    foreign = b"\0" + (77).to_bytes(4, "big") + VALUE[5:] + b"\x0a"
    for _ in range(3):
        record = decode(foreign)
        assert isinstance(record, dict)
        assert "x" not in record
        assert record["event_id"] == "e"
    assert decode(VALUE) == record, "ours is read as ever"
    assert server.asked == [("GET", "/schemas/ids/77")]


def test_an_unknown_id_and_a_silent_registry_are_not_asked_again_for_a_while(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(schema_registry.time, "monotonic", lambda: now[0] + 1)
    lookup = SchemaLookup(RegistryClient(f"http://127.0.0.1:{server.port}"))
    assert [lookup(5), lookup(5), lookup(6)] == [None] * 3
    assert len(server.asked) == 2
    now[0] = schema_registry.UNKNOWN_S + 1
    assert lookup(5) is None
    assert len(server.asked) == 3
    server.answers["GET /schemas/ids/8"] = (503, {})
    assert [lookup(8), lookup(9), lookup(10)] == [None] * 3
    assert len(server.asked) == 4, "while it is silent, nothing is asked"


def test_a_schema_that_is_no_touchpoint_is_an_unknown_schema(server: Server) -> None:
    other = {"type": "record", "name": "Other", "fields": [{"name": "n", "type": "long"}]}
    server.answers = {
        "GET /schemas/ids/77": (200, {"schema": json.dumps(other)}),
        "GET /schemas/ids/78": (200, {"schema": '{"type": "nonsense"}'}),
    }
    decode = TouchpointDecoder(lookup=SchemaLookup(RegistryClient(f"http://127.0.0.1:{server.port}")))
    for schema_id in (77, 78, 79):
        told = decode(b"\0" + schema_id.to_bytes(4, "big") + b"\x02")
        assert isinstance(told, Rejection)
        assert told.reason is Reason.UNKNOWN_SCHEMA
