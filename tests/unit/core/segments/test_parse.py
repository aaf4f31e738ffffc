"""Definitions as they are written: what is read, and where and how everything else is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.segments.definition import Comparison, EventCount, Operator, PropertyTests, Test
from pipeline.core.segments.document import FILE_CHARS_MAX, DefinitionError
from pipeline.core.segments.parse import definition_from_json, parse_definitions

MADRID = """\
id: madrid-running-no-purchase
name: Madrid, looked at running shoes, did not buy
purpose: marketing
where:
  all:
    - {trait: city, is: Madrid}
    - {event: product_viewed, where: {category: running shoes}, within: 7d}
    - none: [{event: order_completed, within: 7d}]
"""
BODY = "id: x\nwhere:\n  "  # what follows stands in line 3 from column 3


def where_of(condition: str) -> Any:
    (definition,) = parse_definitions(BODY + condition)
    return definition.where.to_json()


def refusal(text: str) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        parse_definitions(text)
    return caught.value


def test_the_example_of_the_contract_is_read() -> None:
    (definition,) = parse_definitions(MADRID)
    assert definition.to_json() == {
        "id": "madrid-running-no-purchase",
        "name": "Madrid, looked at running shoes, did not buy",
        "version": 1,
        "purpose": "marketing",
        "where": {
            "all": [
                {"trait": "city", "is": "Madrid"},
                {
                    "event": "product_viewed",
                    "where": {"category": {"is": "running shoes"}},
                    "within": "7d",
                    "at_least": 1,
                },
                {"none": [{"event": "order_completed", "within": "7d", "at_least": 1}]},
            ]
        },
    }
    assert definition_from_json(definition.to_json()) == definition


def test_one_mapping_a_list_or_several_documents_are_read_in_order() -> None:
    one, two = "id: one\nwhere: {has: email}\n", "id: two\nwhere: {has: email}\n"
    listed = "- {id: one, where: {has: email}}\n- {id: two, where: {has: email}}\n"
    for text in (f"{one}---\n{two}", f"---\n---\n{one}...\n---\n{two}---\n", listed):
        assert [definition.id for definition in parse_definitions(text)] == ["one", "two"]


def test_every_condition_has_its_value() -> None:
    (definition,) = parse_definitions(
        BODY
        + "{event: order_completed, where: {total: {lt: 9, gte: 2.0}, brand: Zé}, within: 90s, exactly: 0}"
    )
    assert definition.where == EventCount(
        event="order_completed",
        where=(
            PropertyTests("brand", (Test(Operator.IS, "Zé"),)),
            PropertyTests("total", (Test(Operator.GTE, 2), Test(Operator.LT, 9))),
        ),
        within_ms=90_000,
        comparison=Comparison.EXACTLY,
        number=0,
    )
    assert where_of("any: [{consent: marketing}, {none: [{has: device_id}]}]") == {
        "any": [{"consent": "marketing"}, {"none": [{"has": "device_id"}]}]
    }


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2026-01-31", "2026-01-31"),
        ("01310", "01310"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("'10'", "10"),
        ("10", 10),
        ("-4", -4),
        ("10.0", 10),
        ("1e3", 1000),
        (".5", 0.5),
        ("true", True),
        ("'true'", "true"),
        ('"S\\u00e3o Paulo"', "São Paulo"),
    ],
)
def test_a_scalar_is_what_json_would_make_of_it(written: str, read: object) -> None:
    value = where_of(f"{{trait: city, is: {written}}}")["is"]
    assert (value, type(value)) == (read, type(read))


def test_the_values_of_in_are_sorted_and_each_stands_once() -> None:
    assert where_of("{trait: plan, in: [b, a, 1, true, b, 1.0]}")["in"] == ["a", "b", 1, True]


def test_hashes_ignore_the_version_and_the_rule_hash_also_the_name() -> None:
    (definition,) = parse_definitions(MADRID)
    (renamed,) = parse_definitions(MADRID.replace("did not buy", "has not bought"))
    (edited,) = parse_definitions(MADRID.replace("Madrid}", "Lisbon}"))
    assert definition.with_version(7).content_hash() == definition.content_hash()
    assert definition.with_version(7).to_json()["version"] == 7
    assert renamed.content_hash() != definition.content_hash()
    assert renamed.rule_hash() == definition.rule_hash()
    assert edited.rule_hash() != definition.rule_hash()


def test_the_hash_is_stable_over_releases() -> None:
    (definition,) = parse_definitions(MADRID)
    assert definition.rule_hash() == "71439c10715c2488b8ff527ecc954b39785911606b5b635806f36268b2176773"


def test_size_depth_and_number_of_conditions_are_bounded() -> None:
    assert "characters" in refusal("#" * (FILE_CHARS_MAX + 1)).problem
    assert refusal("[" * 100_000).problem == "nested deeper than 64 levels"
    assert refusal(BODY + "{any: [" * 17 + "{has: email}" + "]}" * 17).problem == (
        "conditions are nested deeper than 16 levels"
    )
    assert where_of("{any: [" * 16 + "{has: email}" + "]}" * 16)
    many = ", ".join(["{has: email}"] * 200)
    assert refusal(f"{BODY}{{any: [{many}]}}").problem == "the definition has more than 200 conditions"
    values = ", ".join(f"v{at}" for at in range(1001))
    assert refusal(f"{BODY}{{trait: a, in: [{values}]}}").problem == "in has more than 1000 values"
    properties = ", ".join(f"p{at}: 1" for at in range(51))
    assert refusal(f"{BODY}{{event: a, where: {{{properties}}}}}").problem == (
        "where has more than 50 properties"
    )
    assert (
        refusal(f"{BODY}{{trait: a, is: {'x' * 1001}}}").problem == "the text has more than 1000 characters"
    )


def test_identifier_types_are_checked_against_those_that_are_configured() -> None:
    text = BODY + "{has: emial}"
    assert parse_definitions(text)
    with pytest.raises(DefinitionError) as caught:
        parse_definitions(text, ("user_id", "email"))
    assert str(caught.value) == ("line 3, column 9: 'emial' is not an identifier type, did you mean email?")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "definition: a definition is a mapping, not nothing, write for example"),
        ([], "definition: a definition is a mapping, not a list, write for example"),
        ({"id": "x", "where": {"all": [{"has": "email"}, {"hass": 1}]}}, "where.all[1].hass: 'hass' is not"),
        ({"id": "x", "where": {"trait": "a", "is": float("nan")}}, "where.is: NaN and infinity"),
        ({"id": "x", "where": {"trait": "a", "is": "\ud800"}}, "where.is: half of a surrogate pair"),
        ({"id": "x", "where": {"trait": "a", "is": 1 << 63}}, "where.is: the number has more than 64 bits,"),
        ({"id": "x", "where": {"trait": "a", "is": b"a"}}, "where.is: bytes is not a JSON value,"),
        ({1: "x"}, "definition: a key is a text,"),
        ({"id": "x", "version": 0, "where": {"has": "email"}}, "version: version is 0, write"),
        ({"id": "x", "version": True, "where": {"has": "email"}}, "version: version is a whole"),
    ],
)  # fmt: skip
def test_a_bad_json_form_is_refused_with_its_path(document: object, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        definition_from_json(document)
    assert str(caught.value).startswith(message)
    assert (caught.value.line, caught.value.column) == (0, 0)


def test_deep_json_is_refused() -> None:
    document: Any = {"has": "email"}
    for _ in range(100):
        document = {"any": [document]}
    with pytest.raises(DefinitionError, match="nested deeper than 64 levels"):
        definition_from_json({"id": "x", "where": document})
