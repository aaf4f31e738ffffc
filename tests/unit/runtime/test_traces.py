"""Traces of touches, for the changes that they cause."""

from __future__ import annotations

from pipeline.core.touch import Touch
from pipeline.runtime.traces import KEPT_MAX, Traces

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def touch(event_id: str, traceparent: str = "") -> Touch:
    return Touch(event_id, "web", "page_viewed", 1, ["user_id:u1"], traceparent=traceparent)


def test_a_change_has_the_trace_of_the_touch_that_decided_it() -> None:
    traces = Traces()
    assert traces.headers(["e1"]) == []
    traces.keep(touch("e1", PARENT))
    assert traces.headers(["e1"]) == [("traceparent", PARENT.encode())]
    assert traces.headers(["e2", "e1"]) == [("traceparent", PARENT.encode())]
    assert traces.headers(["e2"]) == traces.headers([]) == []


def test_only_the_last_traces_are_kept() -> None:
    traces = Traces()
    for number in range(KEPT_MAX + 1):
        traces.keep(touch(f"e{number}", PARENT))
    assert traces.headers(["e0"]) == []
    assert traces.headers(["e1"]) != []
    assert traces.headers([f"e{KEPT_MAX}"]) != []
