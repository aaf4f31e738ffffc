"""Why a trait that sources tell has its value: held against the oracle over random tellings, and examples."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any, Final

import pytest

from pipeline.core.facet import Facet
from pipeline.core.instant import format_instant
from pipeline.core.policy import Survivorship
from pipeline.core.touch import Touch
from pipeline.core.why_trait import VALUES_MAX, Told, WhyTrait, explain_trait
from tests.support import oracle

NAMES: Final = ("user_id:1", "email:a@x", "anonymous_id:7")
VALUES: Final[tuple[Any, ...]] = ("a", "b", "", 0, 1, 1.0, True, None, ["a"], ["b", "a"], [], {"x": 1})


def told(number: int, at_ms: int, whose: str, value: Any, source: str = "crm") -> Touch:
    return Touch(f"e{number}", source, "identified", at_ms, [whose], json.dumps({"city": value}))


def explained(rule: str, touches: list[Touch], history: list[Touch]) -> WhyTrait:
    """The trait of a profile that has had all the touches, of which the history still has some."""
    rules = {"city": Survivorship(rule)}
    facets: dict[str, Facet] = {}
    for touch in touches:
        facet = facets.setdefault(touch.identifiers[0], Facet())
        facet.touch(touch.type, touch.occurred_at)
        facet.see_traits(json.loads(touch.traits), touch.occurred_at, rules)
    fold = Facet()
    for facet in facets.values():
        fold.add(facet, rules, {})
    return explain_trait("city", rules["city"], fold, facets, history)


def said(touch: Touch) -> Any:
    return json.loads(touch.traits)["city"]


def parts(value: Any, rule: str) -> list[str]:
    """The values that a telling counts as."""
    return [
        oracle.text_of(one) for one in (value if rule == "union" and isinstance(value, list) else [value])
    ]


@pytest.mark.parametrize("rule", [str(rule) for rule in Survivorship])
@pytest.mark.parametrize("seed", range(60))
def test_who_wins_is_what_survives_and_the_event_is_one_that_told_it(seed: int, rule: str) -> None:
    rng = random.Random(seed)
    touches = [
        told(number, rng.randrange(4), rng.choice(NAMES), rng.choice(VALUES))
        for number in range(rng.randrange(1, 12))
    ]
    why = explained(rule, touches, rng.sample(touches, k=len(touches)))
    value = oracle.surviving([(touch.occurred_at, said(touch)) for touch in touches], rule)
    winners = [one for one in why.told if one.wins]
    assert oracle.text_of(why.value) == oracle.text_of(value)
    assert {oracle.text_of(one.value) for one in winners} == set(parts(value, rule))
    assert len({oracle.text_of(one.value) for one in why.told}) == len(why.told) == why.of
    texts = [text for touch in touches for text in parts(said(touch), rule)]
    assert {oracle.text_of(one.value) for one in why.told} == set(texts)
    for one in why.told:
        text = oracle.text_of(one.value)
        tellings = [touch for touch in touches if text in parts(said(touch), rule)]
        instants = [touch.occurred_at for touch in tellings]
        assert one.at_ms == (min(instants) if rule == "first" else max(instants))
        named = next(touch for touch in tellings if touch.event_id == one.event_id)
        assert (named.occurred_at, named.identifiers[0]) == (one.at_ms, one.identifier)
        assert one.count == (Counter(texts)[text] if rule == "most_frequent" else None)
    assert [one.wins for one in why.told] == sorted((one.wins for one in why.told), reverse=True)


@pytest.mark.parametrize("rule", [str(rule) for rule in Survivorship])
def test_what_is_older_than_the_history_is_known_without_its_event(rule: str) -> None:
    touches = [
        told(1, 1_000, "user_id:1", "Lisbon"), told(2, 2_000, "email:a@x", "Madrid", "web"),
        told(3, 3_000, "user_id:1", "Porto"),
    ]  # fmt: skip
    why = explained(rule, touches, touches[1:2])
    madrid = next(one for one in why.told if one.value == "Madrid")
    assert (madrid.at_ms, madrid.identifier, madrid.event_id, madrid.source) == (
        2_000,
        "email:a@x",
        "e2",
        "web",
    )
    kept = {"newest": {"Porto"}, "first": {"Lisbon"}}.get(rule, {"Lisbon", "Porto"})
    others = [one for one in why.told if one.value != "Madrid"]
    assert {one.value for one in others} == kept
    assert {(one.identifier, one.event_id, one.source) for one in others} == {("user_id:1", "", "")}


def test_a_telling_from_before_the_component_was_forgotten_is_left_out() -> None:
    before = told(1, 1_000, "anonymous_id:7", "Lisbon")
    why = explained("first", [told(2, 2_000, "anonymous_id:7", "Madrid")], [before])
    assert [one.value for one in why.told] == ["Madrid"]


def test_an_explanation_as_json() -> None:
    touches = [told(1, 1_000, "user_id:1", "Lisbon"), told(2, 2_000, "email:a@x", "Madrid", "web")]
    why = explained("newest", touches, touches)
    assert why.to_json() == {
        "trait": "city", "trait_version": None, "value": "Madrid", "changes_at": None, "becomes": None,
        "rule": "newest", "computed": None, "found": {"of": 2}, "identifiers": ["email:a@x"],
        "values": [
            {"value": "Madrid", "wins": True, "at": format_instant(2_000), "count": None,
             "identifier": "email:a@x", "event_id": "e2", "source": "web"},
            {"value": "Lisbon", "wins": False, "at": format_instant(1_000), "count": None,
             "identifier": "user_id:1", "event_id": "e1", "source": "crm"},
        ],
    }  # fmt: skip
    older = explained("newest", touches, []).told[0]
    assert older == Told("Madrid", True, 2_000, None, "email:a@x", "", "")
    assert (older.to_json()["event_id"], older.to_json()["source"]) == (None, None)


def test_of_many_values_the_best_are_shown() -> None:
    touches = [told(at, at, "user_id:1", f"city {at}") for at in range(VALUES_MAX + 5)]
    why = explained("newest", touches, touches)
    assert (len(why.told), why.of) == (VALUES_MAX, VALUES_MAX + 5)
    assert [one.at_ms for one in why.told] == list(range(VALUES_MAX + 4, 4, -1))
