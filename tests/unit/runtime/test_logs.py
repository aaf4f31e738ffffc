"""Logs: lines that a machine reads, with what they are about and without who."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from pipeline.core.touch import Touch, encode_touch
from pipeline.runtime.logs import configure_logs, mask
from pipeline.runtime.work import trace_of
from pipeline.settings import Settings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ana.b+c@example.com is taken", "*** is taken"),
        ("KeyError('email:ana@example.com')", "KeyError('email:***')"),
        ("component user_id:u-17, again", "component user_id:***, again"),
        ("call +34 600 123 456 now", "call *** now"),
        ("crm_contact_id:9/8", "crm_contact_id:***"),
        ("KeyError('cpf:39053344705') nis:12345678919", "KeyError('cpf:***') nis:***"),
        ("the value 390.533.447-05 is odd", "the value *** is odd"),
        ("broker 10.200.300.40-11 of 192.168.100.120:9092", None),
        ("partition 3 at 2026-11-23T05:15:46Z, offset 123456789", None),
        ("elo.touches[3]: kafka-1:9092 is away", None),
    ],
)
def test_what_looks_like_an_identifier_is_masked(text: str, expected: str | None) -> None:
    event = mask(None, "info", {"event": text, "offset": 7})
    assert event == {"event": text if expected is None else expected, "offset": 7}


@pytest.mark.parametrize("foreign", [False, True])
def test_a_line_is_an_object_of_json_without_identifiers(
    foreign: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(Settings(log_format="json"))
    try:
        raise KeyError("email:ana@example.com")
    except KeyError:
        if foreign:
            logging.getLogger("a.library").exception("no such node")
        else:
            structlog.get_logger().exception("no such node", partition=3)
    (line,) = capsys.readouterr().err.splitlines()
    assert "ana" not in line
    document = json.loads(line)
    assert (document["event"], document["level"]) == ("no such node", "error")
    assert document["timestamp"].endswith("Z")
    assert document.get("partition") == (None if foreign else 3)
    assert "KeyError: 'email:***'" in document["exception"]


def touch(traceparent: str) -> bytes:
    return encode_touch(
        Touch("e1", "web", "page_viewed", 1, ["user_id:u1"], "{}", "{}", traceparent=traceparent)
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (touch(""), {"event_id": "e1"}),
        (touch(f"00-{TRACE}-00f067aa0ba902b7-01"), {"event_id": "e1", "trace_id": TRACE}),
        (b"of no known version", {}),
    ],
)
def test_a_line_about_a_touch_names_its_event_and_its_trace(value: bytes, expected: dict[str, str]) -> None:
    assert trace_of(value) == expected
