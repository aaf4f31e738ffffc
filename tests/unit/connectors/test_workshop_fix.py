"""The language of fixes, and what the intake would say to a mended touchpoint."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from connectors.workshop.fix import read_fix
from connectors.workshop.judging import Judge
from connectors.workshop.letters import Group, Letter
from pipeline.core.errors import ConfigError, Reason
from pipeline.settings import load_policy, load_settings
from pipeline.topics import Topics
from pipeline.wire.avro import encode_touchpoint

NOW_MS = 1_770_000_000_000
GOOD: dict[str, Any] = {
    "event_id": "e1", "source": "web", "type": "page_viewed", "occurred_at": 1_760_000_000_000,
    "identifiers": [{"type": "email", "value": "ana@example.com"}, {"type": "mail", "value": "b@x.example"}],
    "properties": {"categoria": "shoes"},
}  # fmt: skip


def mend(document: dict[str, Any], *steps: dict[str, Any]) -> dict[str, Any]:
    return read_fix({"steps": list(steps)}).mend(document, "0-7")


def letter(value: bytes, topic: str = "touchpoints.web", **fields: Any) -> Letter:
    known: dict[str, Any] = {
        "position": "0-7", "key": None, "value": value, "timestamp": NOW_MS, "reason": "x", "field": "",
        "detail": "", "topic": topic, "partition": 0, "offset": 3,
    }  # fmt: skip
    return Letter(**{**known, **fields})


@pytest.fixture
def judge() -> Judge:
    settings = load_settings({})
    return Judge(load_policy(settings), settings.sources, Topics())


@pytest.mark.parametrize(
    ("step", "path", "expected"),
    [
        ({"set": "source", "value": "app"}, ("source",), "app"),
        ({"set": "context.library", "value": "x"}, ("context", "library"), "x"),
        ({"default": "event_id", "value": "new"}, ("event_id",), "e1"),
        ({"default": "context.id", "value": "{position}"}, ("context", "id"), "0-7"),
        (
            {"rename": "properties.categoria", "to": "properties.category"},
            ("properties",),
            {"category": "shoes"},
        ),
        ({"map": "identifiers[*].type", "values": {"mail": "email"}}, ("identifiers", 1, "type"), "email"),
        ({"map": "identifiers[0].type", "values": {"mail": "email"}}, ("identifiers", 0, "type"), "email"),
        ({"remove": "identifiers[1]"}, ("identifiers",), GOOD["identifiers"][:1]),
        ({"remove": "identifiers[*]"}, ("identifiers",), []),
        ({"remove": "properties.nothing"}, ("properties",), {"categoria": "shoes"}),
        ({"convert": "occurred_at", "as": "text"}, ("occurred_at",), "1760000000000"),
    ],
)
def test_what_a_step_does(step: dict[str, Any], path: tuple[Any, ...], expected: Any) -> None:
    before = orjson.dumps(GOOD)
    found: Any = mend(GOOD, step)
    for part in path:
        found = found[part]
    assert found == expected
    assert orjson.dumps(GOOD) == before, "the original stays"


@pytest.mark.parametrize(
    ("value", "conversion", "expected"),
    [
        (1_760_000_000.5, "seconds_to_ms", 1_760_000_000_500),
        ("2025-10-09T08:53:20Z", "iso_to_ms", 1_760_000_000_000),
        ("2025-10-09T10:53:20+02:00", "iso_to_ms", 1_760_000_000_000),
        ("17", "integer", 17),
        ("Order Completed", "snake_case", "order_completed"),
        ("orderCompleted", "snake_case", "order_completed"),
    ],
)
def test_conversions(value: Any, conversion: str, expected: Any) -> None:
    assert mend({"at": value}, {"convert": "at", "as": conversion}) == {"at": expected}
    with pytest.raises(ValueError, match="at cannot be converted"):
        mend({"at": ["x"]}, {"convert": "at", "as": conversion})


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([], "a list of 1 to 100"),
        ([{"sett": "a", "value": 1}], "sett is no step, did you mean set?"),
        ([{"set": "a"}], "set is written {set: …, value: …}"),
        ([{"set": "a..b", "value": 1}], "'a..b' is no path"),
        ([{"remove": "a", "value": 1}], "remove is written {remove: …}"),
        ([{"convert": "a", "as": "magic"}], "as must be one of seconds_to_ms"),
        ([{"map": "a", "values": [1]}], "values must be a mapping"),
        ([{"replace": "NaN", "with": None}], "put it between quotes"),
        ([{"rename": "a[*].b", "to": "c"}], "two paths without *"),
        (["set"], "write a step such as"),
    ],
)
def test_a_fix_that_is_wrong_is_refused(steps: list[Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_fix({"steps": steps})
    assert said in str(refused.value)


def test_a_mended_touchpoint_is_judged_as_the_intake_does(judge: Judge) -> None:
    wrong = {**GOOD, "type": "Page Viewed", "occurred_at": 1_760_000_000}
    rejected = judge.judge(letter(orjson.dumps(wrong)), None, NOW_MS).rejection
    assert rejected is not None
    assert (rejected.reason, rejected.field) == (Reason.INVALID_FIELD, "type")
    fix = read_fix({"steps": [{"convert": "type", "as": "snake_case"},
                              {"convert": "occurred_at", "as": "seconds_to_ms"}]})  # fmt: skip
    mended = judge.judge(letter(orjson.dumps(wrong)), fix, NOW_MS)
    assert mended.rejection is None
    assert orjson.loads(mended.value or b"") == GOOD


def test_text_that_is_no_json_can_be_mended(judge: Judge) -> None:
    raw = orjson.dumps(GOOD).replace(b'"shoes"', b"NaN")
    fix = read_fix({"steps": [{"replace": "NaN", "with": "null"}]})
    assert judge.judge(letter(raw), None, NOW_MS).rejection is not None
    assert judge.judge(letter(raw), fix, NOW_MS).rejection is None


def test_avro_is_mended_as_json_with_its_objects(judge: Judge) -> None:
    raw = encode_touchpoint({**GOOD, "source": "shop", "context": {"library": "shop-sdk/2"}})
    assert judge.producer_of(letter(raw)) == "shop-sdk/2"
    fix = read_fix({"steps": [{"set": "source", "value": "web"}, {"set": "properties.x", "value": 1}]})
    mended = judge.judge(letter(raw), fix, NOW_MS)
    assert mended.rejection is None
    assert orjson.loads(mended.value or b"")["properties"] == {"categoria": "shoes", "x": 1}


@pytest.mark.parametrize("topic", ["elo.touches", "somebody.else"])
def test_what_did_not_come_from_an_input_stays(judge: Judge, topic: str) -> None:
    told = judge.judge(letter(orjson.dumps(GOOD), topic), None, NOW_MS).rejection
    assert told is not None
    assert topic in told.detail


def test_a_decision_is_judged_as_a_decision(judge: Judge) -> None:
    wrong = {
        "decision_id": "d1",
        "action": "join",
        "identifiers": GOOD["identifiers"][:1],
        "by": "ana",
        "reason": "x",
    }
    wrong["identifiers"] = [*wrong["identifiers"], {"type": "user_id", "value": "u1"}]
    fix = read_fix({"steps": [{"map": "action", "values": {"join": "merge"}}]})
    raw = orjson.dumps(wrong)
    assert judge.judge(letter(raw, "identity.decisions"), None, NOW_MS).rejection is not None
    assert judge.judge(letter(raw, "identity.decisions"), fix, NOW_MS).rejection is None


def test_the_id_of_a_group_stays(judge: Judge) -> None:
    assert Group("invalid_field", "type", "touchpoints.web", "").id == "ae7e7840"
