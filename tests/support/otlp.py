"""A receiver of OpenTelemetry's protocol over HTTP: it keeps the spans that it is sent, decoded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.fleet import wait_for

SPANS_S = 30.0


@dataclass(frozen=True, slots=True)
class Span:
    """As much of a span as tests look at; ids in hexadecimal, `links` as trace and span id."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    links: frozenset[tuple[str, str]]
    attributes: dict[str, Any]
    begun_ns: int
    ended_ns: int

    @property
    def context(self) -> tuple[str, str]:
        """Trace and span id."""
        return self.trace_id, self.span_id


class OtlpReceiver:
    """Listens on a free port until `stop`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            """One export."""

            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["content-length"]))
                spans.extend(decoded(ExportTraceServiceRequest.FromString(body)))
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT takes."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def named(self, name: str) -> list[Span]:
        """The spans of a name so far."""
        return [span for span in self.spans if span.name == name]

    def await_one(self, name: str) -> Span:
        """Wait for the only span of a name."""
        wait_for(lambda: bool(self.named(name)), f"a span {name}, there are {self.spans}", SPANS_S)
        (found,) = self.named(name)
        return found

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(name="otlp")
def otlp_receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    """This process, and each that is started from here on, sends its spans to it, soon."""
    found = OtlpReceiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    yield found
    found.stop()


def decoded(request: ExportTraceServiceRequest) -> list[Span]:
    """The spans of one export."""
    return [
        Span(
            _plain(resource.resource.attributes)["service.name"], span.name, span.kind, span.trace_id.hex(),
            span.span_id.hex(), span.parent_span_id.hex(),
            frozenset((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
            _plain(span.attributes), span.start_time_unix_nano, span.end_time_unix_nano,
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]  # fmt: skip


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
