"""How long a change waits between two steps while touches come."""

from __future__ import annotations

import pytest

from pipeline.runtime import pace
from pipeline.runtime.pace import BUSY_S, Pace


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pace, "time", made)
    return made


def step(one: Pace, clock: Clock, seconds: float) -> None:
    one.begin()
    clock.now_s += seconds
    one.end()


def test_a_step_is_followed_by_a_pause_in_proportion_while_touches_come(clock: Clock) -> None:
    one = Pace()
    one.busy()
    assert one.allows(4)
    step(one, clock, 0.05)
    assert not one.allows(0.5)
    clock.now_s += 0.03
    assert one.allows(0.5)
    assert not one.allows(4)
    one.busy()
    clock.now_s += 0.18
    assert one.allows(4)


def test_while_one_partition_takes_a_step_no_other_does(clock: Clock) -> None:
    one = Pace()
    one.busy()
    one.begin()
    clock.now_s += 0.2
    assert not one.allows(0)
    one.end()
    assert one.allows(0)


def test_nobody_waits_when_no_touches_come(clock: Clock) -> None:
    one = Pace()
    one.busy()
    step(one, clock, BUSY_S / 2)
    clock.now_s += BUSY_S / 2 + 0.001
    assert one.allows(1_000)
    one.begin()
    assert one.allows(1_000)


def test_the_end_of_a_batch_without_a_step_changes_nothing(clock: Clock) -> None:
    one = Pace()
    one.busy()
    step(one, clock, 0.05)
    clock.now_s += 0.06
    one.end()
    assert one.allows(1)
