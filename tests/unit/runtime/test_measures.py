"""Series of a partition go when it is given up; latencies carry the trace of their touch."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from rocksdict import Cache

from pipeline.core.outbox import Cause, MembershipChange, Outbox
from pipeline.core.touch import Touch
from pipeline.runtime import metrics
from pipeline.runtime.measures import Measures, begun_ms, exemplar_of
from pipeline.runtime.restore import Remaining
from pipeline.runtime.store import Store
from pipeline.runtime.traces import Traces
from pipeline.runtime.work import Work
from pipeline.topics import Topics

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PARTITION = 4711


def change(*event_ids: str) -> MembershipChange:
    """Somebody entered because of these events."""
    return MembershipChange("c", "p", "s", 1, "entered", 1, 0, 1_000, Cause.EVENT, event_ids, False, [])


def work_of(outbox: Outbox) -> Work:
    """A batch with these effects."""
    return Work({}, outbox, [(500, "r")], [], 3, ((), ()), {}, touches=2)  # type: ignore[arg-type]


def traces_of(known: dict[str, str]) -> Traces:
    """A memory with these traces, by event id."""
    traces = Traces()
    for event_id, parent in known.items():
        traces.keep(Touch(event_id, "web", "page_viewed", 0, ["user_id:u"], traceparent=parent))
    return traces


def series_of(partition: int) -> list[str]:
    """The names of the series with this partition."""
    return [
        sample.name for family in metrics.REGISTRY.collect() for sample in family.samples
        if sample.labels.get("partition") == str(partition)
    ]  # fmt: skip


def test_all_series_of_a_partition_go_when_it_is_given_up(tmp_path: Path) -> None:
    topics = Topics()
    measures = Measures(PARTITION, topics)
    store = Store(tmp_path / "db", Cache(1 << 20), 1 << 20)
    try:
        measures.restored(store, {"gone": 3})
    finally:
        store.close()
    measures.timers_due(1)
    Remaining(PARTITION, 10).set(5)
    for gauge in metrics.PER_PARTITION:
        gauge.labels(PARTITION).set(1)
    for topic in (topics.touches, topics.mail):
        metrics.LAG_RECORDS.labels(topic, PARTITION).set(1)
        metrics.LAG_SECONDS.labels(topic, PARTITION).set(1)
    assert len(series_of(PARTITION)) == len(metrics.PER_PARTITION) + 4
    measures.forget()
    assert series_of(PARTITION) == []
    assert metrics.SEGMENT_PROFILES.labels("gone")._value.get() == 0


def test_each_gauge_of_a_partition_is_known_as_one() -> None:
    declared = {name for name, one in metrics.declared_metrics().items() if "partition" in one.labels}
    others = metrics.LAG_RECORDS, metrics.LAG_SECONDS, metrics.STANDBY_LAG  # the last goes with the copy
    assert declared == {gauge._name for gauge in (*metrics.PER_PARTITION, *others)}


def test_the_latency_of_a_change_carries_the_trace_of_its_touch() -> None:
    outbox = Outbox()
    outbox.tell_change(change("e1", "e2"))
    Measures(PARTITION, Topics()).committed(work_of(outbox), 1_040, traces_of({"e2": TRACEPARENT}))
    body, kind = metrics.exposition(metrics.REGISTRY, OPENMETRICS)
    assert kind.startswith("application/openmetrics-text")
    (family,) = (
        one
        for one in text_string_to_metric_families(body.decode())
        if one.name == "elo_touch_to_change_seconds"
    )
    found = [sample.exemplar for sample in family.samples if sample.exemplar]
    assert [(one.labels, one.value) for one in found] == [({"trace_id": TRACE}, 0.04)]
    assert b"trace_id" not in metrics.exposition(metrics.REGISTRY, "text/plain")[0]


@pytest.mark.parametrize(
    ("traces", "expected"),
    [
        ({}, None),
        ({"other": TRACEPARENT}, None),
        ({"e1": TRACEPARENT}, {"trace_id": TRACE}),
        ({"e1": "00-no-trace"}, None),
    ],
)
def test_only_a_trace_of_its_events_is_told(traces: dict[str, str], expected: dict[str, str] | None) -> None:
    assert exemplar_of(change("e1"), traces_of(traces)) == expected


def test_a_change_is_as_late_as_its_touch_has_waited() -> None:
    assert begun_ms(change("e1"), {}) == 1_000
    assert begun_ms(change("e1"), {"other": 7}) == 1_000
    assert begun_ms(change("e1", "e2"), {"e1": 7, "e2": 9}) == 9


def test_the_time_left_of_a_restore_follows_its_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter((100.0, 102.0, 110.0))
    monkeypatch.setattr("pipeline.runtime.restore.time.monotonic", lambda: next(now))
    remaining = Remaining(PARTITION, 100)
    series = metrics.RESTORE_SECONDS.labels(PARTITION)._value
    try:
        remaining.set(80)
        assert math.isclose(series.get(), 8.0)
        remaining.set(0)
        assert series.get() == 0
    finally:
        Measures(PARTITION, Topics()).forget()


def test_units_are_what_the_names_say() -> None:
    units = {name: one.unit for name, one in metrics.declared_metrics().items()}
    assert units["elo_commit_seconds"] == "seconds"
    assert units["elo_state_bytes"] == "bytes"
    assert units["elo_restore_records_total"] == "records"
    assert units["elo_joins_total"] == ""
