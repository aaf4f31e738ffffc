"""Why somebody is inside or outside: each kind of condition with what it found, and what would change it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pipeline.core.facet import NEVER
from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.definition import All, AnyOf, InSegment, NoneOf
from pipeline.core.segments.explain import Explained, WhySegment, explain_segment
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.segments.words import describe
from tests.support.segment_cases import (
    HOUR_MS,
    PURPOSES,
    START_MS,
    TYPES,
    fold,
    random_definition,
    random_history,
    random_traits,
)

NOW_MS = START_MS + 10 * HOUR_MS
IDENTIFIERS = ("user_id:1", "email:b@x", "email:a@x")
HISTORY = [
    {"event_id": "v1", "type": "viewed", "occurred_at": NOW_MS - 5 * HOUR_MS, "properties": {"price": 5}},
    {"event_id": "v2", "type": "viewed", "occurred_at": NOW_MS - HOUR_MS, "properties": {"price": 50}},
    {"event_id": "v3", "type": "viewed", "occurred_at": NOW_MS - HOUR_MS // 2, "properties": {"price": 70}},
]
TRAITS = {"city": "Madrid", "age": 40, "born": "1986-02-01", "vip": True, "tags": ["a", "b"]}
CONSENT = {"marketing": True, "calls": False}


def explained(where: dict[str, Any], purpose: str | None = None, now_ms: int = NOW_MS) -> WhySegment:
    """A definition over the person of this file."""
    document = {"id": "a-segment", "where": where} | ({"purpose": purpose} if purpose else {})
    definition = definition_from_json(document)
    facet = fold(Catalogue([definition]), HISTORY, TRAITS, CONSENT)
    return explain_segment(definition, facet, IDENTIFIERS, now_ms, {definition.id: definition})


@pytest.mark.parametrize(
    ("where", "holds", "found", "events"),
    [
        ({"trait": "city", "is": "Madrid"}, True, "Madrid", []),
        ({"trait": "city", "is_not": "Madrid"}, False, "Madrid", []),
        ({"trait": "city", "in": ["Lisboa", "Madrid"]}, True, "Madrid", []),
        ({"trait": "city", "contains": "drid"}, True, "Madrid", []),
        ({"trait": "tags", "contains": "c"}, False, ["a", "b"], []),
        ({"trait": "city", "matches": "^M"}, True, "Madrid", []),
        ({"trait": "shoe", "exists": True}, False, None, []),
        ({"trait": "age", "gt": 40}, False, 40, []),
        ({"trait": "age", "gte": 40, "lt": 41}, True, 40, []),
        ({"trait": "age", "lte": 39}, False, 40, []),
        ({"trait": "born", "before": "1990-01-01"}, True, "1986-02-01", []),
        ({"trait": "born", "after": "1990-01-01"}, False, "1986-02-01", []),
        ({"event": "viewed"}, True, 3, []),
        ({"event": "viewed", "exactly": 2}, False, 3, []),
        ({"event": "bought", "at_most": 0}, True, 0, []),
        ({"event": "viewed", "where": {"price": {"gt": 10}}, "at_least": 2}, True, 2, ["v3"]),
        ({"event": "viewed", "within": "2h", "at_least": 2}, True, 2, ["v3", "v2"]),
        ({"event": "viewed", "within": "1h", "at_least": 2}, False, 1, ["v3"]),
        ({"event": "viewed", "within": "2h", "at_most": 2}, True, 2, ["v3", "v2"]),
        ({"event": "viewed", "within": "9h", "exactly": 2}, False, 3, ["v3", "v2", "v1"]),
        ({"event": "viewed", "where": {"price": {"lt": 10}}, "within": "2h"}, False, 0, []),
        ({"consent": "marketing"}, True, True, []),
        ({"consent": "calls"}, False, False, []),
        ({"consent": "letters"}, False, None, []),
        ({"has": "email"}, True, ["email:a@x", "email:b@x"], []),
        ({"has": "phone"}, False, [], []),
        ({"trait": "born", "anniversary": "today"}, False, "1986-02-01", []),
        ({"event": "viewed", "sum": "price", "gte": 125}, True, 125, ["v3"]),
        ({"event": "viewed", "avg": "price", "within": "2h", "lt": 60}, False, 60, ["v3", "v2"]),
        ({"event": "viewed", "min": "price", "within": "9h", "lt": 60}, True, 5, ["v3", "v2", "v1"]),
        ({"event": "viewed", "max": "price", "within": "10m", "lt": 60}, False, None, []),
        ({"event": "bought", "sum": "price", "lt": 60}, True, 0, []),
        ({"first_time": "viewed"}, False, 3, []),
        ({"first_time": "viewed", "where": {"price": 70}, "within": "1h"}, True, 1, ["v3"]),
        ({"not_since": {"event": "viewed", "for": "2h"}}, False, 1, ["v3"]),
        ({"not_since": {"event": "bought"}}, True, 0, []),
        ({"sequence": [{"event": "viewed"}, {"event": "viewed"}], "within": "2h"}, True, 2, ["v3", "v2"]),
        ({"sequence": [{"event": "bought"}, {"event": "viewed"}], "within": "2h"}, False, 1, ["v3"]),
    ],
    ids=str,
)
def test_a_condition_tells_whether_it_holds_what_it_found_and_which_events_decide(
    where: dict[str, Any], holds: bool, found: object, events: list[str]
) -> None:
    answer = explained(where)
    node = answer.where
    keys = ("value", "count", "granted", "identifiers", "aggregate", "steps")
    (key,) = [name for name in keys if name in node.found]
    assert (answer.inside, node.holds, node.found[key]) == (holds, holds, found)
    assert [event_id for _, event_id in node.events] == events
    assert answer.would_change() == [
        f"{describe(node.condition)}: would have to {'end' if holds else 'become true'}"
    ]


def test_a_segment_inside_is_explained_with_its_own_conditions() -> None:
    viewers = {"id": "viewers", "purpose": "calls", "where": {"event": "viewed", "within": "2h"}}
    document = {"id": "a-segment", "where": {"none": [{"segment": "viewers"}, {"segment": "gone"}]}}
    viewers_known = definition_from_json(viewers)
    definition = definition_from_json(document)
    known = {one.id: one for one in (viewers_known, definition)}
    facet = fold(Catalogue(known.values()), HISTORY, TRAITS, CONSENT)
    answer = explain_segment(definition, facet, IDENTIFIERS, NOW_MS, known)
    inside, gone = answer.where.conditions
    assert (answer.inside, inside.holds, gone.holds) == (True, False, False)
    assert [(describe(one.condition), one.holds) for one in inside.conditions] == [
        ("consent calls", False),
        ("event viewed within 2h, at least 1", True),
    ]
    assert (inside.found, gone.found, gone.conditions) == ({"known": True}, {"known": False}, ())
    written = inside.to_json()
    assert (written["condition"], len(written["conditions"])) == ({"segment": "viewers"}, 2)
    assert answer.would_change() == ["consent calls: would have to become true"]


def test_a_window_names_the_instant_at_which_it_closes_and_the_last_event_that_has_left_it() -> None:
    open_window = explained({"event": "viewed", "within": "2h"})
    assert open_window.changes_ms == open_window.where.changes_ms == NOW_MS + HOUR_MS * 3 // 2
    closed = explained({"event": "viewed", "within": "10m"})
    assert (closed.where.holds, closed.changes_ms, closed.where.events) == (False, NEVER, ())
    assert closed.where.found == {"count": 0, "or_more": False, "last_at": "1970-02-12T01:30:00.000Z"}


def test_instants_that_are_not_kept_make_the_count_a_least_one() -> None:
    assert explained({"event": "viewed", "within": "9h"}).where.found["or_more"]
    assert not explained({"event": "viewed", "within": "9h", "at_least": 4}).where.found["or_more"]


def test_a_segment_with_a_purpose_needs_its_consent_first() -> None:
    where = {"event": "viewed", "within": "2h"}
    inside = explained(where, "marketing")
    assert (inside.inside, inside.purpose is not None and inside.purpose.holds) == (True, True)
    assert inside.would_change() == ["consent marketing: would have to end"]
    outside = explained(where, "calls")
    assert (outside.inside, outside.where.holds, outside.changes_ms) == (False, True, NEVER)
    assert outside.would_change() == ["consent calls: would have to become true"]
    both = explained({"trait": "city", "is": "Lisboa"}, "calls")
    assert both.would_change() == [
        "consent calls: would have to become true",
        "trait city is Lisboa: would have to become true",
    ]


def test_a_group_shows_its_members_and_what_is_missing_or_in_the_way() -> None:
    answer = explained({
        "all": [
            {"trait": "city", "is": "Madrid"},
            {"any": [{"has": "phone"}, {"all": [{"has": "cpf"}, {"has": "nis"}]}]},
            {"none": [{"event": "viewed", "within": "2h"}, {"event": "bought"}]},
        ]
    })  # fmt: skip
    assert answer.would_change() == [
        "has phone: would have to become true",
        "event viewed within 2h, at least 1: would have to end",
    ]
    document = answer.to_json()
    assert document["where"]["condition"] == "all"
    city, either, none = document["where"]["conditions"]
    assert (city["holds"], either["holds"], none["holds"]) == (True, False, False)
    assert (either["condition"], none["condition"]) == ("any", "none")
    assert none["changes_at"] == none["conditions"][0]["changes_at"] == "1970-02-12T03:30:00.000Z"
    assert none["conditions"][0]["events"][0] == {"event_id": "v3", "at": "1970-02-12T01:30:00.000Z"}
    assert none["conditions"][0]["condition"] == {"event": "viewed", "within": "2h", "at_least": 1}


def test_conditions_are_described_as_people_write_them() -> None:
    where = {"event": "viewed", "where": {"price": {"gte": 1, "lt": 9}, "sale": True}, "within": "7d"}
    condition = explained({**where, "at_most": 3}).definition.where
    assert describe(condition) == "event viewed (price gte 1 and lt 9 and sale is true) within 7d, at most 3"
    assert describe(explained({"any": [{"has": "email"}, {"has": "cpf"}]}).definition.where) == "any of 2"


@pytest.mark.parametrize("seed", range(40))
def test_the_tree_agrees_with_the_compiled_segment_and_its_groups_with_their_members(seed: int) -> None:
    rng = random.Random(seed)
    definitions = [definition_from_json(random_definition(rng, number)) for number in range(20)]
    known = {one.id: one for one in definitions}
    catalogue = Catalogue(definitions)
    consent = {purpose: rng.random() < 0.7 for purpose in PURPOSES}
    types = [kind for kind in TYPES if rng.random() < 0.5]
    facet = fold(catalogue, random_history(rng, rng.choice([0, 3, 12])), random_traits(rng), consent)
    for definition in definitions:
        now_ms = START_MS + rng.randrange(12 * HOUR_MS)
        answer = explain_segment(definition, facet, [f"{kind}:1" for kind in types], now_ms, known)
        expected = catalogue.segments[definition.id].evaluate(facet, types, now_ms)
        assert (answer.inside, answer.changes_ms) == expected
        assert truth(answer.where, ()) == answer.where.holds
        assert answer.takes
        granted = answer.purpose is None or truth(answer.purpose, answer.takes)
        assert (granted and truth(answer.where, answer.takes)) != answer.inside


def truth(node: Explained, flipped: tuple[Explained, ...]) -> bool:
    """The truth of a tree by the meaning of its groups, if some plain conditions were the other way round."""
    inner = [truth(one, flipped) for one in node.conditions]
    if isinstance(node.condition, All) or (isinstance(node.condition, InSegment) and inner):
        return all(inner)
    if isinstance(node.condition, AnyOf | NoneOf):
        return any(inner) == isinstance(node.condition, AnyOf)
    return node.holds != any(node is one for one in flipped)


@pytest.mark.parametrize(
    ("where", "behind"),
    [
        ({"event": "viewed", "within": "2h"}, ["email:a@x"]),
        ({"event": "viewed", "within": "9h", "at_least": 3}, ["email:a@x", "user_id:1"]),
        ({"event": "viewed"}, ["email:a@x", "user_id:1"]),
        ({"event": "viewed", "sum": "price", "gt": 1}, ["email:a@x", "user_id:1"]),
        ({"event": "bought", "within": "9h"}, []),
        ({"trait": "city", "is": "Madrid"}, ["user_id:1"]),
        ({"trait": "vip", "is": True}, ["email:a@x"]),
        ({"consent": "marketing"}, ["user_id:1"]),
        ({"has": "email"}, ["email:a@x"]),
        ({"sequence": [{"event": "viewed"}, {"event": "viewed"}], "within": "9h"}, ["email:a@x"]),
        ({"trait": "views", "gte": 1}, ["email:a@x", "user_id:1"]),
        ({"trait": "newest", "gte": 1}, ["email:a@x"]),
    ],
)  # fmt: skip
def test_it_says_which_identifiers_are_behind_a_condition(where: dict[str, Any], behind: list[str]) -> None:
    written = [
        {"id": "a-segment", "where": where},
        {"trait": "views", "compute": "count", "event": "viewed"},
        {"trait": "newest", "compute": "last", "of": "price", "event": "viewed", "within": "2h"},
    ]
    definitions = {one.id: one for one in map(definition_from_json, written)}
    catalogue = Catalogue(definitions.values())
    facets = {
        "user_id:1": fold(catalogue, HISTORY[:1], {"city": "Madrid"}, {"marketing": True}),
        "email:a@x": fold(catalogue, HISTORY[1:], {"vip": True}, {}),
    }
    whole = fold(catalogue, HISTORY, {"city": "Madrid", "vip": True}, {"marketing": True})
    why = explain_segment(definitions["a-segment"], whole, list(facets), NOW_MS, definitions, facets)
    assert list(why.where.identifiers) == why.where.to_json()["identifiers"] == behind
