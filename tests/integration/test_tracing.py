"""A trace from a request of an SDK to the delivery of a change, as somebody with OpenTelemetry sees it."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.collector import KEY, make_collector
from tests.support.delivering import QUICK, Deliverer
from tests.support.deployment import Deployment
from tests.support.fleet import Fleet, MakeFleet, make_fleet, wait_for  # noqa: F401  a fixture
from tests.support.otlp import OtlpReceiver, otlp_receiver  # noqa: F401  a fixture
from tests.support.receiver import Receiver, Request

TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
BROWSER: Final = "00f067aa0ba902b7"
SERVER, CLIENT, CONSUMER = 2, 3, 5
"""Kinds of spans, as the protocol numbers them."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """The destination of the changes."""
    found = Receiver().start()
    yield found
    found.stop()


def track(port: int) -> None:
    """One event of somebody whom the browser traces."""
    event = {"event": "Order Completed", "userId": "u1", "messageId": "m1"}
    headers = {"X-Write-Key": KEY, "traceparent": f"00-{TRACE}-{BROWSER}-01"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/track", json.dumps(event).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200


def produce(fleet: Fleet, *parents: str | None) -> None:
    """An order each of others, by a producer of their own that gives the trace in a header, if at all."""
    for number, parent in enumerate(parents):
        touchpoint = {
            "event_id": f"p{number}", "source": "crm", "type": "order_completed",
            "occurred_at": time.time_ns() // 1_000_000,
            "identifiers": [{"type": "user_id", "value": f"p{number}"}],
        }  # fmt: skip
        more = {} if parent is None else {"headers": [("traceparent", parent.encode())]}
        fleet.send_raw("crm", json.dumps(touchpoint).encode(), **more)
    assert fleet.producer.flush(30) == 0


def follow(fleet: Fleet, otlp: OtlpReceiver, delivered: Request) -> None:
    """The event of `track` is the only one: hold every step of its way against the trace."""
    asked = otlp.await_one("POST /v1/track")
    told = asked.service, asked.kind, asked.trace_id, asked.parent_id
    assert told == ("elo-collect", SERVER, TRACE, BROWSER)
    carried = [("traceparent", f"00-{TRACE}-{asked.span_id}-01".encode())]
    for topic in ("touchpoints.web", "segments.membership"):
        assert [one.headers() for one in fleet.read(topic)] == [carried]
    for topic in ("touchpoints.web", "elo.touches"):
        batch = otlp.await_one(f"process {fleet.prefix}{topic}")
        assert (batch.service, batch.kind, batch.parent_id) == ("elo-worker", CONSUMER, "")
        assert batch.links == {asked.context}
        assert batch.attributes["messaging.batch.message_count"] == 1
        assert batch.begun_ns < batch.ended_ns
    sent = otlp.await_one("POST")
    told = sent.service, sent.kind, sent.trace_id, sent.parent_id
    assert told == ("elo-deliver", CLIENT, *asked.context)
    assert sent.attributes["http.response.status_code"] == 204
    assert delivered.headers["traceparent"] == f"00-{TRACE}-{sent.span_id}-01"


def test_a_trace_goes_from_a_request_through_the_headers_of_kafka_to_the_delivery_of_a_change(
    make_fleet: MakeFleet,  # noqa: F811
    otlp: OtlpReceiver,
    receiver: Receiver,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet = make_fleet().create_topics(2)
    fleet.apply({"id": "buyers", "where": {"event": "order_completed", "within": "7d"}})
    fleet.start("a")
    collector = make_collector(fleet)
    deliverer = Deliverer(
        Deployment(fleet.bootstrap, fleet.prefix, capsys), tmp_path,
        {"name": "crm", "url": receiver.url("crm"), **QUICK},
    )  # fmt: skip
    try:
        deliverer.start()
        track(collector.port)
        wait_for(lambda: bool(receiver.of("crm")), "the change is delivered", 30)
        follow(fleet, otlp, receiver.of("crm")[0])
        seen = len(otlp.spans)

        unsampled, sampled = f"00-{2:032x}-{BROWSER}-00", f"00-{1:032x}-{BROWSER}-01"
        produce(fleet, None, unsampled, sampled)
        wait_for(lambda: len(receiver.of("crm")) == 4, "all changes are delivered", 30)
        headers = [one.headers() for one in fleet.read("segments.membership")]
        assert headers.count(None) == 1
        assert all([("traceparent", one.encode())] in headers for one in (unsampled, sampled))
        batch = otlp.await_one(f"process {fleet.prefix}touchpoints.crm")
        assert batch.links == {(f"{1:032x}", BROWSER)}
        wait_for(lambda: len(otlp.spans) == seen + 3, "intake, resolver and delivery of the sampled one", 30)

        assert [collector.terminate(), fleet.worker("a").terminate()] == [0, 0]
        deliverer.stop()
    finally:
        deliverer.kill()
