"""The life of a definition as people see it: edited while events flow, paused, resumed, begun silently."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.outbox import Cause, MembershipChange
from pipeline.core.touch import Touch
from pipeline.runtime import definitions as runtime
from tests.support.evidence import START_MS, shipped_policy
from tests.support.laws import changes_of
from tests.support.memory import Cluster
from tests.support.memory_definitions import MemoryControl, MemoryDefinitions

PEOPLE = 12
MINUTE_MS = 60_000


class Shop:
    """Three partitions with definitions that change. Touch n happens n seconds after START_MS."""

    def __init__(self) -> None:
        self.control = MemoryControl()
        self.cluster = Cluster(
            shipped_policy(), size=3, start_ms=START_MS,
            make_definitions=lambda partition: MemoryDefinitions(self.control, partition),
        )  # fmt: skip
        self.number = 0

    def send(self, who: int, kind: str, **fields: Any) -> Touch:
        """Somebody does something now; it is on its way."""
        self.number += 1
        self.cluster.now_ms = max(self.cluster.now_ms, START_MS + self.number * 1_000)
        touch = Touch(f"e{self.number}", "web", kind, self.cluster.now_ms, [f"user_id:{who}"], **fields)
        self.cluster.accept(touch)
        return touch

    def told(self, since: int = 0) -> list[MembershipChange]:
        """What was told once everything has settled."""
        self.cluster.settle()
        return changes_of(self.cluster)[since:]


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Work on definitions takes many batches although there is little of it."""
    monkeypatch.setattr(runtime, "FILL_STEP", 2)
    monkeypatch.setattr(runtime, "SCAN_STEP", 2)
    return Shop()


def test_an_edit_while_events_flow_tells_each_difference_once(shop: Shop) -> None:
    shop.control.apply({"id": "eager", "where": {"event": "page_viewed", "within": "1h"}})
    for who in range(PEOPLE):
        shop.send(who, "page_viewed")
    before = shop.told()
    assert {one.change for one in before} == {"entered"}
    assert len(before) == PEOPLE

    shop.control.apply({"id": "eager", "where": {"event": "page_viewed", "within": "1h", "at_least": 2}})
    for who in range(0, PEOPLE, 2):  # Every second one looks again, while the edit is worked off.
        shop.send(who, "page_viewed")
        shop.cluster.run(2)
    after = shop.told(len(before))
    left = [one.profile_id for one in after if one.change == "exited"]
    back = [one.profile_id for one in after if one.change == "entered"]
    assert len(set(left)) == len(left)
    assert all(one.cause is Cause.DEFINITION for one in after if one.change == "exited")
    assert set(back) <= set(left)  # Who was told to have left before the second look has entered again.
    assert len(left) - len(back) == PEOPLE // 2
    assert {one.sequence for one in after if one.change == "entered"} <= {3}


def test_a_paused_segment_goes_on_counting_and_resuming_tells_the_difference(shop: Shop) -> None:
    shop.control.apply({"id": "eager", "where": {"event": "page_viewed", "within": "1h", "at_least": 2}})
    shop.send(1, "page_viewed")
    shop.send(2, "page_viewed")
    shop.send(2, "page_viewed")
    assert [one.change for one in shop.told()] == ["entered"]
    shop.control.pause("eager")
    shop.cluster.settle()
    shop.cluster.advance(START_MS + 61 * MINUTE_MS)  # Both of the second one's views have left the window.
    shop.number = 61 * 60
    shop.send(1, "page_viewed")
    shop.send(1, "page_viewed")
    assert shop.told(1) == []

    shop.control.pause("eager", False)
    resumed = shop.told(1)
    assert sorted((one.change, one.sequence) for one in resumed) == [("entered", 1), ("exited", 2)]
    assert {one.cause for one in resumed} == {Cause.DEFINITION}


def test_who_withdraws_consent_leaves_a_paused_segment_and_nobody_enters_it(shop: Shop) -> None:
    where = {"event": "page_viewed"}
    shop.control.apply({"id": "reached", "purpose": "marketing", "where": where})
    shop.send(1, "page_viewed", consent={"marketing": True})
    assert len(shop.told()) == 1
    shop.control.pause("reached")
    shop.cluster.settle()
    shop.send(2, "page_viewed", consent={"marketing": True})
    refusal = shop.send(1, "preferences_saved", consent={"marketing": False})
    (left,) = shop.told(1)
    assert (left.change, left.cause, left.occurred_at) == ("exited", Cause.CONSENT, refusal.occurred_at)
    shop.send(1, "preferences_saved", consent={"marketing": True})
    assert shop.told(2) == []
    shop.control.pause("reached", False)
    assert [one.change for one in shop.told(2)] == ["entered", "entered"]


def test_a_segment_that_uses_a_paused_one_goes_on(shop: Shop) -> None:
    shop.control.apply({"id": "looking", "where": {"event": "page_viewed"}})
    shop.control.apply({"id": "not-looking", "where": {"none": [{"segment": "looking"}]}})
    shop.send(1, "order_completed")
    assert [one.segment_id for one in shop.told()] == ["not-looking"]
    shop.control.pause("looking")
    shop.cluster.settle()
    shop.send(1, "page_viewed")
    assert [(one.segment_id, one.change) for one in shop.told(1)] == [("not-looking", "exited")]


def test_a_silent_first_population_takes_no_sequence(shop: Shop) -> None:
    for who in range(3):
        shop.send(who, "plan_chosen", traits='{"plan": "gold"}')
    shop.cluster.settle()
    shop.control.apply({"id": "golden", "where": {"trait": "plan", "is": "gold"}}, silent=True)
    first = shop.told()
    assert [(one.change, one.sequence, one.silent, one.backfill) for one in first] == [
        ("entered", 0, True, True)
    ] * 3
    shop.send(0, "plan_chosen", traits='{"plan": "tin"}')
    shop.send(0, "plan_chosen", traits='{"plan": "gold"}')
    shop.send(3, "plan_chosen", traits='{"plan": "gold"}')
    later = [(one.change, one.sequence, one.silent) for one in shop.told(3)]
    assert later == [("exited", 1, False), ("entered", 2, False), ("entered", 1, False)]
