"""Segments inside segments: what is refused, who uses whom, what a reference stands for."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.segments.definition import AnyOf, Definition, InSegment
from pipeline.core.segments.document import DefinitionError
from pipeline.core.segments.parse import definition_from_json, parse_definitions
from pipeline.core.segments.references import (
    EXPANDED_MAX,
    LEVELS_MAX,
    References,
    check_references,
    users_of,
)


def using(name: str, *others: str) -> Definition:
    inner: list[dict[str, Any]] = [{"segment": other} for other in others]
    return definition_from_json({"id": name, "where": {"all": [{"has": "email"}, *inner]}})


def known(*definitions: Definition) -> dict[str, Definition]:
    return {one.id: one for one in definitions}


def refusal(applied: dict[str, Definition], text: str) -> str:
    with pytest.raises(DefinitionError) as caught:
        check_references(applied, parse_definitions(text))
    return str(caught.value)


def test_an_unknown_segment_is_refused_where_it_stands_with_the_most_similar_one() -> None:
    text = "id: b\nwhere:\n  all:\n    - {has: email}\n    - {segment: madird}\n"
    assert refusal(known(using("madrid")), text) == (
        "line 5, column 17: there is no segment 'madird', did you mean madrid?"
    )
    assert refusal({}, "id: b\nwhere: {segment: c}") == (
        "line 2, column 18: there is no segment 'c', apply it first"
    )
    check_references({}, parse_definitions("- {id: b, where: {segment: c}}\n- {id: c, where: {has: email}}"))


def test_a_segment_inside_itself_is_refused_also_over_several_that_are_applied() -> None:
    assert refusal({}, "id: a\nwhere: {segment: a}") == (
        "line 2, column 18: segment a would be inside itself (a → a), write the conditions out in one of them"
    )
    applied = known(using("a"), using("b", "a"), using("c", "b"))
    assert "(a → c → b → a)" in refusal(applied, "id: a\nwhere: {segment: c}")
    check_references(applied, parse_definitions("id: d\nwhere: {all: [{segment: c}, {segment: a}]}"))
    circular = known(using("x", "y"), using("y", "x"))
    assert "segment x would be inside itself (x → y → x)" in refusal(circular, "id: d\nwhere: {segment: x}")


def test_too_many_levels_and_too_many_conditions_are_refused() -> None:
    chain = [using("s0"), *(using(f"s{at}", f"s{at - 1}") for at in range(1, LEVELS_MAX + 1))]
    check_references({}, chain)
    deep = refusal(known(*chain), f"id: deep\nwhere: {{segment: s{LEVELS_MAX}}}")
    assert f"more than {LEVELS_MAX} levels" in deep
    doubling = [using("d0"), *(using(f"d{at}", *[f"d{at - 1}"] * 4) for at in range(1, 8))]
    with pytest.raises(DefinitionError, match=f"more than {EXPANDED_MAX} conditions"):
        check_references({}, doubling)
    references = References(known(*doubling))
    assert "d3" in references
    assert references.expand(InSegment("d7")) == AnyOf(())


def test_an_edit_that_makes_another_definition_too_large_is_refused() -> None:
    users = known(using("small"), using("user", *["small"] * 100))
    large = "id: small\nwhere: {all: [" + ", ".join(["{has: email}"] * 20) + "]}"
    assert "segment user has more than" in refusal(users, large)


def test_users_are_found_through_others() -> None:
    applied = known(using("a"), using("b", "a"), using("c", "b"), using("d"), using("e", "gone"))
    assert users_of(["a"], applied) == {"b", "c"}
    assert users_of(["gone", "d"], applied) == {"e"}
    assert users_of(["c"], applied) == set()


def test_whatever_is_on_the_topic_stands_for_something() -> None:
    purpose = definition_from_json({"id": "p", "purpose": "news", "where": {"has": "phone"}})
    references = References(known(purpose, using("a", "b"), using("b", "a"), using("above", "a")))
    assert str(references.expand(InSegment("p")).to_json()) == (
        "{'all': [{'consent': 'news'}, {'has': 'phone'}]}"
    )
    for name in ("a", "b", "above", "missing"):
        assert references.expand(InSegment(name)) == AnyOf(())
        assert name not in references


def test_many_definitions_are_checked_at_once_and_the_one_that_is_wrong_is_named() -> None:
    """Three thousand, each in another one: in a moment, not in the square of one."""
    many = [using(f"s{at}", *([f"s{at - 1}"] if at % 8 else [])) for at in range(3_000)]
    check_references({}, many)
    assert users_of(["s8"], known(*many)) == {f"s{at}" for at in range(9, 16)}
    with pytest.raises(DefinitionError) as caught:
        check_references({}, [*many, using("lost", "s3000")])
    assert caught.value.definition_id == "lost"
