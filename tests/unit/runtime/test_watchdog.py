"""The watchdog ends a process in which something has begun and does not end."""

from __future__ import annotations

import threading

import structlog.testing

from pipeline.runtime.watchdog import EXIT_STUCK, Watchdog, stacks

LIMIT_S = 3


def watched() -> tuple[Watchdog, list[int]]:
    codes: list[int] = []
    return Watchdog(LIMIT_S, codes.append), codes


def test_what_does_not_end_within_the_limit_ends_the_process_with_the_stacks_in_the_log() -> None:
    watchdog, codes = watched()
    watchdog.begin("event loop")
    for _ in range(LIMIT_S):
        watchdog.look()
    assert codes == []
    with structlog.testing.capture_logs() as lines:
        watchdog.look()
    assert codes == [EXIT_STUCK]
    (line,) = lines
    assert line["what"] == "event loop"
    assert any(
        "test_what_does_not_end_within_the_limit" in call
        for calls in line["stacks"].values()
        for call in calls
    )


def test_what_ends_or_begins_anew_in_time_is_left_alone() -> None:
    watchdog, codes = watched()
    watchdog.begin("write")
    for _ in range(10):
        watchdog.begin("event loop")
        for _ in range(LIMIT_S):
            watchdog.look()
        watchdog.end("write")
        watchdog.end("never begun")
    assert codes == []


def test_a_thread_looks_by_itself(monkeypatch) -> None:
    monkeypatch.setattr("pipeline.runtime.watchdog.LOOK_S", 0.01)
    ended = threading.Event()
    watchdog = Watchdog(0.02, lambda _: ended.set())
    watchdog.begin("event loop")
    watchdog.start()
    assert ended.wait(10)
    watchdog.stop()


def test_the_stacks_name_every_thread() -> None:
    resting, started = threading.Event(), threading.Event()

    def rest() -> None:
        started.set()
        resting.wait()

    thread = threading.Thread(target=rest, name="resting")
    thread.start()
    started.wait()
    found = stacks()
    resting.set()
    thread.join()
    assert any(call.endswith(" rest") for call in found["resting"])
    assert found["MainThread"]
