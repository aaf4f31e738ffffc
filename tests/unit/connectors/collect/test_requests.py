"""The collector as its senders meet it: keys, bodies, CORS, settings documents, answers."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from pathlib import Path
from typing import Any, Final

import pytest

from connectors.collect import app
from connectors.collect.body import BODY_BYTES_MAX
from tests.support.collect import Asked, ids

TRACK: Final = {"event": "Order Completed", "userId": "u1", "messageId": "m1"}
RECORDED: Final = [
    json.loads(line) for line in (Path(__file__).parent / "recorded.jsonl").read_text("utf-8").splitlines()
]
"""Requests of unmodified SDKs: path, headers, whether the body was packed, and the body."""


def basic(key: str) -> str:
    return "Basic " + b64encode(key.encode()).decode()


@pytest.mark.parametrize(
    ("target", "headers", "body"),
    [
        ("/v1/track", {"authorization": basic("wk:")}, {}),
        ("/v1/track", {"authorization": basic("wk")}, {}),
        ("/v1/track", {"x-write-key": "wk"}, {}),
        ("/v1/track", {"x-write-key": "wk:secret"}, {"writeKey": "wk:***"}),
        ("/v1/track?writeKey=wk", {}, {}),
        ("/v1/track", {"authorization": "Bearer t0ken"}, {"writeKey": "wk"}),
        ("/v1/track", {"content-type": "text/plain"}, {"writeKey": "next"}),
    ],
)
def test_a_key_is_found_wherever_an_sdk_puts_it(target: str, headers: dict[str, str], body: Any) -> None:
    asked = Asked()
    answer = asked.ask("POST", target, {**TRACK, **body}, headers)
    assert (answer.status, answer.document) == (200, {"success": True})
    assert [one["type"] for one in asked.touchpoints()] == ["order_completed"]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, TRACK),
        ({"authorization": basic("other:")}, TRACK),
        ({"authorization": "Basic ???"}, TRACK),
        ({"authorization": "Basic \N{LATIN SMALL LETTER E WITH ACUTE}"}, TRACK),
        ({"x-write-key": "other"}, {**TRACK, "writeKey": "wk"}),
        ({}, {**TRACK, "writeKey": ["wk"]}),
        ({}, [TRACK]),
    ],
)
def test_a_wrong_key_is_refused_and_nothing_is_kept(headers: dict[str, str], body: Any) -> None:
    asked = Asked()
    assert asked.ask("POST", "/v1/track", body, headers).status == 401
    assert asked.outlet.records == []


def test_the_trace_of_a_request_is_a_header_of_its_records_and_an_event_may_have_its_own() -> None:
    asked, parent = Asked(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    own = {**TRACK, "messageId": "m2", "context": {"traceparent": "own"}}
    asked.post("/v1/batch", {"batch": [{"type": "track", **TRACK}, {"type": "track", **own}]},
               x_write_key="wk", traceparent=parent)  # fmt: skip
    asked.post("/v1/track", TRACK, x_write_key="wk")
    assert [one.headers for one in asked.outlet.records] == [(("traceparent", parent),)] * 2 + [()]
    assert [one["context"].get("traceparent") for one in asked.touchpoints()] == [parent, "own", None]


def test_the_source_is_that_of_the_key() -> None:
    asked = Asked()
    asked.post("/v1/track", TRACK, x_write_key="wk:secret")
    assert [one["source"] for one in asked.touchpoints()] == ["app"]
    assert asked.outlet.records[0].topic == "touchpoints.app"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_is_read_by_its_content(packed: bool, kind: str) -> None:
    asked = Asked()
    assert asked.post("/v1/track", TRACK, packed, x_write_key="wk", content_type=kind).status == 200
    assert len(asked.touchpoints()) == 1


def test_a_body_may_come_in_pieces() -> None:
    asked = Asked()
    assert asked.ask("POST", "/v1/track", TRACK, {"x-write-key": "wk"}, pieces=7).status == 200
    assert len(asked.touchpoints()) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{broken", 400),
        (b"[" * 100_000, 400),
        (b"\x1f\x8bdamaged", 400),
        (gzip.compress(json.dumps(TRACK).encode())[:-9], 400),
        (gzip.compress(b" " * (BODY_BYTES_MAX + 1)), 413),
        (b" " * (BODY_BYTES_MAX + 1), 413),
        (json.dumps({"batch": [1] * 10_001}).encode(), 413),
    ],
    ids=["empty", "broken", "deep", "damaged", "cut", "bomb", "large", "many"],
)
def test_a_body_that_cannot_be_read_is_refused(body: bytes, status: int) -> None:
    asked = Asked()
    answer = asked.post("/v1/batch", body)
    assert (answer.status, answer.document["success"]) == (status, False)
    assert asked.outlet.records == []


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b'{"total": NaN, "n": 1}', {"total": None, "n": 1}),
        (b'{"name": "\\ud83d"}', {"name": "?"}),
        (b'{"name": "caf\xe9"}', {"name": "caf\N{REPLACEMENT CHARACTER}"}),
    ],
    ids=["nan", "half an emoji", "latin-1"],
)
def test_what_other_languages_write_as_json_does_not_lose_a_batch(written: bytes, read: Any) -> None:
    asked = Asked()
    body = b'{"batch":[{"type":"track","event":"a","userId":"u","properties":' + written + b"}]}"
    assert asked.post("/v1/batch", body).status == 200
    assert [one["properties"] for one in asked.touchpoints()] == [read]


def test_bad_items_are_kept_with_their_reason_and_the_others_go_on() -> None:
    asked = Asked()
    large = {"type": "track", "event": "a", "userId": "u1", "properties": {"text": "x" * 40_000}}
    batch = [
        {**TRACK, "type": "track"},
        7,
        {"type": "dance"},
        large,
        {"userId": "u1"},
        {**TRACK, "type": "page"},
    ]
    answer = asked.post("/v1/batch", {"batch": batch})
    assert (answer.status, answer.document["success"]) == (200, True)
    assert [(entry["index"], entry["reason"]) for entry in answer.document["rejected"]] == [
        (1, "invalid_field"), (2, "invalid_field"), (3, "too_large"), (4, "missing_field"),
    ]  # fmt: skip
    assert [one["type"] for one in asked.touchpoints()] == ["order_completed", "page_viewed"]
    assert asked.rejected() == [
        ("invalid_field", "", 7), ("invalid_field", "type", {"type": "dance"}), ("too_large", "", large),
        ("missing_field", "type", {"userId": "u1"}),
    ]  # fmt: skip


def test_an_event_that_is_nested_too_deep_is_kept_by_itself() -> None:
    asked = Asked()
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    body = b'{"batch":[{"type":"track","event":"a","userId":"u","properties":{"p":' + b"[" * 300 + b"]" * 300
    answer = asked.post("/v1/batch", body + b'}},{"type":"page","userId":"u"}]}')
    assert [entry["reason"] for entry in answer.document["rejected"]] == ["invalid_field"]
    assert [one["type"] for one in asked.touchpoints()] == ["page_viewed"]


def nested(levels: int, **more: Any) -> bytes:
    """A track with a property of so many levels."""
    return (
        json.dumps({**TRACK, **more})[:-1].encode()
        + b',"properties":{"p":'
        + b"[" * levels
        + b"]" * levels
        + b"}}"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (nested(300, traits={"text": "x" * 40_000}), "too_large"),
        (nested(300, messageId="", timestamp="2026-11-23T01:14:55Z"), "invalid_field"),
        (nested(300, event=""), "missing_field"),
    ],
)  # fmt: skip
def test_what_is_nested_too_deep_is_measured_named_and_kept_all_the_same(body: bytes, reason: str) -> None:
    asked = Asked()
    answer = asked.post("/v1/track", body)
    assert (answer.status, [entry["reason"] for entry in answer.document["rejected"]]) == (200, [reason])
    assert len(asked.outlet.records) == 1


def test_what_nobody_can_write_again_is_refused_before_anything_is_kept() -> None:
    asked = Asked()
    assert (
        asked.post(
            "/v1/batch", b'{"batch":[' + nested(10)[:-1] + b',"type":"track"},' + nested(1_010) + b"]}"
        ).status
        == 400
    )
    assert asked.outlet.records == []


def test_a_letter_is_no_larger_than_kafka_takes_however_long_its_numbers_become() -> None:
    asked = Asked()
    numbers = b"[" + b"1e15," * 800_000 + b"1]"  # four characters each, and eighteen when written again
    assert (
        asked.post(
            "/v1/track", json.dumps(TRACK)[:-1].encode() + b',"properties":{"p":' + numbers + b"}}"
        ).status
        == 200
    )
    [letter] = asked.outlet.records
    assert (letter.topic, len(letter.value)) == ("touchpoints.rejected", BODY_BYTES_MAX)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("event", ["pv", "nonsense"])
def test_a_pixel_is_an_image_whatever_becomes_of_its_event(method: str, event: str) -> None:
    asked = Asked()
    answer = asked.ask(method, f"/i?aid=wk&e={event}&duid=a1")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/gif")
    assert answer.body.startswith(b"GIF89a")
    assert len(asked.touchpoints()) == (event == "pv")


def test_without_room_the_sender_is_asked_to_come_again() -> None:
    asked = Asked()
    asked.outlet.full = True
    answer = asked.post("/v1/track", TRACK)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_a_write_key_that_sends_too_much_waits_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(app.time, "monotonic", lambda: clock[0])
    asked = Asked(key_events_s=10)
    batch = {"batch": [{**TRACK, "type": "track", "messageId": str(number)} for number in range(150)]}
    assert asked.post("/v1/batch", batch).status == 200  # more than a burst of 100, once
    for body in ({"writeKey": "wk"}, {}):
        headers = {} if body else {"x-write-key": "wk"}
        refused = asked.ask("POST", "/v1/track", {**TRACK, **body}, headers)
        assert (refused.status, refused.headers["retry-after"]) == (429, "5")
        assert refused.document["success"] is False
    assert asked.post("/v1/track", TRACK, x_write_key="wk:secret").status == 200
    clock[0] += 4.9
    assert asked.post("/v1/track", TRACK).headers["retry-after"] == "1"
    clock[0] += 0.2
    assert asked.post("/v1/track", TRACK).status == 200
    clock[0] += 3_600
    assert [asked.post("/v1/batch", batch).status for _ in range(2)] == [200, 429]  # a burst, not an hour's
    assert len(asked.touchpoints()) == 302


def test_bodies_that_are_held_at_one_time_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "HELD_BYTES_MAX", 1_000)
    asked = Asked()
    large = {**TRACK, "properties": {"text": "x" * 2_000}}
    assert asked.ask("POST", "/v1/track", large, {"x-write-key": "wk"}, pieces=9).status == 503
    assert asked.post("/v1/track", large, packed=True).status == 503  # small as it came, and then not
    for _ in range(20):  # what was held is let go
        assert asked.post("/v1/track", TRACK).status == 200


def test_a_page_of_any_origin_may_send() -> None:
    asked = Asked()
    origin = {"origin": "https://shop.example"}
    before = asked.ask(
        "OPTIONS", "/v1/t", headers={**origin, "access-control-request-headers": "anonymousid"}
    )
    assert before.status == 204
    assert "content-length" not in before.headers  # RFC 9110, 8.6
    assert before.headers["access-control-allow-headers"] == "anonymousid"
    answer = asked.ask("POST", "/v1/t", TRACK, {**origin, "x-write-key": "wk"})
    for one in (before, answer):
        assert one.headers["access-control-allow-origin"] == "https://shop.example"
        assert one.headers["access-control-allow-credentials"] == "true"
        assert one.headers["access-control-expose-headers"] == "retry-after"


def test_browser_sdks_find_their_settings() -> None:
    asked = Asked()
    host = {"host": "elo.example:8080", "x-forwarded-proto": "https"}
    found = asked.ask("GET", "/v1/projects/wk/settings", headers=host).document["integrations"]["Segment.io"]
    assert (found["apiKey"], found["apiHost"], found["protocol"]) == ("wk", "elo.example:8080/v1", "https")
    source = asked.ask("GET", "/sourceConfig/?writeKey=wk", headers=host).document["source"]
    assert (source["enabled"], source["writeKey"]) == (True, "wk")
    assert asked.ask("GET", "/v1/projects/other/settings").status == 401
    assert asked.ask("GET", "/sourceConfig/?writeKey=other").status == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/"), ("GET", "/v1/track"), ("PUT", "/v1/track"), ("POST", "/v2/track"), ("GET", "/")],
)  # fmt: skip
def test_there_is_nothing_at_other_paths(method: str, path: str) -> None:
    assert Asked().ask(method, path, b"", {"x-write-key": "wk"}).status == 404


def test_operators_find_health_and_metrics() -> None:
    asked = Asked()
    assert asked.ask("GET", "/livez").document == {"status": "live"}
    assert asked.ask("GET", "/readyz").document == {"status": "ready", "broker": True, "spool_bytes": 0}
    asked.post("/v1/track", TRACK)
    text = asked.ask("GET", "/metrics").body.decode()
    assert 'elo_collect_events_total{api="segment",source="web"}' in text


@pytest.mark.parametrize("number", range(len(RECORDED)))
def test_a_recorded_request_of_an_sdk_becomes_touchpoints_of_the_person(number: int) -> None:
    request, asked = RECORDED[number], Asked()
    body = request["body"].encode()
    answer = asked.ask(
        "POST", request["path"], gzip.compress(body) if request["gzip"] else body, request["headers"]
    )
    assert answer.status == 200
    assert asked.rejected() == []
    found = asked.touchpoints()
    assert found
    for one in found:
        people = [name for name in ids(one) if name.startswith("user_id:")]
        assert people == ["user_id:u1"] or (not people and request["path"] == "/batch/")
        assert len(one["event_id"]) >= 20
        assert one["event_id"] in request["body"]
    for one in (one for one in found if one["type"] == "identified"):
        assert "email:ana@x.com" in ids(one) or one["traits"] == {"plan": "pro"}
    for one in (one for one in found if one["type"] == "aliased"):
        assert ids(one)[1] in ("anonymous_id:anon-1", "anonymous_id:a0")
