"""Compiled segments by example, leaves shared between them, and the indexes."""

from __future__ import annotations

import pytest

from pipeline.core.errors import InvariantViolation
from pipeline.core.facet import NEVER, Facet
from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.parse import definition_from_json, parse_definitions
from tests.unit.core.segments.test_parse import MADRID

DAY_MS = 86_400_000
NOW_MS = 1_000 * DAY_MS
SHOES = "product_viewed#1c26b0e9df317ecf"


def catalogue(*conditions: str) -> Catalogue:
    """Segments a, b, c, … with these conditions."""
    names = "abcdefghij"
    return Catalogue(
        parse_definitions(
            "\n---\n".join(f"id: {names[at]}\nwhere: {one}" for at, one in enumerate(conditions))
        )
    )


def facet(**leaves: list[int]) -> Facet:
    """A facet with the instants of leaves whose key is a plain event type."""
    fold = Facet()
    for key, instants in leaves.items():
        fold.leaves[key] = [len(instants), instants, [f"{key}-{t}" for t in instants]]
        fold.counters[key] = len(instants)
    return fold


def evaluate(
    condition: str, fold: Facet, now_ms: int = NOW_MS, types: tuple[str, ...] = ()
) -> tuple[bool, int]:
    return catalogue(condition).segments["a"].evaluate(fold, types, now_ms)


def test_the_example_of_the_contract_lives_through_entry_purchase_and_both_expiries() -> None:
    segment = Catalogue(parse_definitions(MADRID)).segments["madrid-running-no-purchase"]
    fold = Facet()
    fold.traits["city"] = ["Madrid", 1]
    fold.leaves[SHOES] = [1, [NOW_MS], ["view"]]
    assert segment.evaluate(fold, (), NOW_MS) == (False, NEVER)  # no consent
    fold.consent["marketing"] = [True, 1]
    assert segment.evaluate(fold, (), NOW_MS) == (True, NOW_MS + 7 * DAY_MS)
    assert segment.evaluate(fold, (), NOW_MS + 7 * DAY_MS - 1) == (True, NOW_MS + 7 * DAY_MS)
    assert segment.evaluate(fold, (), NOW_MS + 7 * DAY_MS) == (False, NEVER)
    assert segment.deciding_events(fold, NOW_MS + 7 * DAY_MS) == ("view",)
    assert segment.deciding_events(fold, NOW_MS + 7 * DAY_MS + 1) == ()
    fold.leaves["order_completed"] = [1, [NOW_MS + 5], ["order"]]
    assert segment.evaluate(fold, (), NOW_MS + 5) == (False, NEVER)  # the view leaves before the order does
    assert segment.deciding_events(fold, NOW_MS + 5) == ("order", "view")
    fold.leaves[SHOES] = [2, [NOW_MS + 9], ["view again"]]
    assert segment.evaluate(fold, (), NOW_MS + 9) == (False, NOW_MS + 5 + 7 * DAY_MS)
    assert segment.evaluate(fold, (), NOW_MS + 5 + 7 * DAY_MS) == (True, NOW_MS + 9 + 7 * DAY_MS)
    fold.traits["city"] = ["Lisbon", 2]
    assert segment.evaluate(fold, (), NOW_MS + 9) == (False, NEVER)  # no timer for somebody in another city


def test_an_event_ahead_of_now_counts_already() -> None:
    ahead_ms = NOW_MS + 300_000
    assert evaluate("{event: a, within: 1h}", facet(a=[ahead_ms])) == (True, ahead_ms + 3_600_000)


def test_counts_in_a_window() -> None:
    fold = facet(a=[NOW_MS - 3, NOW_MS - 2, NOW_MS - 1])
    assert evaluate("{event: a, within: 1d, at_least: 2}", fold) == (True, NOW_MS - 2 + DAY_MS)
    assert evaluate("{event: a, within: 1d, at_least: 4}", fold) == (False, NEVER)
    assert evaluate("{event: a, within: 1d, at_most: 1}", fold) == (False, NOW_MS - 2 + DAY_MS)
    assert evaluate("{event: a, within: 1d, at_most: 0}", fold) == (False, NOW_MS - 1 + DAY_MS)
    assert evaluate("{event: a, within: 1d, at_most: 3}", fold) == (True, NEVER)
    assert evaluate("{event: a, within: 1d, exactly: 3}", fold) == (True, NOW_MS - 3 + DAY_MS)
    assert evaluate("{event: a, within: 1d, exactly: 2}", fold) == (False, NOW_MS - 3 + DAY_MS)
    assert evaluate("{event: a, within: 1d, exactly: 0}", fold) == (False, NOW_MS - 1 + DAY_MS)
    assert evaluate("{event: b, within: 1d, exactly: 0}", fold) == (True, NEVER)


def test_counts_ever_come_from_the_counters_or_from_the_leaf() -> None:
    fold = facet(a=[])
    fold.counters["a"] = 3
    assert evaluate("{event: a, at_least: 3}", fold) == (True, NEVER)
    assert evaluate("{event: a, exactly: 2}", fold) == (False, NEVER)
    assert evaluate("{event: b, at_most: 0}", fold) == (True, NEVER)
    shoes = "event: product_viewed, where: {category: running shoes}"
    assert evaluate(f"{{{shoes}, at_most: 0}}", fold) == (True, NEVER)
    fold.leaves[SHOES] = [5, [1], ["x"]]
    assert evaluate(f"{{{shoes}, exactly: 5}}", fold) == (True, NEVER)
    assert evaluate(f"{{{shoes}, at_most: 4}}", fold) == (False, NEVER)


def test_traits_consent_and_identifiers() -> None:
    fold = Facet()
    fold.traits["city"] = [None, 1]
    fold.consent["marketing"] = [False, 1]
    assert evaluate("{trait: city, exists: false}", fold) == (True, NEVER)
    assert evaluate("{trait: city, is_not: Madrid}", fold) == (True, NEVER)
    assert evaluate("{trait: plan, is_not: gold}", fold) == (True, NEVER)
    assert evaluate("{consent: marketing}", fold) == (False, NEVER)
    assert evaluate("{none: [{consent: marketing}]}", fold) == (True, NEVER)
    assert evaluate("{has: email}", fold) == (False, NEVER)
    assert evaluate("{has: email}", fold, types=("email",)) == (True, NEVER)
    assert evaluate("{none: [{has: email}, {has: phone}]}", fold, types=("phone",)) == (False, NEVER)


def test_a_leaf_is_shared_and_as_large_as_its_most_demanding_user() -> None:
    compiled = catalogue(
        "{event: a, within: 1d, at_least: 3}",
        "{event: a, within: 7d, at_most: 3}",
        "{event: a, where: {x: 1, y: {lt: 2}}}",
        "{event: a, where: {y: {lt: 2.0}, x: {is: 1.0}}, within: 2d}",
        "{event: a, at_least: 900}",
    )
    plain, other = compiled.leaves_by_event["a"]
    assert (plain.key, plain.capacity, plain.keep_ms, plain.has_where) == ("a", 4, 7 * DAY_MS, False)
    assert (other.capacity, other.keep_ms, other.has_where) == (1, 2 * DAY_MS, True)
    assert compiled.capacities == {"a": 4, other.key: 1}
    assert [segment.id for segment in compiled.by_leaf[other.key]] == ["c", "d"]
    assert [segment.id for segment in compiled.by_counter["a"]] == ["e"]
    assert [segment.id for segment in compiled.by_event["a"]] == ["a", "b", "c", "d", "e"]


def test_indexes_lead_from_an_input_to_its_segments() -> None:
    compiled = Catalogue(
        parse_definitions(
            MADRID
            + "---\nid: b\nwhere: {all: [{consent: marketing}, {has: email}]}"
            + "\n---\nid: c\nwhere: {none: [{event: order_completed}]}"
        )
    )
    ids = {
        name: {key: [segment.id for segment in segments] for key, segments in getattr(compiled, name).items()}
        for name in ("by_event", "by_trait", "by_consent")
    }
    madrid = "madrid-running-no-purchase"
    assert ids == {
        "by_event": {"order_completed": ["c", madrid], "product_viewed": [madrid]},
        "by_trait": {"city": [madrid]},
        "by_consent": {"marketing": ["b", madrid]},
    }
    assert [segment.id for segment in compiled.inside_with(())] == ["c"]
    compiled = catalogue("{has: email}", "{all: [{has: email}, {has: phone}]}", "{none: [{has: phone}]}")
    inside = [
        [one.id for one in compiled.inside_with(types)] for types in ((), {"email"}, ("phone", "email"))
    ]
    assert inside == [["c"], ["a", "c"], ["a", "b"]]


def test_an_event_finds_its_leaves_by_the_text_of_a_property() -> None:
    compiled = catalogue(
        "{event: a, where: {category: hats}}",
        "{event: a, where: {category: hats, price: {gt: 10}}}",
        "{event: a, where: {brand: Zé}}",
        "{event: a, where: {price: 1}}",
        "{event: a, within: 1d}",
    )
    finder = compiled.finders["a"]

    def found(properties: dict[str, object]) -> list[str]:
        return sorted(
            segment.id for leaf in finder.find(properties) for segment in compiled.by_leaf[leaf.key]
        )

    assert found({"category": "hats", "price": 11}) == ["a", "b", "e"]
    assert found({"category": "hats", "brand": "Zé", "price": 1.0}) == ["a", "c", "d", "e"]
    assert found({"category": ["hats"], "price": True}) == ["e"]
    assert found({}) == ["e"]


def test_deciding_events_are_the_newest_twenty_and_only_those_that_decide() -> None:
    instants = [NOW_MS - at for at in range(30, 0, -1)]
    fold = facet(a=instants, b=[NOW_MS - DAY_MS, NOW_MS - 40])
    compiled = catalogue("{event: a, within: 1d, at_least: 25}", "{event: b, within: 1d, at_least: 3}")
    assert compiled.segments["a"].deciding_events(fold, NOW_MS) == tuple(f"a-{t}" for t in instants[:9:-1])
    assert compiled.segments["b"].deciding_events(fold, NOW_MS) == (
        f"b-{NOW_MS - 40}",
        f"b-{NOW_MS - DAY_MS}",
    )
    assert compiled.segments["b"].deciding_events(fold, NOW_MS + 1) == (f"b-{NOW_MS - 40}",)


def test_two_definitions_with_one_id_are_a_bug_of_the_caller() -> None:
    (definition,) = parse_definitions(MADRID)
    with pytest.raises(InvariantViolation):
        Catalogue([definition, definition])


def test_a_birthday_that_changes_nothing_is_not_followed_for_thousands_of_years() -> None:
    birthday = {"trait": "born", "anniversary": "today"}
    never = {"any": [{"all": [birthday, {"none": [birthday]}]}, {"trait": "city", "is": "Nowhere"}]}
    start_ms, day_ms = 1_772_323_200_000, 86_400_000
    segment = Catalogue([definition_from_json({"id": "never", "where": never})]).segments["never"]
    facet = Facet()
    facet.traits["born"] = ["1990-05-04", 1]
    inside, due_ms = segment.evaluate(facet, (), start_ms)
    assert not inside
    assert start_ms < due_ms < start_ms + 200 * 366 * day_ms
