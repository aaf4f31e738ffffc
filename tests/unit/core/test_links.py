"""Whom an identifier has left, and what consumers are told of it: cause, instant and events."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.links import parted_ids
from pipeline.core.node import Profile
from pipeline.core.outbox import MembershipChange
from pipeline.core.outputs import EMPTY
from pipeline.core.policy import Policy, parse_policy
from pipeline.core.segments.parse import definition_from_json
from tests.support.evidence import START_MS, People, shipped_policy
from tests.support.memory import Chaos, Cluster

DAY_MS = 86_400_000
SEGMENTS: list[dict[str, Any]] = [
    {"id": "device", "where": {"has": "device_id"}},
    {"id": "known", "where": {"none": [{"event": "never_done"}]}},
]
MOVING = shipped_policy(device_id={"on_conflict": "move"})
SHARED = shipped_policy(device_id={"shared_after": 1})
APART = parse_policy({
    "identifiers": {"email": {"limit": 5}, "device_id": {"limit": 20}}, "cannot_link": {"traits": ["born"]},
})  # fmt: skip


def profile(name: str, identifiers: str) -> Profile:
    """A profile as an evaluation makes it."""
    return Profile(name, identifiers.split(), (0, 0, name), EMPTY)


@pytest.mark.parametrize(
    ("before", "after", "parted"),
    [
        ({"u": "u d a"}, {"u": "u d a"}, set()),
        ({"u": "u", "v": "v"}, {"u": "u v"}, set()),
        ({"u": "u d a"}, {"u": "u", "d": "d a"}, {"u", "d"}),
        ({"u": "u d"}, {"u": "u", "d": "v d"}, {"u"}),
        ({"u": "u d", "v": "v"}, {"u": "u", "v": "v d"}, {"u"}),
        ({"u": "u d"}, {"u": "u"}, {"u"}),  # The device is nobody now.
        ({"d": "v d"}, {"u": "u d", "v": "v"}, {"d", "v"}),
    ],
)
def test_parted_is_who_was_left_and_who_is_made_of_nothing_else(
    before: dict[str, str], after: dict[str, str], parted: set[str]
) -> None:
    then, now = ([profile(*one) for one in found.items()] for found in (before, after))
    assert parted_ids(then, now) == parted


def told(policy: Policy, size: int, chaos: Chaos, *touches: tuple[str, int, dict[str, Any]]) -> list[str]:
    """What is told of the last of the touches (identifiers, day, fields), a line each, in order."""
    people = People(policy)
    people.cluster = Cluster(
        policy, map(definition_from_json, SEGMENTS), size=size, start_ms=START_MS, chaos=chaos
    )
    for identifiers, day, fields in touches:
        before = len(people.cluster.told)
        number = len(people.touches)
        people.touch(identifiers, later_ms=day * DAY_MS - number * 1_000, **fields)
    changes = [one.output for one in people.cluster.told[before:] if isinstance(one.output, MembershipChange)]
    names = {
        pid: entry.anchor for one in people.owned().values() for pid, entry in one.entries.items()
    }  # fmt: skip
    return [
        f"{names[one.profile_id]} {one.change} {one.segment_id}, {one.cause}, "
        f"day {(one.occurred_at - START_MS) // DAY_MS}, {one.event_ids[0]}"
        for one in changes
    ]


EVERY_WAY = [
    pytest.param(size, Chaos(batch_max=batch_max, forget=forget), id=f"{size} partitions, forget {forget}")
    for size, batch_max, forget in ((1, 1_000, 0), (3, 1, 1), (16, 1, 1))
]


@pytest.mark.parametrize(("size", "chaos"), EVERY_WAY)
def test_a_device_that_goes_to_somebody_else_is_an_unmerge_for_whom_it_leaves(
    size: int, chaos: Chaos
) -> None:
    found = told(MOVING, size, chaos, ("user_id:ana device_id:d", 1, {}), ("device_id:d", 2, {}),
                 ("user_id:bia device_id:d", 3, {}))  # fmt: skip
    assert sorted(found) == [
        "device_id:d entered device, event, day 3, e2",
        "device_id:d entered known, event, day 3, e2",
        "user_id:ana exited device, unmerge, day 3, e2",
    ]


@pytest.mark.parametrize(("size", "chaos"), EVERY_WAY)
def test_who_loses_a_device_that_becomes_shared_is_told_by_the_touch_that_made_it_so(
    size: int, chaos: Chaos
) -> None:
    found = told(SHARED, size, chaos, ("user_id:ana device_id:d", 1, {}), ("device_id:d", 2, {}),
                 ("user_id:bia device_id:d", 60, {}))  # fmt: skip
    assert sorted(found) == [
        "device_id:d entered device, unmerge, day 60, e2",
        "device_id:d entered known, unmerge, day 60, e2",
        "user_id:ana exited device, unmerge, day 60, e2",
        "user_id:bia entered known, event, day 60, e2",
    ]


@pytest.mark.parametrize(("size", "chaos"), EVERY_WAY)
def test_a_device_that_is_nobody_once_it_is_shared_has_left_too(size: int, chaos: Chaos) -> None:
    found = told(SHARED, size, chaos, ("user_id:ana device_id:d", 1, {}), ("user_id:bia device_id:d", 60, {}))
    assert sorted(found) == [
        "user_id:ana exited device, unmerge, day 60, e1",
        "user_id:bia entered known, event, day 60, e1",
    ]


@pytest.mark.parametrize(("size", "chaos"), EVERY_WAY)
def test_a_trait_that_is_told_later_parts_with_cause_unmerge(size: int, chaos: Chaos) -> None:
    found = told(APART, size, chaos, ("email:a device_id:d", 1, {"traits": '{"born": "1990"}'}),
                 ("email:a email:b", 2, {}), ("email:b", 3, {"traits": '{"born": "1991"}'}))  # fmt: skip
    assert found == ["email:b entered known, unmerge, day 3, e2"]
