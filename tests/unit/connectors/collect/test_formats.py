"""Formats of other systems become touchpoints: calls, names, instants, identifiers, consent."""

from __future__ import annotations

from typing import Any, Final

import pytest

from connectors.collect import posthog, segment, snowplow
from connectors.collect.event import Arrival, Refused
from connectors.collect.instants import corrected_ms, parse_ms
from pipeline.core.names import snake_case, type_of
from tests.support.collect import ids

NOW: Final = 1_795_396_495_000
DAY: Final = 86_400_000
ARRIVAL: Final = Arrival("web", NOW, ("email", "phone", "cpf"))


def at(ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def one(call: str = "track", **fields: Any) -> dict[str, Any]:
    """A call of Segment as a touchpoint; a track has an event."""
    item = {"type": call, "userId": "u1", "messageId": "m1", **({"event": "Seen"} if call == "track" else {})}
    found = segment.read_item({**item, **fields}, "", ARRIVAL, {})
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("Order Completed", "order_completed"), ("order_completed", "order_completed"),
        ("orderCompleted", "order_completed"), ("HTTPError Seen", "http_error_seen"),
        ("  Ação  Concluída! ", "acao_concluida"), ("2nd Purchase", "event_2nd_purchase"),
        ("$pageleave", "pageleave"), ("a" * 300, "a" * 100), ("Viewed — Início/Home", "viewed_inicio_home"),
        ("购买", ""), ("", ""), ("---", ""),
    ],
)  # fmt: skip
def test_an_event_name_becomes_a_type(name: str, type_: str) -> None:
    assert snake_case(name) == type_
    assert type_of(name) == ((type_, False) if type_ else ("tracked", True))


def test_a_name_that_cannot_be_a_type_is_kept() -> None:
    found = one(event="购买", properties={"total": 3})
    assert (found["type"], found["properties"]) == ("tracked", {"event": "购买", "total": 3})


@pytest.mark.parametrize(
    ("given", "ms"),
    [
        ("2026-11-23T01:14:55.000Z", NOW), ("2026-11-22T22:14:55-03:00", NOW), ("2026-11-23T01:14:55", NOW),
        (NOW, NOW), (NOW / 1000, NOW), (str(NOW), NOW), ("yesterday", None), (None, None), (True, None),
        ("1796010111421", 1_796_010_111_421), ("20261123", 1_795_392_000_000),  # the former is no 1796-01-01
        (-1, None), (1e300, None), ("nan", None), ([], None),
    ],
)  # fmt: skip
def test_instants_are_read_in_every_spelling(given: object, ms: int | None) -> None:
    assert parse_ms(given) == ms


@pytest.mark.parametrize("skew", [0, 3 * DAY, -3 * DAY, 1])
def test_a_wrong_clock_is_corrected(skew: int) -> None:
    happened, sent = NOW - 5_000, NOW - 200
    assert corrected_ms(happened + skew, sent + skew, NOW) == NOW - 4_800
    found = one(originalTimestamp=at(happened + skew), sentAt=at(sent + skew), timestamp=at(0))
    assert found["occurred_at"] == NOW - 4_800


def test_without_the_time_of_sending_the_sender_is_believed_and_without_any_it_is_now() -> None:
    assert one(timestamp=at(NOW - 400 * DAY))["occurred_at"] == NOW - 400 * DAY
    assert one()["occurred_at"] == NOW
    assert corrected_ms(NOW + 900, NOW, NOW) == NOW  # sent before it happened


def test_an_import_of_history_keeps_its_instants() -> None:
    found = one(timestamp=at(NOW - 400 * DAY), sentAt=at(NOW))
    assert found["occurred_at"] == NOW - 400 * DAY


@pytest.mark.parametrize(
    ("call", "type_"),
    [("identify", "identified"), ("page", "page_viewed"), ("screen", "screen_viewed"), ("group", "grouped")],
)
def test_calls_have_types(call: str, type_: str) -> None:
    assert one(call, name="Home")["type"] == type_


def test_identifiers_come_from_ids_and_from_traits_of_the_person() -> None:
    traits = {"email": "ana@x.com", "phone": 5511999999999, "cpf": None, "plan": "pro"}
    context = {"traits": {"email": "old@x.com", "city": "Madrid"}, "device": {"id": "d1"}}
    found = one("identify", anonymousId="a1", traits=traits, context=context)
    assert ids(found) == [
        "user_id:u1", "anonymous_id:a1", "device_id:d1", "email:ana@x.com", "phone:5511999999999",
    ]  # fmt: skip
    assert found["traits"]["city"] == "Madrid"
    assert found["context"] == {"device.id": "d1"}


def test_traits_of_a_group_are_not_those_of_the_person() -> None:
    found = one("group", groupId="g1", traits={"name": "Acme", "email": "office@acme.com"})
    assert (ids(found), found["traits"]) == (["user_id:u1"], {})
    assert found["properties"] == {"name": "Acme", "email": "office@acme.com", "group_id": "g1"}


@pytest.mark.parametrize(
    ("previous", "identifier"),
    [("a0", "anonymous_id:a0"), ("ana@x.com", "email:ana@x.com"), (17, "anonymous_id:17")],
)  # fmt: skip
def test_an_alias_links_who_somebody_was_to_who_they_are(previous: object, identifier: str) -> None:
    found = one("alias", previousId=previous)
    assert (found["type"], ids(found)) == ("aliased", ["user_id:u1", identifier])


def test_empty_ids_are_no_ids() -> None:
    assert ids(one(userId=None, anonymousId="")) == []
    assert ids(one(userId=12, anonymousId=True)) == ["user_id:12"]


@pytest.mark.parametrize(
    ("context", "consent"),
    [
        ({"consent": {"categoryPreferences": {"Advertising": True, "Data Sharing": False}}},
         {"advertising": True, "data_sharing": False}),
        ({"consentManagement": {"allowedConsentIds": ["C1"], "deniedConsentIds": ["Marketing"]}},
         {"c1": True, "marketing": False}),
        ({"consent": "yes", "consentManagement": {"allowedConsentIds": 7}}, {}),
    ],
)  # fmt: skip
def test_consent_is_read(context: Any, consent: dict[str, bool]) -> None:
    found = one(context=context)
    assert (found["consent"], found["context"]) == (consent, {})


def test_the_context_is_flat_and_without_the_address() -> None:
    context = {
        "ip": "10.0.0.1",
        "page": {"url": "http://x", "tags": [1]},
        "locale": "es",
        "library": {"name": "n"},
    }
    assert one(context=context)["context"] == {"page.url": "http://x", "locale": "es", "library.name": "n"}


def test_an_event_without_an_id_gets_the_same_one_when_it_comes_again() -> None:
    dated = {"messageId": None, "timestamp": at(NOW)}
    assert one(**dated)["event_id"] == one(**dated)["event_id"] != one(**dated, anonymousId="a")["event_id"]
    assert one(messageId=None)["event_id"] != one(messageId=None)["event_id"]  # twice the same click
    assert one(messageId="x" * 300)["event_id"] == one(messageId="x" * 300)["event_id"] != "x" * 300


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"properties": [1]}, "properties"), ({"traits": "x"}, "traits"), ({"context": 1}, "context"),
        ({"event": ""}, "event"), ({"event": None}, "event"), ({"type": None}, "type"),
    ],
)  # fmt: skip
def test_a_call_that_cannot_be_read_is_refused(fields: dict[str, Any], field: str) -> None:
    item = {"type": "track", "userId": "u1", "event": "Seen", **fields}
    found = segment.read_item(item, "", ARRIVAL, {})
    assert isinstance(found, Refused)
    assert (found.field, found.item) == (field, item)


def capture(event: str, **properties: Any) -> dict[str, Any]:
    """A capture of PostHog as a touchpoint."""
    body = {"event": event, "distinct_id": "p1", "uuid": "m1", "timestamp": at(NOW), "properties": properties}
    [found] = posthog.read({"batch": [body], "api_key": "wk"}, ARRIVAL, 100)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("event", "properties", "expected"),
    [
        ("Order Completed", {}, ("order_completed", ["user_id:p1"])),
        ("seen", {"$device_id": "p1"}, ("seen", ["anonymous_id:p1"])),
        ("seen", {"$device_id": "d1"}, ("seen", ["user_id:p1", "anonymous_id:d1"])),
        ("seen", {"$process_person_profile": False}, ("seen", ["anonymous_id:p1"])),
        ("$identify", {"$anon_distinct_id": "a1"}, ("identified", ["user_id:p1", "anonymous_id:a1"])),
        ("$create_alias", {"alias": "u9"}, ("aliased", ["user_id:u9", "anonymous_id:p1"])),
        ("$pageview", {"$current_url": "http://x"}, ("page_viewed", ["user_id:p1"])),
        ("$groupidentify", {"$group_key": "g"}, ("grouped", ["anonymous_id:p1"])),
        ("$set", {"$set": {"email": "a@b.c"}}, ("identified", ["user_id:p1", "email:a@b.c"])),
    ],
)  # fmt: skip
def test_captures_of_posthog(event: str, properties: dict[str, Any], expected: tuple[str, list[str]]) -> None:
    found = capture(event, **properties)
    assert (found["type"], ids(found)) == expected
    assert not any(name.startswith("$") for name in found["properties"])


def test_a_browser_of_posthog_sends_single_captures_and_arrays() -> None:
    alone = {"event": "seen", "properties": {"token": "wk", "distinct_id": "d", "$device_id": "d"}}
    for body in (alone, [alone]):
        assert posthog.key_of(body) == "wk"
        [found] = posthog.read(body, ARRIVAL, 100)
        assert isinstance(found, dict)
        assert ids(found) == ["anonymous_id:d"]
        assert found["properties"] == {}


def payload(**fields: Any) -> Any:
    """An event of Snowplow as a touchpoint, or why it is none."""
    event = {"e": "pv", "uid": "u1", "duid": "d1", "eid": "m1", "aid": "wk",
             "dtm": str(NOW - 9_000), "stm": str(NOW - 1_000)}  # fmt: skip
    body = {"schema": "iglu:…", "data": [{**event, **fields}]}
    assert snowplow.key_of(body) == "wk"
    return next(iter(snowplow.read(body, ARRIVAL, 100)))


def test_events_of_snowplow() -> None:
    viewed = payload(url="http://x")
    assert (viewed["type"], viewed["properties"]) == ("page_viewed", {"url": "http://x"})
    assert (ids(viewed), viewed["occurred_at"]) == (["user_id:u1", "anonymous_id:d1"], NOW - 8_000)
    described = '{"data":{"schema":"iglu:com.acme/orderCompleted/jsonschema/1-0-0","data":{"n":1}}}'
    found = payload(e="ue", ue_pr=described)
    assert (found["type"], found["properties"]) == ("order_completed", {"n": 1})
    structured = payload(e="se", se_ac="Add To Basket", se_va="2.5")
    assert (structured["type"], structured["properties"]) == ("add_to_basket", {"value": 2.5})


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"e": None}, "e"), ({"e": "xx"}, "e"), ({"e": "se"}, "se_ac"), ({"e": "ue", "ue_px": "!"}, "ue_px"),
     ({"e": "ue", "ue_pr": "{}"}, "ue")],
)  # fmt: skip
def test_an_event_of_snowplow_that_cannot_be_read_is_refused(fields: dict[str, Any], field: str) -> None:
    found = payload(**fields)
    assert isinstance(found, Refused)
    assert found.field == field
