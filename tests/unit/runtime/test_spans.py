"""When spans are made, and what they say; a receiver of OpenTelemetry's protocol listens."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import pytest
import structlog

from pipeline.runtime.spans import are_wanted, open_spans
from pipeline.runtime.traces import LINKS_MAX, Traced
from tests.support.fleet import ROOT
from tests.support.otlp import OtlpReceiver, otlp_receiver  # noqa: F401  a fixture

TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT: Final = f"00-{TRACE}-00f067aa0ba902b7-01"
OTHER: Final = "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED: Final = "00-6bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
ENDPOINT: Final = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318"}


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of this machine."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://otel:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://otel:4318/v1/metrics"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
    ],
)
def test_the_standard_variables_say_whether_spans_are_wanted(given: dict[str, str], wanted: bool) -> None:
    assert are_wanted(given) is wanted


def test_nobody_who_has_not_asked_pays_for_the_import() -> None:
    code = (
        "import sys, connectors.collect.server, connectors.deliver.service\n"
        "import pipeline.runtime.worker as worker\n"
        "assert worker.open_spans('elo-worker') is None\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


@pytest.mark.parametrize(
    ("missing", "protocol", "event"),
    [
        (True, "http/protobuf", "no spans are sent: elo-pipeline[otel] is not installed"),
        (False, "grpc", "no spans are sent: the protocol is another one"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_else_happens(
    missing: bool, protocol: str, event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.delitem(sys.modules, "pipeline.runtime.otel", raising=False)
    if missing:
        monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with structlog.testing.capture_logs() as lines:
        assert open_spans("elo-worker") is None
    assert [line["event"] for line in lines] == [event]


def traced(*parents: str) -> Traced:
    found = Traced(LINKS_MAX)
    for parent in parents:
        found.add(parent)
    return found


def test_a_batch_links_to_each_sampled_trace_once(otlp: OtlpReceiver) -> None:
    spans = open_spans("elo-worker")
    assert spans is not None
    batch = traced(PARENT, UNSAMPLED, OTHER, PARENT)
    spans.batch("elo.touches", traced(UNSAMPLED), 1, "elo")
    spans.batch("elo.touches", traced(), 1, "elo")
    spans.batch("elo.touches", batch, 4, "elo")
    found = otlp.await_one("process elo.touches")
    assert found.service == "elo-worker"
    assert found.parent_id == ""
    assert found.links == {(TRACE, "00f067aa0ba902b7"), (OTHER[3:35], "00f067aa0ba902b7")}
    assert found.begun_ns == batch.begun_ns < found.ended_ns
    assert found.attributes == {
        "messaging.system": "kafka", "messaging.operation.name": "process",
        "messaging.operation.type": "process", "messaging.destination.name": "elo.touches",
        "messaging.consumer.group.name": "elo", "messaging.batch.message_count": 4,
    }  # fmt: skip


def test_a_batch_links_to_no_more_than_the_sdk_keeps(otlp: OtlpReceiver) -> None:
    parents = [f"00-{number:032x}-00f067aa0ba902b7-01" for number in range(1, LINKS_MAX + 10)]
    spans = open_spans("elo-worker")
    assert spans is not None
    spans.batch("elo.touches", traced(*parents), 4, "elo")
    assert len(otlp.await_one("process elo.touches").links) == LINKS_MAX


def test_a_request_goes_on_with_the_trace_of_its_sender_or_begins_one(
    otlp: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop-events")
    spans = open_spans("elo-collect")
    assert spans is not None
    span = spans.received("POST", "/v1/track", PARENT)
    parent = spans.traceparent_of(span)
    spans.end(span, 503, "503")
    spans.end(spans.received("POST", "/v1/batch", ""), 200)
    found, own = otlp.await_one("POST /v1/track"), otlp.await_one("POST /v1/batch")
    assert (found.service, found.trace_id, found.parent_id) == ("shop-events", TRACE, "00f067aa0ba902b7")
    assert parent == f"00-{TRACE}-{found.span_id}-01"
    assert (found.attributes["http.response.status_code"], found.attributes["error.type"]) == (503, "503")
    assert own.parent_id == ""
    assert own.trace_id not in (TRACE, "0" * 32)
    assert "error.type" not in own.attributes


@pytest.mark.parametrize(
    ("parents", "trace_id", "links"),
    [
        ([PARENT], TRACE, 0),
        ([PARENT, OTHER], None, 2),
        ([PARENT, UNSAMPLED], None, 1),
    ],
)
def test_a_delivery_goes_on_with_one_trace_or_links_to_several(
    parents: list[str], trace_id: str | None, links: int, otlp: OtlpReceiver
) -> None:
    spans = open_spans("elo-deliver")
    assert spans is not None
    assert spans.sending("crm", "crm.example.com", [UNSAMPLED]) is None
    assert spans.sending("crm", "crm.example.com", []) is None
    span = spans.sending("crm", "crm.example.com", parents)
    assert span is not None
    spans.end(span, None, "ClientConnectorError")
    found = otlp.await_one("POST")
    assert (found.trace_id == TRACE) is (trace_id == TRACE)
    assert len(found.links) == links
    assert found.attributes == {
        "http.request.method": "POST", "server.address": "crm.example.com", "elo.destination": "crm",
        "error.type": "ClientConnectorError",
    }  # fmt: skip
