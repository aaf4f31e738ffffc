"""Traces of touches, for the changes that they cause."""

from __future__ import annotations

import pytest

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


def test_each_batch_has_the_traces_of_its_touches_up_to_the_limit() -> None:
    traces = Traces(links_max=2)
    traces.keep(touch("before", PARENT))
    first = traces.begin()
    for number in (1, 1, 2, 3):
        traces.keep(touch(f"e{number}", f"{PARENT}-{number}"))
    second = traces.begin()
    traces.keep(touch("e4", PARENT))
    assert list(first.parents) == [f"{PARENT}-1", f"{PARENT}-2"]
    assert list(second.parents) == [PARENT]
    assert first.begun_ns <= second.begun_ns


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("ff", True)])
def test_what_was_not_sampled_takes_no_place_of_what_was(flags: str, sampled: bool) -> None:
    traces = Traces(links_max=1)
    batch = traces.begin()
    traces.keep(touch("e1", PARENT[:-2] + flags))
    traces.keep(touch("e2", PARENT))
    assert list(batch.parents) == [PARENT[:-2] + flags if sampled else PARENT]


def test_where_no_spans_are_made_a_batch_keeps_nothing() -> None:
    traces = Traces()
    batch = traces.begin()
    traces.keep(touch("e1", PARENT))
    assert batch.parents == {}
    assert traces.headers(["e1"]) != []
