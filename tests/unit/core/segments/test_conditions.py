"""Each kind of condition as a short story: who enters and leaves, and at which millisecond."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from pipeline.core.outbox import Cause, MembershipChange
from pipeline.core.segments import asked
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch
from tests.support.evidence import shipped_policy
from tests.support.memory import Cluster
from tests.support.memory_definitions import MemoryControl, MemoryDefinitions

HOUR = 3_600_000
DAY = 24 * HOUR


def instant(text: str) -> int:
    """`2026-03-29T00:00` in UTC, in ms."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000


NOON = instant("2026-03-01T12:00")


class Story:
    """A few partitions from `start_ms` on. Instants are ms after it."""

    def __init__(self, *wheres: dict[str, Any], start_ms: int = NOON) -> None:
        """`wheres`: conditions, of the segments a, b, c …"""
        self.start_ms = start_ms
        self.control = MemoryControl()
        for name, where in zip("abc", wheres, strict=False):
            self.control.apply({"id": name, "where": where})
        self.cluster = Cluster(
            shipped_policy(), size=3, start_ms=start_ms,
            make_definitions=lambda partition: MemoryDefinitions(self.control, partition),
        )  # fmt: skip
        self.cluster.settle()
        self._number = 0

    def see(self, at: int, kind: str, identifiers: str = "user_id:1", late: int = 0, **fields: Any) -> None:
        """An event that arrives at `at` and happened `late` before. `fields`: properties, or traits={}."""
        self._number += 1
        traits = orjson.dumps(fields.pop("traits", {})).decode()
        event_id, occurred_at = f"e{self._number}", self.start_ms + at - late
        self.until(at)
        properties = orjson.dumps(fields).decode()
        self.cluster.accept(
            Touch(event_id, "web", kind, occurred_at, identifiers.split(), traits, properties)
        )
        self.cluster.settle()

    def until(self, at: int) -> None:
        """Time goes on."""
        self.cluster.advance(max(self.cluster.now_ms, self.start_ms + at))

    def changes(self) -> list[MembershipChange]:
        """All that was told."""
        return [one.output for one in self.cluster.told if isinstance(one.output, MembershipChange)]

    def inside(self, *segment_ids: str) -> list[set[str]]:
        """Of each segment the strongest identifiers of those inside, as they were told."""
        found: dict[str, dict[str, str]] = {name: {} for name in segment_ids}
        names: dict[str, str] = {}
        for one in self.changes():
            names |= {one.profile_id: one.identifiers[0]} if one.identifiers else {}
            found[one.segment_id][one.profile_id] = one.change
        return [
            {names[pid] for pid, change in told.items() if change == "entered"} for told in found.values()
        ]

    def told(self, segment_id: str = "a") -> list[tuple[str, int]]:
        """(change, instant) of one segment."""
        changes = [one for one in self.changes() if one.segment_id == segment_id]
        return [(one.change, one.occurred_at - self.start_ms) for one in changes]


def test_a_sum_over_a_window_ends_when_an_event_leaves_and_begins_again_when_a_refund_does() -> None:
    story = Story({"event": "paid", "within": "7d", "sum": "total", "gte": 100})
    story.see(0, "paid", total=60)
    story.see(DAY, "paid", total=-30)
    story.see(2 * DAY, "paid", total=60.5)
    story.see(3 * DAY, "paid", total=9.5)
    story.see(4 * DAY, "paid", total="99")  # a text is no number
    story.see(5 * DAY, "paid", total=30.01)
    story.until(30 * DAY)
    # 100 at first, 130.01 in the end; without the first 70.01, without the refund 100.01, then 39.51.
    assert story.told() == [
        ("entered", 3 * DAY),
        ("exited", 7 * DAY),
        ("entered", 8 * DAY),
        ("exited", 9 * DAY),
    ]
    assert [one.cause for one in story.changes()[1:]] == [Cause.TIMER] * 3


def test_sums_are_sums_of_decimals_and_an_average_is_not_rounded() -> None:
    story = Story(
        {"event": "paid", "sum": "total", "lte": 0.3},
        {"event": "paid", "avg": "total", "gt": 0.333333, "lt": 0.333334},
        {"event": "paid", "min": "total", "gte": 1},
    )
    story.see(0, "paid", total=0.1)
    story.see(1, "paid", total=0.2)
    assert story.told() == [("entered", 0)]
    story.see(2, "paid", total=0.7)
    assert story.told() == [("entered", 0), ("exited", 2)]
    assert story.told("b") == [("entered", 2)]  # 1/3
    assert story.told("c") == []


def test_of_nothing_the_sum_is_zero_and_there_is_no_least_greatest_or_mean() -> None:
    story = Story(
        {"event": "paid", "sum": "total", "lt": 1},
        {"any": [{"event": "paid", one: "total", "lt": 1} for one in ("min", "max", "avg")]},
        {"event": "paid", "within": "1d", "sum": "total", "gte": 0},
    )
    story.see(0, "page_viewed")
    assert (story.told(), story.told("b"), story.told("c")) == ([("entered", 0)], [], [("entered", 0)])


def test_a_window_is_judged_by_the_newest_events_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "KEPT_MAX", 3)
    story = Story(
        {"event": "paid", "within": "7d", "sum": "total", "gte": 10},
        {"event": "paid", "within": "7d", "at_least": 5},
        {"sequence": [{"event": "paid"}, {"event": "sent"}], "within": "7d"},
    )
    story.see(0, "sent")
    for at, total in enumerate([9, 1, 1, 1, 1], 1):
        story.see(at, "paid", total=total)
    assert story.told() == [("entered", 2), ("exited", 4)]
    assert story.told("b") == [("entered", 5)]
    story.see(10, "sent", late=8)  # after the first payment, which is no longer among the newest three
    assert story.told("c") == []
    story.see(11, "sent")
    story.until(8 * DAY)
    assert story.told("c") == [("entered", 11), ("exited", 5 + 7 * DAY)]


def test_a_sequence_needs_later_instants_and_ends_with_its_first_event() -> None:
    story = Story({"sequence": [{"event": "viewed", "where": {"price": {"gt": 10}}}, {"event": "paid"}],
                   "within": "7d"})  # fmt: skip
    story.see(0, "paid")
    story.see(0, "viewed", price=20)
    assert story.told() == []  # of one millisecond
    story.see(HOUR, "viewed", price=5)
    story.see(2 * HOUR, "paid")
    story.see(3 * HOUR, "viewed", price=20)
    assert story.told() == [("entered", 2 * HOUR)]
    story.until(30 * DAY)
    assert story.told() == [("entered", 2 * HOUR), ("exited", 7 * DAY)]


def test_a_sequence_whose_events_lie_on_two_devices_is_found_when_these_turn_out_to_be_one_person() -> None:
    story = Story({"sequence": [{"event": "viewed"}, {"event": "paid"}, {"event": "rated"}], "within": "7d"})
    story.see(0, "viewed", "device_id:d")
    story.see(HOUR, "paid", "user_id:1")
    story.see(2 * HOUR, "rated", "device_id:d")
    assert story.told() == []
    story.see(3 * HOUR, "identified", "user_id:1 device_id:d")
    story.until(30 * DAY)
    assert story.told() == [("entered", 3 * HOUR), ("exited", 7 * DAY)]


def test_two_in_seven_days_with_one_event_on_each_side_of_a_merge() -> None:
    story = Story({"event": "viewed", "within": "7d", "at_least": 2})
    story.see(0, "viewed", "device_id:d")
    story.see(DAY, "viewed", "user_id:1")
    story.see(2 * DAY, "identified", "user_id:1 device_id:d")
    story.until(30 * DAY)
    assert story.told() == [("entered", 2 * DAY), ("exited", 7 * DAY)]


def test_the_first_time_ends_with_the_second_or_with_its_window() -> None:
    story = Story({"first_time": "paid"}, {"first_time": "paid", "within": "7d"},
                  {"first_time": "paid", "where": {"total": {"gt": 10}}})  # fmt: skip
    story.see(0, "paid", total=5)
    story.see(DAY, "paid", "user_id:2", total=50)
    story.see(8 * DAY, "paid", total=50)
    story.until(30 * DAY)
    assert story.told() == [("entered", 0), ("entered", DAY), ("exited", 8 * DAY)]
    assert story.told("b") == [("entered", 0), ("entered", DAY), ("exited", 7 * DAY), ("exited", 8 * DAY)]
    assert story.told("c") == [("entered", DAY), ("entered", 8 * DAY)]


def test_not_in_ten_days_for_a_new_profile_and_with_an_event_of_three_and_one_of_fifteen_days_ago() -> None:
    story = Story({"not_since": {"event": "paid", "for": "10d"}})
    story.see(0, "page_viewed", "user_id:new")
    story.see(1, "paid", "user_id:recent", late=3 * DAY)
    story.see(2, "paid", "user_id:old", late=15 * DAY)
    story.until(30 * DAY)
    assert story.told() == [("entered", 0), ("entered", 2 - 15 * DAY), ("entered", 7 * DAY + 1)]
    assert [one.cause for one in story.changes()][-1] is Cause.TIMER


def test_a_falling_count_enters_at_most() -> None:
    story = Story({"event": "paid", "within": "7d", "at_most": 1})
    for at in (0, HOUR, 2 * HOUR):
        story.see(at, "paid")
    story.until(30 * DAY)
    assert story.told() == [("entered", 0), ("exited", HOUR), ("entered", 7 * DAY + HOUR)]


def test_who_never_did_it_is_found_by_a_new_definition_although_no_event_touches_them() -> None:
    story = Story()
    story.see(0, "page_viewed", "user_id:1")
    story.see(0, "paid", "user_id:2")
    story.see(0, "page_viewed", "user_id:3 device_id:only-beside")
    for name, where in {
        "a": {"not_since": {"event": "paid"}},
        "b": {"none": [{"event": "paid", "within": "30d"}]},
    }.items():
        story.control.apply({"id": name, "where": where})
    story.until(HOUR)
    for segment_id in ("a", "b"):
        assert [change for change, _ in story.told(segment_id)] == ["entered", "entered"]
    assert {one.cause for one in story.changes()} == {Cause.BACKFILL}


@pytest.mark.parametrize(
    ("day", "begins", "ends"),
    [
        ("2026-03-29", "2026-03-28T23:00", "2026-03-29T22:00"),  # 23 hours
        ("2026-03-30", "2026-03-29T22:00", "2026-03-30T22:00"),
        ("2026-10-25", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours
    ],
)
def test_a_day_is_that_of_its_time_zone_also_when_clocks_change(day: str, begins: str, ends: str) -> None:
    story = Story({"trait": "renewal", "on": "today", "timezone": "Europe/Madrid"}, start_ms=NOON)
    story.see(0, "identified", traits={"renewal": day})
    story.until(300 * DAY)
    assert story.told() == [("entered", instant(begins) - NOON), ("exited", instant(ends) - NOON)]
    assert {one.cause for one in story.changes()} == {Cause.TIMER}


def test_a_birthday_on_the_29th_of_february_is_the_28th_in_other_years() -> None:
    start = instant("2026-02-01T00:00")
    story = Story({"trait": "birth_date", "anniversary": "today"}, start_ms=start)
    story.see(0, "identified", traits={"birth_date": "1996-02-29"})
    for year in (2026, 2027, 2028):
        story.until(instant(f"{year}-12-31T00:00") - start)
    days = [datetime.fromtimestamp((start + at) / 1_000, UTC).date().isoformat() for _, at in story.told()]
    assert days == ["2026-02-28", "2026-03-01", "2027-02-28", "2027-03-01", "2028-02-29", "2028-03-01"]


def test_a_contract_that_ends_within_thirty_days_in_calendar_days_or_in_hours() -> None:
    where = {"trait": "contract_end", "within_next": "30d"}
    story = Story(
        {**where, "timezone": "Europe/Madrid"}, where, {"trait": "contract_end", "within_last": "36h"}
    )
    story.see(0, "identified", traits={"contract_end": "2026-04-10"})
    story.until(60 * DAY)
    local, utc = instant("2026-04-09T22:00") - NOON, instant("2026-04-10T00:00") - NOON
    assert story.told() == [("entered", instant("2026-03-10T23:00") - NOON), ("exited", local)]
    assert story.told("b") == [("entered", utc - 30 * DAY), ("exited", utc)]
    assert story.told("c") == [("entered", utc), ("exited", utc + 36 * HOUR)]


def test_a_segment_inside_another_changes_it_in_the_same_step_at_the_same_instant() -> None:
    both = {"all": [{"segment": "a"}, {"none": [{"segment": "c"}]}]}
    story = Story({"event": "paid", "within": "7d"}, both, {"trait": "city", "is": "Lisboa"})
    story.see(0, "paid")
    story.see(DAY, "identified", traits={"city": "Lisboa"})
    story.see(2 * DAY, "identified", traits={"city": "Madrid"})
    story.until(30 * DAY)
    assert story.told("b") == [("entered", 0), ("exited", DAY), ("entered", 2 * DAY), ("exited", 7 * DAY)]
    decided = {(one.segment_id, one.occurred_at): one.decided_at for one in story.changes()}
    assert decided["a", NOON + 7 * DAY] == decided["b", NOON + 7 * DAY]


def test_an_edit_and_a_deletion_of_the_segment_inside_move_the_members_of_the_other() -> None:
    story = Story({"event": "paid"}, {"segment": "a"}, {"none": [{"segment": "b"}]})
    story.see(0, "paid")
    story.see(0, "viewed", "user_id:2")
    assert story.inside("a", "b", "c") == [{"user_id:1"}, {"user_id:1"}, {"user_id:2"}]
    story.control.apply({"id": "a", "where": {"event": "viewed"}})
    story.until(HOUR)
    assert story.inside("a", "b", "c") == [{"user_id:2"}, {"user_id:2"}, {"user_id:1"}]
    story.control.delete("a")
    story.until(2 * HOUR)
    assert story.inside("a", "b", "c") == [set(), set(), {"user_id:1", "user_id:2"}]
    causes = [one.cause for one in story.changes()]
    assert causes == [Cause.EVENT] * 3 + [Cause.DEFINITION] * (6 + 3)


def test_two_segments_inside_each_other_hold_for_nobody_when_they_come_raw() -> None:
    story = Story({"any": [{"segment": "b"}, {"event": "paid"}]}, {"none": [{"segment": "a"}]})
    story.see(0, "paid")
    story.see(1, "viewed", "user_id:2")
    # Each sees nobody in the other one; its own words count.
    assert story.told("a") == [("entered", 0)]
    assert story.told("b") == [("entered", 0), ("entered", 1)]
    assert definition_from_json({"id": "x", "where": {"segment": "x"}}).to_json()["where"] == {"segment": "x"}
