"""Whom a change of segments cannot concern is told by what is stored: never wrongly, and often."""

from __future__ import annotations

import random
from typing import Final

import pytest

from pipeline.core.facet import NEVER
from pipeline.core.node import Component, Entry
from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.marks import marks_of
from pipeline.core.segments.parse import definition_from_json, parse_definitions
from pipeline.core.stored import lies_elsewhere
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

ROOT: Final = "user_id:u1"
INSTANTS: Final = [START_MS + at * HOUR_MS for at in (1, 5, 11, 24)]


def stored(catalogue: Catalogue, rng: random.Random) -> tuple[bytes, Component]:
    component = Component(ROOT)
    component.add_identifier(ROOT)
    history, traits = random_history(rng, rng.randrange(4)), random_traits(rng)
    traits = {} if rng.random() < 0.5 else traits
    consent = {purpose: rng.random() < 0.7 for purpose in PURPOSES if rng.random() < 0.3}
    component.facets[ROOT] = fold(catalogue, history, traits, consent)
    return component.encode(), component


@pytest.mark.parametrize("seed", range(40))
def test_who_is_passed_over_is_outside_for_ever(seed: int) -> None:
    rng = random.Random(seed)
    written = [random_definition(rng, number) for number in range(10)]
    catalogue = Catalogue(map(definition_from_json, written))
    people = [stored(catalogue, rng) for _ in range(20)]
    for name, segment in catalogue.segments.items():
        marks = marks_of(catalogue, [name])
        for value, component in people:
            if marks is None or any(mark in value for mark in marks):
                continue
            facet = component.facet(ROOT)
            assert facet is not None
            for now_ms in INSTANTS:
                for types in ((), TYPES[:1], TYPES):
                    assert segment.evaluate(facet, types, now_ms) == (False, NEVER), name


def catalogue(*conditions: str) -> Catalogue:
    documents = (f"id: seg-{at}\nwhere: {one}" for at, one in enumerate(conditions))
    return Catalogue(parse_definitions("\n---\n".join(documents)))


def test_marks_are_what_the_conditions_ask_about_and_the_ids() -> None:
    made = catalogue(
        "{all: [{event: order_completed, at_least: 2}, {trait: city, is: Madrid}, {consent: marketing}]}",
        "{event: product_viewed, within: 7d}",
    )
    asked = {b"order_completed", b"city", b"marketing"}
    assert marks_of(made, ["seg-0"]) == {*asked, b"seg-0"}
    assert marks_of(made, ["seg-1"]) == {b"product_viewed", b"seg-1"}
    assert marks_of(made, []) == set()


@pytest.mark.parametrize(
    "condition", ["{none: [{event: order_completed}]}", "{has: email}", "{not_since: {event: e, for: 1d}}"]
)
def test_everybody_is_looked_at_for_who_is_inside_without_having_done_anything(condition: str) -> None:
    assert marks_of(catalogue(condition), ["seg-0"]) is None


def test_everybody_is_looked_at_for_a_computed_trait() -> None:
    made = Catalogue(parse_definitions("trait: orders\ncompute: count\nevent: order_completed"))
    assert marks_of(made, made.segments) is None


def test_who_was_told_to_be_inside_is_found_by_the_id() -> None:
    component = Component(ROOT)
    component.add_identifier(ROOT)
    component.entries["0" * 32] = Entry(ROOT, "", {"seg-1": [True, 1, 1, 1]})
    marks = marks_of(catalogue("{event: a}", "{event: b}"), ["seg-1"])
    assert marks is not None
    assert any(mark in component.encode() for mark in marks)


def test_facets_in_records_of_their_own_are_known_by_the_component() -> None:
    component = Component(ROOT)
    for at in range(16):
        component.add_identifier(f"device_id:d{at}")
    assert not lies_elsewhere(component.encode())
    component.add_identifier("device_id:d16")
    assert lies_elsewhere(component.encode())
    component.become_redirect("user_id:u0", START_MS)
    assert not lies_elsewhere(component.encode())
