"""What delivery decides without any I/O: order, what an answer means, when again, bodies."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from connectors.deliver.backoff import BREAKER_FAILURES, OPEN_MS_FIRST, Breaker, Rate, retry_ms
from connectors.deliver.lane import Lane, Pending, Watermark
from connectors.deliver.records import (
    Status,
    Stored,
    decode_stored,
    destination_of,
    encode_stored,
    key_of,
)
from connectors.deliver.template import READY, Template, Unaddressable, check, check_addressable, render
from connectors.deliver.verdict import Kind, judge
from pipeline.core.errors import InvariantViolation
from pipeline.core.outbox import MembershipChange
from pipeline.wire.records import encode_membership_change

CHANGE = {
    "change_id": "c1", "profile_id": "p1", "segment_id": "madrid-runners", "segment_version": 3,
    "change": "entered", "sequence": 1, "occurred_at": 1_760_000_000_123, "decided_at": 1_760_000_000_200,
    "cause": "event", "event_ids": ["e1"], "backfill": False,
    "identifiers": [{"type": "email", "value": "ana@example.com"}, {"type": "user_id", "value": "u7"},
                    {"type": "email", "value": "second@example.com"}],
}  # fmt: skip
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOBODY = {**CHANGE, "identifiers": []}


def pending(number: int, profile: str = "p", **more: Any) -> Pending:
    return Pending({"change_id": f"c{number}", "profile_id": profile}, b"", number, **more)


def test_the_next_of_a_profile_goes_when_the_one_before_is_settled() -> None:
    lane = Lane(0, 0)
    first, second, other = pending(0), pending(1), pending(2, "q")
    for one in (first, second, other):
        assert lane.add(one) == []
    assert lane.take(0, 10) == [first, other]
    assert lane.take(0, 10) == []
    lane.done(first)
    assert lane.take(0, 10) == [second]


def test_what_failed_waits_and_what_comes_behind_it_must_be_stored() -> None:
    lane = Lane(0, 0)
    first, second = pending(0), pending(1)
    lane.add(first)
    lane.take(0, 1)
    lane.add(second)
    lane.again(first, 500)
    lane.mark_stored(first)
    assert lane.unstored(first) == [second]
    assert lane.add(third := pending(2)) == [third]
    assert lane.take(499, 10) == []
    assert lane.next_due() == 500
    assert lane.take(499, 10, hurry=True) == [first]


def test_a_change_that_is_read_again_behind_a_later_one_of_its_profile_is_left_out() -> None:
    lane = Lane(0, 4)
    lane.add(pending(5, stored=True))
    for number in (4, 5):
        lane.watermark.begin(number)
        lane.add(pending(number))
    assert [one.offset for one in lane.all()] == [5]
    assert lane.watermark.position == 6


def test_a_letter_that_is_sent_again_goes_before_later_changes_of_its_profile() -> None:
    lane = Lane(0, 0)
    lane.add(pending(7, due_at=100))
    lane.add(pending(3, stored=True, redriven=True))
    assert [one.offset for one in lane.take(0, 10)] == [3]
    lane.add(pending(2, stored=True, redriven=True))
    assert lane.take(100, 10) == [], "the head is in flight"


def test_a_change_that_goes_alone_shares_no_request() -> None:
    lane = Lane(0, 0)
    for number in range(3):
        lane.add(pending(number, f"p{number}", alone=number == 1))
    assert [[one.offset for one in lane.take(0, 10)] for _ in range(3)] == [[0], [1], [2]]


def test_what_waits_is_the_same_after_a_restart() -> None:
    value = encode_membership_change(
        MembershipChange(
            "c1", "p1", "s", 1, "exited", 2, 5, 6, "timer", ("e",), False, ("email:a@b.example",)
        )
    )
    told = Stored(
        1, Status.WAITING, "crm", value, 42, 7, 3, 100, 9_000, True, redriven=True, traceparent=PARENT
    )
    assert decode_stored(encode_stored(told)) == told
    one = told.pending()
    assert (one.change_id, one.profile_id, one.offset) == ("c1", "p1", 42)
    assert (one.attempts, one.failed_at, one.due_at, one.alone) == (3, 100, 9_000, True)
    assert (one.stored, one.redriven, one.traceparent) == (True, True, PARENT)
    assert key_of("crm", "c1") == b"crm|c1"
    assert destination_of(b"crm|c1") == "crm"
    newer = msgspec.structs.replace(told, format=2)
    with pytest.raises(InvariantViolation, match="another version"):
        decode_stored(encode_stored(newer))


@pytest.mark.parametrize("seed", range(50))
def test_the_position_is_the_first_offset_that_is_not_settled(seed: int) -> None:
    rng = random.Random(seed)
    offsets = sorted(rng.sample(range(100, 200), 40))
    watermark, open_ = Watermark(100), []
    for offset in offsets:
        watermark.begin(offset)
        open_.append(offset)
        while open_ and rng.random() < 0.5:
            watermark.settle(open_.pop(rng.randrange(len(open_))))
            assert watermark.position == min(open_, default=offset + 1)
    watermark.settle(99)
    watermark.settle(offsets[-1] + 1)
    assert watermark.position == min(open_, default=offsets[-1] + 1)
    assert len(watermark) == sum(offset >= watermark.position for offset in offsets)


@pytest.mark.parametrize("seed", range(100))
def test_any_failures_leave_every_profile_in_order(seed: int) -> None:
    rng = random.Random(seed)
    lane, delivered, stored, now = Lane(0, 0), [], set(), 0
    waiting = [pending(number, f"p{rng.randrange(4)}") for number in range(40)]
    while waiting or len(lane):
        now += 1
        if waiting and rng.random() < 0.6:
            one = waiting.pop(0)
            lane.watermark.begin(one.offset)
            for kept in lane.add(one):
                lane.mark_stored(kept)
                stored.add(kept.offset)
        for one in lane.take(now, rng.randrange(1, 4)):
            if rng.random() < 0.4:
                lane.again(one, now + rng.randrange(5))
                lane.mark_stored(one)
                for behind in lane.unstored(one):
                    lane.mark_stored(behind)
            else:
                lane.done(one)
                lane.watermark.settle(one.offset)
                delivered.append(one)
    assert lane.stored == 0
    assert lane.watermark.position == 40
    for profile in {one.profile_id for one in delivered}:
        of_profile = [one.offset for one in delivered if one.profile_id == profile]
        assert of_profile == sorted(set(of_profile))


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, Kind.DELIVERED), (204, Kind.DELIVERED), (410, Kind.GONE), (400, Kind.REFUSED), (422, Kind.REFUSED),
     (413, Kind.REFUSED), (301, Kind.RETRY), (401, Kind.RETRY), (403, Kind.RETRY), (404, Kind.RETRY),
     (408, Kind.RETRY), (409, Kind.RETRY), (425, Kind.RETRY), (429, Kind.RETRY), (500, Kind.RETRY),
     (503, Kind.RETRY)],
)  # fmt: skip
def test_what_a_status_means(status: int, kind: Kind) -> None:
    assert judge(status, {}, 0).kind is kind


@pytest.mark.parametrize(
    ("status", "headers", "after_ms"),
    [
        (429, {"Retry-After": "7"}, 7_000),
        (503, {"Retry-After": "0"}, 0),
        (503, {"Retry-After": "Sat, 11 Oct 2025 08:00:00 GMT"}, 1_760_169_600_000 - 1_760_169_000_000),
        (429, {"X-RateLimit-Reset": "1760169003"}, 3_000),
        (503, {"X-RateLimit-Reset": "1760169003"}, None),
        (429, {"Retry-After": "soon"}, None),
        (429, {"Retry-After": "nan"}, None),
        (429, {"Retry-After": "1e12"}, 86_400_000),
        (429, {"Retry-After": "-5"}, 0),
        (429, {"Retry-After": "1e308"}, 86_400_000),
        (429, {"Retry-After": "-1e308"}, 0),
        (429, {"Retry-After": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}, None),
        (429, {"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}, 0),
        (503, {"Retry-After": "Sat, 11 Oct 2025 08:00:00 -0000"}, 600_000),
        (500, {}, None),
    ],
)
def test_how_long_a_destination_asks_to_wait(status: int, headers: dict[str, str], after_ms: int) -> None:
    assert judge(status, headers, 1_760_169_000_000).after_ms == after_ms


def test_the_schedule_of_retries_repeats_its_last_step_and_spreads() -> None:
    assert [retry_ms((100, 1_000), attempts, 0.5) for attempts in (1, 2, 3, 9)] == [100, 1_000, 1_000, 1_000]
    assert retry_ms((1_000,), 1, 0.0) == 800
    assert retry_ms((1_000,), 1, 0.999) in range(1_190, 1_201)


def test_the_breaker_opens_after_failures_in_a_row_and_lets_one_probe_pass() -> None:
    breaker = Breaker()
    for _ in range(BREAKER_FAILURES - 1):
        breaker.failed(0)
    assert breaker.wait_ms(0) == 0
    breaker.succeeded()
    for _ in range(BREAKER_FAILURES):
        breaker.failed(10)
    assert breaker.wait_ms(10) == OPEN_MS_FIRST
    later = 10 + OPEN_MS_FIRST
    assert breaker.wait_ms(later) == 0
    breaker.sent()
    assert breaker.wait_ms(later) is None, "one probe at a time"
    breaker.failed(later)
    assert breaker.wait_ms(later) == 2 * OPEN_MS_FIRST
    assert breaker.failing_since_ms == 10
    assert breaker.succeeded()
    assert breaker.wait_ms(later) == 0
    assert not breaker.succeeded()


def test_a_destination_that_is_resumed_is_asked_at_once_and_judged_anew() -> None:
    breaker = Breaker()
    for _ in range(BREAKER_FAILURES):
        breaker.failed(1_000, 60_000)
    breaker.resumed()
    assert (breaker.is_open, breaker.wait_ms(2_000), breaker.failing_since_ms) == (True, 0, None)
    breaker.sent()
    assert breaker.wait_ms(2_000) is None, "one probe, not ten requests"
    breaker.failed(3_000)
    assert breaker.failing_since_ms == 3_000


def test_a_destination_that_asks_for_a_pause_gets_it() -> None:
    breaker = Breaker()
    breaker.failed(1_000, 5_000)
    assert breaker.wait_ms(2_000) == 4_000


def test_the_rate_allows_a_burst_of_a_second_and_then_its_pace() -> None:
    rate, sent = Rate(10), 0
    for now in range(3_000):
        while rate.wait_ms(now + 1_000) == 0:
            rate.sent()
            sent += 1
    assert sent == 10 + 29
    assert rate.wait_ms(4_001) == 0
    rate.sent()
    assert 90 < rate.wait_ms(4_001) <= 101


@pytest.mark.parametrize("name", sorted(READY))
def test_every_ready_template_is_sound_and_names_the_person(name: str) -> None:
    template = READY[name]
    assert check(template) is None
    text = repr(render(template, [CHANGE], batched=False))
    assert "{" not in text.replace("{'", "")
    assert "u7" in text or "ana@example.com" in text
    assert isinstance(render(template, [CHANGE, CHANGE], batched=True), dict)


def test_segments_audience_event_is_what_its_consumers_know() -> None:
    assert render(READY["segment"], [CHANGE], batched=False) == {
        "type": "track", "event": "Audience Entered", "messageId": "c1", "userId": "u7", "anonymousId": "p1",
        "timestamp": "2025-10-09T08:53:20.123Z",
        "context": {
            "personas": {"computation_class": "audience", "computation_id": "madrid-runners",
                         "computation_key": "madrid_runners"},
            "traits": {"email": "ana@example.com"},
        },
        "properties": {"audience_key": "madrid_runners", "madrid_runners": True, "change_id": "c1",
                       "sequence": 1, "cause": "event"},
    }  # fmt: skip
    left = render(READY["segment-identify"], [{**NOBODY, "change": "exited"}], batched=True)["batch"][0]
    assert left["traits"] == {"madrid_runners": False}
    assert "userId" not in left
    assert left["anonymousId"] == "p1"


def test_braze_and_customer_io_get_their_shapes() -> None:
    assert render(READY["braze"], [CHANGE], batched=False) == {
        "attributes": [{"external_id": "u7", "email": "ana@example.com", "madrid_runners": True}]
    }
    event = render(READY["customerio"], [CHANGE], batched=True)["batch"][0]
    assert (event["identifiers"], event["timestamp"]) == ({"id": "u7"}, 1_760_000_000)
    with pytest.raises(Unaddressable, match="user_id or identifiers"):
        check_addressable(READY["braze"], NOBODY)
    check_addressable(READY["elo"], NOBODY)


def test_a_template_of_ones_own_keeps_types_and_leaves_out_what_is_not_there() -> None:
    each = {
        "n": "{sequence}", "{segment_key}_x": "v{segment_version}", "who": ["{identifiers.cpf}"],
        "mail": "{identifiers.cpf|identifiers.email}", "fixed": 7, "none": "{identifiers.cpf}",
    }  # fmt: skip
    own = Template(each)
    assert check(own) is None
    assert render(own, [CHANGE], batched=False) == {
        "n": 1, "madrid_runners_x": "v3", "who": [], "mail": "ana@example.com", "fixed": 7
    }  # fmt: skip
    assert "{oops} is no placeholder" in str(check(Template({"a": "{oops}"})))
    assert "{items}" in str(check(Template({}, {"a": 1})))
