"""A login does not flap: what a merge will take back is never published, nor anything under an alias.

Everybody has browsed anonymously; the history lies on the partition of the browser's id. Then all of them log
in, under load: the new user's component and the old one meet in several messages between partitions.
"""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from tests.support.comparison import assert_equal_to_oracle
from tests.support.crowd import Load, Touchpoint
from tests.support.fleet import Fleet, MakeFleet

PARTITIONS = 8
IDLE_S = 300.0
DEFINITIONS: tuple[dict[str, Any], ...] = (
    {"id": "browsed", "where": {"event": "product_viewed", "within": "1h", "at_least": 2}},
    {
        "id": "known-not-browsed",
        "where": {"all": [{"has": "user_id"}, {"none": [{"event": "product_viewed", "within": "1h"}]}]},
    },
    {"id": "known", "where": {"has": "user_id"}},
    {"id": "logged-in-browser", "where": {"all": [{"event": "identified"}, {"event": "product_viewed"}]}},
)
"""`known-not-browsed` holds for the new user alone, and for nobody once the history has arrived."""


def person(number: int, kind: str, now_ms: int, *names: str) -> Touchpoint:
    """A touchpoint of one person; `names` are the identifier types that it shows."""
    return {
        "event_id": f"{kind}-{number}-{now_ms}-{'-'.join(names)}",
        "source": "web",
        "type": kind,
        "occurred_at": now_ms,
        "identifiers": [{"type": name, "value": f"{name}-{number}"} for name in names],
    }


class Visitors:
    """Touchpoints of people who log in one after the other while others go on browsing."""

    def __init__(self, people: int, seed: int) -> None:
        self.people = people
        self.sent: list[Touchpoint] = []
        self._rng = random.Random(seed)
        self._logins = list(range(people))
        self._rng.shuffle(self._logins)
        self.total = 3 * people

    def history(self) -> list[Touchpoint]:
        """Two views each, some time ago, the last one of them anonymous like all."""
        now_ms = time.time_ns() // 1_000_000
        touchpoints = [
            person(number, "product_viewed", now_ms - 60_000 + step, "anonymous_id")
            for number in range(self.people)
            for step in (0, 1_000)
        ]
        self.sent += touchpoints
        return touchpoints

    def take(self, count: int) -> list[Touchpoint]:
        """A third are logins, each person's once; the rest goes on browsing, logged in or not."""
        now_ms = time.time_ns() // 1_000_000
        found = []
        for _ in range(count):
            number = self._rng.randrange(self.people)
            if self._logins and self._rng.random() < 0.34:
                found.append(person(self._logins.pop(), "identified", now_ms, "user_id", "anonymous_id"))
            elif self._rng.random() < 0.5:
                found.append(person(number, "page_viewed", now_ms, "anonymous_id"))
            else:
                found.append(person(number, "product_viewed", now_ms, "anonymous_id"))
        self.sent += found
        return found

    def rest(self) -> list[Touchpoint]:
        """Those who have not logged in yet do now."""
        now_ms = time.time_ns() // 1_000_000
        found = [person(one, "identified", now_ms, "user_id", "anonymous_id") for one in self._logins]
        self._logins.clear()
        self.sent += found
        return found


def flaps(fleet: Fleet) -> list[str]:
    """Changes that a merge took back, or that came under an id that was an alias by then."""
    changes, aliases = fleet.records("segments.membership"), fleet.records("profiles.merges")
    alias_at = {alias["old_profile_id"]: alias["decided_at"] for alias in aliases}
    found = []
    for change in changes:
        text = f"{change['change']} {change['segment_id']} by {change['cause']} as {change['profile_id']}"
        if change["change"] == "exited":
            found.append(f"taken back: {text}")
        elif change["segment_id"] == "known-not-browsed":
            found.append(f"not true of anybody: {text}")
        elif change["decided_at"] > alias_at.get(change["profile_id"], change["decided_at"]):
            found.append(f"under an alias: {text}")
    return found


def log_in(fleet: Fleet, people: int, rate: int, workers: int) -> None:
    """Let everybody log in under load, then look at what was told."""
    fleet.create_topics(PARTITIONS)
    fleet.apply(*DEFINITIONS)
    visitors = Visitors(people, seed=people)
    fleet.start(*(f"w{number}" for number in range(workers)))
    fleet.send(visitors.history())
    fleet.wait_idle(IDLE_S)
    with Load(fleet, visitors.take, rate, most=visitors.total) as load:
        load.wait()
    fleet.send(visitors.rest())
    fleet.wait_idle(IDLE_S)
    assert_equal_to_oracle(fleet, visitors.sent, DEFINITIONS)
    found, aliases = flaps(fleet), fleet.read("profiles.merges")
    known = f"{people} logins at {rate} touchpoints/s, {workers} workers, {len(aliases)} aliases"
    print(f"{known}, {len(found)} flaps")
    assert not found, f"{known}, {len(found)} flaps:\n" + "\n".join(found[:10])


def test_logins_under_load_do_not_flap(make_fleet: MakeFleet) -> None:
    log_in(make_fleet(), people=500, rate=500, workers=1)


@pytest.mark.soak
def test_ten_thousand_logins_under_load_do_not_flap(make_fleet: MakeFleet) -> None:
    log_in(make_fleet(), people=10_000, rate=1_500, workers=2)
