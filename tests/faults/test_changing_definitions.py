"""`kill -9` while definitions come, change, pause and go, are filled from the history, and timers fire.

Each round publishes one change, sends a burst whose short windows end together a second later, and kills a
worker somewhere in that. In the end everything is as if the definitions had been there from the start.
SOAK_SECONDS sets how long the soak form goes on.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.support.comparison import assert_equal_to_oracle
from tests.support.crowd import DEFINITIONS, NOW_WINDOW_MS, Crowd, settle
from tests.support.fleet import Fleet, MakeFleet

SOAK_S = float(os.environ.get("SOAK_SECONDS", "100"))
IDLE_S: Final = 300.0
BURST: Final = 400  # touchpoints of one instant, most of which end a membership a second later
WIPED_EVERY: Final = 3  # kills
SHOES: Final = {"event": "product_viewed", "where": {"category": "running shoes"}}
KINDS: Final[tuple[Callable[[int], dict[str, Any]], ...]] = (
    lambda n: {"sequence": [SHOES, {"event": "order_completed"}], "within": f"{60 + n}m"},
    lambda n: {"event": "order_completed", "within": f"{60 + n}m", "sum": "total", "gte": 20 + n % 30},
    lambda n: {"event": "order_completed", "avg": "total", "gt": 20 + n % 10},
    lambda n: {"not_since": {"event": "product_viewed", "for": "1s"}},  # NOW_WINDOW_MS
    lambda n: {"first_time": "order_completed", "within": f"{60 + n}m"},
    lambda n: {**SHOES, "within": f"{60 + n}m", "at_least": 1 + n % 3},
    lambda n: {"all": [{"segment": "busy"}, {"none": [{"event": "email_opened", "within": "1s"}]}]},
    lambda n: {"event": "page_viewed", "within": f"{60 + n}m", "exactly": n % 3},
)  # fmt: skip


class Editor:
    """Changes one definition after the other. The base ones stay: others refer to them."""

    def __init__(self, fleet: Fleet, rng: random.Random) -> None:
        self.fleet, self.rng = fleet, rng
        self.base = list(DEFINITIONS)
        self.own: dict[str, dict[str, Any]] = {}
        self.paused: list[str] = []
        self.number = 0
        fleet.apply(*self.base)

    def all(self) -> list[dict[str, Any]]:
        """The definitions in force."""
        return [*self.base, *self.own.values()]

    def change(self) -> None:
        """Add, edit, delete, pause or resume."""
        rng = self.rng
        deed = rng.choice(("add", "add", "edit", "delete", "pause", "resume")) if self.own else "add"
        if deed == "resume" and self.paused:
            self.fleet.elo("segments", "resume", self.paused.pop())
        elif deed == "pause" and (standing := sorted(self.own.keys() - set(self.paused))):
            self.paused.append(rng.choice(standing))
            self.fleet.elo("segments", "pause", self.paused[-1])
        elif deed == "delete":
            name = rng.choice(sorted(self.own))
            del self.own[name]
            self.paused = [one for one in self.paused if one != name]
            self.fleet.elo("segments", "delete", name)
        else:
            self.number += 1
            name = rng.choice(sorted(self.own)) if deed == "edit" else f"own-{self.number}"
            self.own[name] = {"id": name, "where": KINDS[self.number % len(KINDS)](self.number)}
            self.fleet.apply(self.own[name])

    def resume_all(self) -> None:
        """So that the oracle, which knows no pause, can tell who is inside."""
        if self.paused:
            self.fleet.elo("segments", "resume", *self.paused)
            self.paused = []


def run(fleet: Fleet, seed: int, seconds: float, rounds_least: int) -> None:
    """Change and kill, then compare."""
    rng = random.Random(seed)
    fleet.create_topics(4)
    editor, crowd = Editor(fleet, rng), Crowd(seed, people=250)
    fleet.start("w0", "w1")
    fleet.send(crowd.take(4 * BURST))
    kills = changes = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until or kills < rounds_least:
        editor.change()
        changes += 1
        fleet.send(crowd.take(BURST))
        time.sleep(rng.uniform(0.0, 1.5 * NOW_WINDOW_MS / 1_000))
        worker = fleet.worker(rng.choice(("w0", "w1")))
        worker.kill()
        kills += 1
        if kills % WIPED_EVERY == 0:
            worker.wipe()
        fleet.send(crowd.take(BURST))
        time.sleep(rng.uniform(0.0, 0.5))
        worker.start()
        fleet.wait_idle(IDLE_S)  # A change is published when the one before is worked off.
        fleet.check_alive()
    editor.resume_all()
    fleet.wait_idle(IDLE_S)
    settle(fleet)
    dump = assert_equal_to_oracle(fleet, crowd.sent, editor.all())
    print(f"{changes} changes, {kills} kills, {len(crowd.sent)} touchpoints, {len(dump)} profiles: equal")


@pytest.mark.slow
def test_kills_while_definitions_change_lose_and_double_nothing(make_fleet: MakeFleet) -> None:
    run(make_fleet(flush_interval_ms=500), seed=5, seconds=0, rounds_least=2)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [6, 7])
def test_kills_for_long_while_definitions_change_lose_and_double_nothing(
    seed: int, make_fleet: MakeFleet
) -> None:
    run(make_fleet(flush_interval_ms=500), seed=seed, seconds=SOAK_S, rounds_least=5)
