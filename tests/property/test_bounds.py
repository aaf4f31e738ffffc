"""What many people share, or one does too often, stays bounded: every record, and the work of each touch.

Work is counted in messages and in bytes written, never in time. Each history is told in a short form and,
marked `soak`, in the size of the field: 100,000 people at a kiosk, 10,000 log-ins on a device, a circle of
1,000 links.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from pipeline.core.node import COMPONENT_KEY, IDENTIFIER_KEY, PAGE_KEY
from pipeline.core.outbox import Review
from pipeline.core.policy import Policy, parse_policy
from pipeline.core.touch import Touch
from tests.support.evidence import START_MS, shipped_policy
from tests.support.laws import check_outputs, check_profiles, check_structure, profiles_of
from tests.support.memory import CALM, Cluster
from tests.support.meter import Metered, Work, largest_records, work_of
from tests.support.touchpoints import DEFAULTS

DAY_MS = 86_400_000
RECORD_BYTES_MAX = 40_000
"""More than any record here needs, far less than one that grows with the number of people."""
History = Callable[[int], Iterator[Touch]]


def large(*sizes: int) -> list[Any]:
    """The sizes of a history, the last one for a soak."""
    return [*sizes[:-1], pytest.param(sizes[-1], marks=pytest.mark.soak)]


def touch(number: int, *identifiers: str, at_ms: int | None = None) -> Touch:
    occurred_at = START_MS + number if at_ms is None else at_ms
    return Touch(f"e{number}", "web", "page_viewed", occurred_at, list(identifiers))


def kiosk(people: int) -> Iterator[Touch]:
    """People who leave the e-mail of the shop's own terminal, and terminals that send it alone."""
    for number in range(people):
        ana = f"user_id:u{number}"
        yield touch(3 * number, ana, "email:kiosk@shop.com", f"device_id:d{number}")
        yield touch(3 * number + 1, "email:kiosk@shop.com", f"anonymous_id:a{number}")
        yield touch(3 * number + 2, ana, "email:kiosk@shop.com")


def one_device(logins: int) -> Iterator[Touch]:
    """A tablet on a counter: everybody logs in once, and it is used without a log-in in between."""
    for number in range(logins):
        yield touch(2 * number, f"user_id:u{number}", "device_id:tablet")
        yield touch(2 * number + 1, "device_id:tablet", f"anonymous_id:a{number}")


def call_centre(calls: int) -> Iterator[Touch]:
    """One log-in that is used for all customers: each touch names two further strong identifiers."""
    for number in range(calls):
        yield touch(number, "user_id:agent", f"cpf:{number:011d}", f"device_id:d{number}")


def technician(calls: int) -> Iterator[Touch]:
    """One person logs in on every tablet, and each of them is shared by others already."""
    for number in range(calls):
        tablet = f"device_id:t{number}"
        yield touch(3 * number, f"user_id:a{number}", tablet)
        yield touch(3 * number + 1, f"user_id:b{number}", tablet)
        yield touch(3 * number + 2, "user_id:agent", tablet)


def play(history: Iterator[Touch], policy: Policy, every: int = 1) -> tuple[Cluster, list[Work]]:
    """Each touch by itself. Returns the work that was done for each `every` touches."""
    cluster = Cluster(policy, size=3, start_ms=START_MS, chaos=CALM, partition=Metered)
    done = []
    before = Work()
    for number, one in enumerate(history, 1):
        cluster.now_ms = max(cluster.now_ms, one.occurred_at)
        cluster.accept(one)
        cluster.settle()
        if number % every == 0:
            now = work_of(cluster)
            done.append(Work(now.messages - before.messages, now.written - before.written))
            before = now
    return cluster, done


def check_steady(done: list[Work]) -> None:
    """The last quarter of the touches costs no more than the second one; where nodes lie is chance."""
    quarter = len(done) // 4
    second, last = done[quarter : 2 * quarter], done[-quarter:]
    assert max(work.messages for work in last) <= 1.25 * max(work.messages for work in second)
    assert max(work.written for work in last) <= 1.25 * max(work.written for work in second)


@pytest.mark.parametrize(
    ("history", "people"),
    [
        pytest.param(history, size, marks=marks, id=f"{history.__name__}-{size}")
        for history, sizes in ((kiosk, (200, 100_000)), (one_device, (300, 10_000)))
        for size, marks in zip(sizes, ([], [pytest.mark.soak]), strict=True)
    ],
)
def test_what_everybody_shares_costs_the_last_as_much_as_the_first(history: History, people: int) -> None:
    cluster, done = play(history(people), shipped_policy(), every=6)
    check_steady(done)
    records = largest_records(cluster)
    assert max(records.values()) < RECORD_BYTES_MAX
    assert records[IDENTIFIER_KEY] < 1_000
    assert "shared" in cluster.refused
    largest = max(len(profile["identifiers"]) for profile in profiles_of(cluster))
    assert largest <= 3


@pytest.mark.parametrize(
    ("history", "calls"),
    [
        pytest.param(history, size, marks=marks, id=f"{history.__name__}-{size}")
        for history in (call_centre, technician)
        for size, marks in ((200, []), (10_000, [pytest.mark.soak]))
    ],
)
def test_a_component_that_is_full_stops_growing_and_is_seen(history: History, calls: int) -> None:
    policy = shipped_policy_with(
        {"device_id": {"limit": 20, "shared_after": 1}}, component_identifiers_max=50
    )  # fmt: skip
    cluster, done = play(history(calls), policy, every=6)
    check_steady(done)
    assert max(largest_records(cluster).values()) < RECORD_BYTES_MAX
    sizes = [
        len(one.identifiers) + len(one.closed)
        for partition in cluster.partitions
        for one in partition.components()
        if not one.redirect
    ]
    assert max(sizes) == 50
    assert cluster.refused.count("component_full") >= calls - 50
    reviews = [told.output for told in cluster.told if isinstance(told.output, Review)]
    assert [(one.kind, one.component) for one in reviews] == [("oversized", "user_id:agent")]


@pytest.mark.parametrize("length", large(60, 1_000))
def test_a_circle_of_links_comes_to_rest_and_is_cut_by_the_limits(length: int) -> None:
    policy = shipped_policy_with({}, component_identifiers_max=2 * length + 1)
    ring = [
        touch(number, f"email:p{number // 2 if number % 2 else (number // 2 - 1) % length}@x.com",
              f"device_id:d{number // 2}")
        for number in range(2 * length)
    ]  # fmt: skip
    cluster, done = play(iter(ring), policy)
    assert max(work.messages for work in done) < 60
    check_structure(cluster)
    if length <= 60:
        check_profiles(cluster, ring)
    check_outputs(cluster)
    sizes = [len(profile["identifiers"]) for profile in profiles_of(cluster)]
    assert max(sizes) <= 5 + 20


@pytest.mark.parametrize("owners", large(12, 300))
def test_a_number_that_is_given_to_somebody_else_every_year_moves_on_and_leaves_them_alone(
    owners: int,
) -> None:
    policy = shipped_policy_with(
        {"phone": {"limit": 5, "normalise": "phone", "unique": "newest"}}, component_identifiers_max=10_000
    )
    number = "phone:+5511912345678"
    touches = [
        touch(2 * year + more, f"user_id:u{year}", number, at_ms=START_MS + 365 * year * DAY_MS + more)
        for year in range(owners)
        for more in range(2)
    ]
    cluster, done = play(iter(touches), policy, every=2)
    assert done[-1].messages <= done[2].messages + 5
    assert largest_records(cluster)[IDENTIFIER_KEY] < 1_000
    check_structure(cluster)
    check_profiles(cluster, touches)
    check_outputs(cluster)
    holders = [one["identifiers"] for one in profiles_of(cluster) if number in one["identifiers"]]
    assert holders == [[f"user_id:u{owners - 1}", number]]


def test_somebody_who_shares_nothing_costs_the_same_beside_a_kiosk() -> None:
    alone = [touch(n, f"user_id:lonely{n}", f"device_id:l{n}") for n in range(5)]
    _, by_themselves = play(iter(alone), shipped_policy())
    cluster, beside = play([*kiosk(100), *alone].__iter__(), shipped_policy())
    assert [work.messages for work in beside[-5:]] == [work.messages for work in by_themselves]
    assert [work.written for work in beside[-5:]] == [work.written for work in by_themselves]
    assert {COMPONENT_KEY, PAGE_KEY} <= set(largest_records(cluster))


def shipped_policy_with(rules: dict[str, Any], **changes: Any) -> Policy:
    """The shipped policy with other rules for some types, and other settings."""
    document = yaml.safe_load(DEFAULTS.read_text("utf-8"))
    document["identifiers"].update(rules)
    return parse_policy(document | changes)
