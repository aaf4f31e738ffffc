"""The intake's judgement as a table: what arrives, and the touch or the rejection that comes of it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from pipeline import topics
from pipeline.core.errors import Reason, Rejection
from pipeline.core.policy import parse_policy
from pipeline.core.touch import Touch
from pipeline.core.touchpoint import (
    NESTING_MAX,
    TOUCHPOINT_BYTES_MAX,
    TouchpointReader,
    read_json,
    with_trace,
)
from pipeline.wire.avro import TouchpointDecoder
from tests.support.malformed import Malformed, malformed
from tests.support.touchpoints import (
    ABSENT,
    GOOD,
    NOW_MS,
    TOUCH,
    as_avro,
    as_json,
    identified,
    nested,
    reader_of,
    shipped_policy,
)

MALFORMED = malformed()


@pytest.fixture
def reader() -> TouchpointReader:
    return reader_of(shipped_policy())


def test_a_good_touchpoint_gives_the_same_touch_as_avro_and_as_json(reader: TouchpointReader) -> None:
    assert reader.read(as_avro(), NOW_MS) == TOUCH
    assert reader.read(as_json(), NOW_MS) == TOUCH
    assert reader.read(b" \n" + as_json(), NOW_MS) == TOUCH


def with_fields(**changes: object) -> Touch:
    return Touch(*(changes.get(name, getattr(TOUCH, name)) for name in Touch.__struct_fields__))


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ACCEPTED: list[tuple[dict[str, object], dict[str, object]]] = [
    ({"traits": ABSENT}, {"traits": "{}"}),
    ({"traits": None, "properties": None}, {"traits": "{}", "properties": "{}"}),
    ({"consent": None, "context": None}, {"consent": {}}),
    ({"consent": ABSENT, "context": ABSENT}, {"consent": {}}),
    ({"traits": {}, "properties": {}}, {"traits": "{}", "properties": "{}"}),
    (
        {"traits": {"city": "São Paulo", "n": [1, 2.5, None]}},
        {"traits": '{"city":"São Paulo","n":[1,2.5,null]}'},
    ),
    ({"traits": ' {"a" : 1} '}, {"traits": ' {"a" : 1} '}),
    ({"traits": nested(NESTING_MAX)}, {"traits": nested(NESTING_MAX)}),
    ({"traits": json.dumps({"a": [[]] * 500})}, {"traits": json.dumps({"a": [[]] * 500})}),
    ({"context": {"traceparent": PARENT}}, {"traceparent": PARENT}),
    ({"context": {"traceparent": "nonsense"}}, {}),
    ({"context": {"traceparent": PARENT.replace("00-", "ff-", 1)}}, {}),
    ({"context": {"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"}}, {}),
    ({"context": {"traceparent": f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01"}}, {}),
    ({"unknown": {"a": [1]}}, {}),
    ({"event_id": "e" * 200}, {"event_id": "e" * 200}),
    ({"event_id": "événement 1\u200b"}, {"event_id": "événement 1\u200b"}),
    ({"type": "a"}, {"type": "a"}),
    ({"type": "v2_form_3_sent"}, {"type": "v2_form_3_sent"}),
    ({"type": "t" * 100}, {"type": "t" * 100}),
    ({"occurred_at": 0}, {"occurred_at": 0}),
    ({"occurred_at": NOW_MS + 300_000}, {"occurred_at": NOW_MS + 300_000}),
    ({"identifiers": identified(("email", " Ana@Example.com"))}, {"identifiers": ["email:ana@example.com"]}),
    ({"identifiers": identified(("user_id", "u1"), ("user_id", " u1"))}, {"identifiers": ["user_id:u1"]}),
    (
        {"identifiers": identified(("device_id", "b"), ("device_id", "a"), ("phone", "(11) 8765-4321"))},
        {"identifiers": ["phone:+5511987654321", "device_id:a", "device_id:b"]},
    ),
    (
        {"identifiers": identified(("user_id", "null"), ("loyalty", "1"), ("email", "a@b.co"))},
        {"identifiers": ["email:a@b.co"]},
    ),
    ({"identifiers": identified(("user_id", "null"), ("user_id", "u2"))}, {"identifiers": ["user_id:u2"]}),
    ({"identifiers": [{"type": "user_id", "value": "u1", "more": 1}]}, {"identifiers": ["user_id:u1"]}),
    (
        {"identifiers": identified(*(("anonymous_id", f"a{number:02d}") for number in range(50)))},
        {"identifiers": [f"anonymous_id:a{number:02d}" for number in range(50)]},
    ),
]


@pytest.mark.parametrize(("changes", "expected"), ACCEPTED)
def test_accepted(reader: TouchpointReader, changes: dict[str, object], expected: dict[str, object]) -> None:
    assert reader.read(as_json(**changes), NOW_MS) == with_fields(**expected)


@pytest.mark.parametrize("case", MALFORMED, ids=[case.kind for case in MALFORMED])
def test_rejected(reader: TouchpointReader, case: Malformed) -> None:
    answer = reader.read(case.value, NOW_MS)
    assert isinstance(answer, Rejection)
    assert (answer.reason, answer.field) == (case.reason, case.field), answer
    assert 0 < len(answer.detail) < 200


def test_every_reason_of_the_intake_has_its_malformed_touchpoints() -> None:
    assert {case.reason for case in MALFORMED} == set(Reason) - {Reason.INTERNAL_ERROR}


def test_malformed_touchpoints_are_so_by_any_clock() -> None:
    reader = reader_of(shipped_policy())
    for case, later in zip(MALFORMED, malformed(NOW_MS * 2), strict=True):
        answer = reader.read(later.value, NOW_MS * 2)
        assert isinstance(answer, Rejection)
        assert (answer.reason, answer.field) == (case.reason, case.field)


def test_the_size_limit_is_that_of_the_topics() -> None:
    assert topics.TOUCHPOINT_BYTES_MAX == TOUCHPOINT_BYTES_MAX


def test_the_largest_value_is_accepted(reader: TouchpointReader) -> None:
    value = as_json() + b" " * (TOUCHPOINT_BYTES_MAX - len(as_json()))
    assert reader.read(value, NOW_MS) == TOUCH


def test_a_rejection_never_repeats_a_value() -> None:
    reader = reader_of(shipped_policy())
    secret = "ana.secret@example.com"
    for name in (name for name in GOOD if name != "occurred_at"):
        for given in (secret * 20, {secret: secret}, [secret], [{"type": secret, "value": secret}]):
            answer = reader.read(as_json(**{name: given}), NOW_MS)
            if isinstance(answer, Rejection):
                assert "secret" not in answer.field + answer.detail


def test_the_first_fault_in_the_order_of_the_schema_names_the_reason(reader: TouchpointReader) -> None:
    broken: dict[str, Any] = {
        "event_id": 1,
        "source": 1,
        "type": 1,
        "occurred_at": -1,
        "identifiers": 1,
        "traits": 1,
        "properties": 1,
        "consent": 1,
        "context": 1,
    }
    for name in list(broken):
        answer = reader.read(as_json(**broken), NOW_MS)
        assert isinstance(answer, Rejection)
        assert answer.field == name
        del broken[name]
    assert reader.read(as_json(), NOW_MS) == TOUCH


def test_identifiers_that_are_left_out_are_counted(reader: TouchpointReader) -> None:
    given = identified(("user_id", "u1"), ("email", "null"), ("phone", "1"), ("card", "1"))
    assert isinstance(reader.read(as_json(identifiers=given), NOW_MS), Touch)
    assert (reader.left_out_unknown, reader.left_out_unusable) == (1, 2)


def test_identifiers_are_in_the_order_of_the_policy() -> None:
    document = {"identifiers": {"card": {"limit": 2}, "email": {"limit": 1, "normalise": "email"}}}
    policy = parse_policy(document)
    given = identified(("email", "A@b.co"), ("card", "2"), ("card", "10"), ("user_id", "u"))
    touch = reader_of(policy).read(as_json(identifiers=given), NOW_MS)
    assert isinstance(touch, Touch)
    assert touch.identifiers == ["card:10", "card:2", "email:a@b.co"]
    assert touch.identifiers == sorted(touch.identifiers, key=policy.order_of)


def test_a_type_of_a_source_with_a_namespace_is_kept_apart_from_that_of_the_others() -> None:
    policy = parse_policy({
        "identifiers": {"user_id": {"limit": 1}, "email": {"limit": 5, "normalise": "email"}},
        "namespaces": {"crm": ["user_id"]},
    })  # fmt: skip
    assert [(rule.type, rule.rank, rule.limit) for rule in policy.rules.values()] == [
        ("user_id", 0, 1), ("crm.user_id", 1, 1), ("email", 2, 5),
    ]  # fmt: skip
    reader = reader_of(policy)

    def read(source: str, *pairs: tuple[object, object]) -> object:
        answer = reader.read(as_json(source=source, identifiers=identified(*pairs)), NOW_MS)
        return answer.identifiers if isinstance(answer, Touch) else answer.reason

    own = ("user_id", "17"), ("email", "A@b.co")
    assert read("crm", *own) == ["crm.user_id:17", "email:a@b.co"]
    assert read("web", *own) == ["user_id:17", "email:a@b.co"]
    assert read("crm", ("user_id", "17"), ("crm.user_id", "17")) == ["crm.user_id:17"]
    assert read("web", ("user_id", "17"), ("crm.user_id", "4")) == ["user_id:17", "crm.user_id:4"]
    assert read("crm", ("user_id", "17"), ("user_id", "18")) == Reason.CONFLICTING_IDENTIFIERS
    assert read("crm", ("user_id", "null")) == ["crm.user_id:null"]  # Nothing is blocked here.


def test_a_namespaced_type_may_have_a_rule_and_a_rank_of_its_own() -> None:
    policy = parse_policy({
        "identifiers": {"email": {"limit": 5, "normalise": "email"}, "user_id": {"limit": 1},
                        "crm.user_id": {"limit": 2, "unique": "newest"}},
        "namespaces": {"crm": ["user_id"], "app": ["user_id", "email"]},
    })  # fmt: skip
    assert [(rule.type, rule.rank, rule.limit) for rule in policy.rules.values()] == [
        ("email", 0, 5), ("app.email", 1, 5), ("user_id", 2, 1), ("app.user_id", 3, 1), ("crm.user_id", 4, 2),
    ]  # fmt: skip
    assert [policy.rules[name].normalise for name in ("app.email", "crm.user_id")] == ["email", "text"]
    answer = reader_of(policy).read(
        as_json(source="app", identifiers=identified(("email", "A@b.co"))), NOW_MS
    )
    assert isinstance(answer, Touch)
    assert answer.identifiers == ["app.email:a@b.co"]


def test_sources_are_those_that_are_registered() -> None:
    reader = TouchpointReader(shipped_policy(), (*topics.SOURCES, "store"), TouchpointDecoder())
    assert reader.read(as_json(source="store"), NOW_MS) == with_fields(source="store")


def test_event_time_is_held_against_the_clock_given(reader: TouchpointReader) -> None:
    assert isinstance(reader.read(as_json(), 0), Rejection)
    assert reader.read(as_json(), NOW_MS * 2) == TOUCH


def test_a_decoded_mapping_is_judged_like_a_value(reader: TouchpointReader) -> None:
    assert reader.judge(GOOD, NOW_MS) == TOUCH
    assert reader.judge({}, NOW_MS) == Rejection(Reason.MISSING_FIELD, "event_id", "event_id is required")


@pytest.mark.parametrize(
    ("own", "headers", "expected"),
    [
        ("", [("traceparent", PARENT.encode())], PARENT),
        ("", [("traceparent", PARENT)], PARENT),
        ("", [("other", PARENT.encode()), ("traceparent", PARENT.encode())], PARENT),
        ("", [("traceparent", b"nonsense"), ("traceparent", PARENT.encode())], PARENT),
        ("", [("traceparent", b"\xff"), ("traceparent", None), ("traceparent", b"")], ""),
        ("", [("Traceparent", PARENT.encode())], ""),
        (PARENT, [("traceparent", PARENT.replace("4bf", "5bf").encode())], PARENT),
    ],
)
def test_a_touch_without_a_trace_takes_that_of_its_record(
    own: str, headers: list[tuple[str, bytes | str | None]], expected: str
) -> None:
    touch = with_fields(traceparent=own)
    assert with_trace(touch, headers) == with_fields(traceparent=expected)


def test_read_json_reads_an_object_or_says_why_not() -> None:
    assert read_json(b'{"a": 1}') == {"a": 1}
    assert isinstance(read_json(b"[]"), Rejection)


BREAK: list[Callable[[bytearray, random.Random], bytes]] = [
    lambda value, rnd: bytes(value[: rnd.randrange(len(value))]),
    lambda value, rnd: bytes(value + rnd.randbytes(rnd.randrange(1, 9))),
    lambda value, rnd: bytes(value[:5] + rnd.randbytes(len(value))),
    lambda value, rnd: bytes(rnd.randbytes(rnd.randrange(1, 60))),
    lambda value, rnd: bytes(byte if rnd.random() > 0.05 else rnd.randrange(256) for byte in value),
]


@pytest.mark.parametrize("seed", range(20))
def test_broken_bytes_are_always_judged_and_never_raise(reader: TouchpointReader, seed: int) -> None:
    rnd = random.Random(seed)
    for _ in range(100):
        value = bytearray(rnd.choice([as_avro(), as_json()]))
        answer = reader.read(rnd.choice(BREAK)(value, rnd), NOW_MS)
        assert isinstance(answer, Touch | Rejection)


def test_a_limit_of_one_is_what_makes_a_conflict() -> None:
    given = identified(("user_id", "u1"), ("user_id", "u2"))
    for limit, answer in ((1, Rejection), (2, Touch), ({"count": 1, "within": "30d"}, Touch)):
        reader = reader_of(parse_policy({"identifiers": {"user_id": {"limit": limit}}}))
        assert isinstance(reader.read(as_json(identifiers=given), NOW_MS), answer)
