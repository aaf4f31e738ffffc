"""Timers: keys that sort by instant, a horizon that moves, every timer fired once and in order."""

from __future__ import annotations

import random

import pytest

from pipeline.core.facet import NEVER
from pipeline.runtime import timers as module
from pipeline.runtime.timers import HORIZON_MS, Timers, parse_timer_key, timer_key


def test_keys_sort_by_instant_and_are_read_back() -> None:
    instants = [0, 1, 255, 256, 1_790_000_000_000, NEVER]
    keys = [timer_key(due_ms, "user_id:ü\x00") for due_ms in instants]
    assert keys == sorted(keys)
    assert [parse_timer_key(key) for key in keys] == [(due_ms, "user_id:ü\x00") for due_ms in instants]


def test_only_timers_before_the_horizon_are_held_and_those_beyond_it_come_with_it() -> None:
    timers, stored = (
        Timers(),
        [timer_key(due_ms, f"r{due_ms}") for due_ms in (5, HORIZON_MS - 1, HORIZON_MS + 7)],
    )
    assert timers.next_ms() == 0  # Nothing was loaded: the horizon itself is what to wake for.
    timers.extend(stored, 0)
    timers.add(3, "r3")
    timers.add(HORIZON_MS + 7, "r")
    assert timers.next_ms() == 3
    assert timers.due(5, 10) == [(3, "r3"), (5, "r5")]
    assert timers.due(5, 10) == []
    assert (timers.count_due(HORIZON_MS), timers.count_due(4)) == (1, 0)
    assert not timers.wants_more(HORIZON_MS // 2)
    assert timers.wants_more(HORIZON_MS // 2 + 1)
    assert timers.due(HORIZON_MS - 1, 10) == [(HORIZON_MS - 1, f"r{HORIZON_MS - 1}")]
    assert timers.next_ms() == HORIZON_MS
    timers.extend(stored[2:], HORIZON_MS)
    assert timers.next_ms() == HORIZON_MS + 7


def test_as_many_as_asked_for_are_taken_oldest_first() -> None:
    timers = Timers()
    timers.extend([timer_key(due_ms, "r") for due_ms in range(10)], 0)
    assert [due_ms for due_ms, _ in timers.due(100, 4)] == [0, 1, 2, 3]
    assert timers.count_due(100) == 6


@pytest.mark.parametrize("seed", range(20))
def test_every_timer_fires_once_in_order_however_few_are_loaded_at_once(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOADED_MAX", 3)
    rng, timers, fired = random.Random(seed), Timers(), list[tuple[int, str]]()
    stored = {timer_key(rng.randrange(HORIZON_MS * 3), f"r{at}") for at in range(60)}
    every = sorted(parse_timer_key(key) for key in stored)
    for now_ms in range(0, HORIZON_MS * 4, HORIZON_MS // 8):
        while timers.wants_more(now_ms):
            before_ms = timers.horizon_ms
            timers.extend(sorted(key for key in stored if key >= timer_key(before_ms, "")), now_ms)
            if timers.horizon_ms == before_ms or timers.count_due(now_ms):
                break
        while taken := timers.due(now_ms, 7):
            fired.extend(taken)
        if rng.random() < 0.3:
            due_ms = now_ms + rng.randrange(HORIZON_MS * 2)
            stored.add(timer_key(due_ms, "new"))
            every.append((due_ms, "new"))
            timers.add(due_ms, "new")
    for _ in range(60):
        timers.extend(
            sorted(key for key in stored if key >= timer_key(timers.horizon_ms, "")), HORIZON_MS * 9
        )
        fired.extend(timers.due(HORIZON_MS * 9, 1_000))
    assert sorted(fired) == sorted(set(every))


def test_a_wave_of_timers_is_taken_into_memory_bit_by_bit_and_fires_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOADED_MAX", 10)
    timers, fired = Timers(), list[int]()
    dues = [1_000 + number // 3 for number in range(900)]
    keys = [timer_key(due_ms, f"r{number:04d}") for number, due_ms in enumerate(dues)]
    while len(fired) < len(dues):
        if timers.wants_more(5_000):
            timers.extend([key for key in keys if key >= timer_key(timers.horizon_ms, "")], 5_000)
        assert len(timers.heap) < 10 // 2 + 10 + 3  # What was left, what is loaded, and the same instant.
        assert timers.next_ms() <= 5_000
        fired += [due_ms for due_ms, _ in timers.due(5_000, 4)]
    assert fired == dues
