"""Laws of segments: the compiled form agrees with the oracle at every instant and names the next change."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from pipeline.core.facet import NEVER, Facet
from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.leaf import LeafState, add_instant, combine_states
from pipeline.core.segments.parse import definition_from_json
from tests.support.segment_cases import (
    DAYS,
    HOUR_MS,
    HOURS,
    PURPOSES,
    START_MS,
    TYPES,
    Scale,
    fold,
    random_definition,
    random_history,
    random_traits,
)
from tests.support.segment_oracle import Person, id_of, is_inside, window_edges


def random_person(rng: random.Random, events: int, scale: Scale = HOURS) -> Person:
    consent = {purpose: rng.random() < 0.7 for purpose in PURPOSES if rng.random() < 0.8}
    types = [kind for kind in TYPES if rng.random() < 0.5]
    return Person(random_history(rng, events, scale), random_traits(rng, scale), consent, types)


def folded(catalogue: Catalogue, person: Person) -> Facet:
    return fold(catalogue, list(person.history.values()), dict(person.traits), dict(person.consent))


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("scale", [HOURS, DAYS], ids=["hours", "days"])
def test_the_compiled_form_agrees_with_the_oracle_at_every_instant_and_names_the_next_change(
    seed: int, scale: Scale
) -> None:
    rng = random.Random(seed)
    definitions = [random_definition(rng, number, scale, traits=0.3) for number in range(30)]
    others = {id_of(one): one for one in definitions}
    segments = [one for one in definitions if "id" in one]
    catalogue = Catalogue(map(definition_from_json, definitions))
    for events in (0, 2, 6, 14):
        person = random_person(rng, events, scale)
        facet = folded(catalogue, person)
        for definition in segments:
            compare(catalogue, definition, person, facet, others, scale)


def compare(
    catalogue: Catalogue,
    definition: dict[str, Any],
    person: Person,
    facet: Facet,
    others: dict[str, Any],
    scale: Scale,
) -> None:
    """Oracle and compiled form at every edge, one ms before and after; the due instant is the next change."""
    segment = catalogue.segments[definition["id"]]
    last_ms = scale.start_ms + 21 * scale.step_ms
    edges = [edge for edge in window_edges(definition, person, others, scale.start_ms) if edge <= last_ms]
    instants = sorted({scale.start_ms, *(edge + shift for edge in edges for shift in (-1, 0, 1))})
    truth = {now_ms: is_inside(definition, person, now_ms, others) for now_ms in instants}
    for at, now_ms in enumerate(instants):
        inside, due_ms = segment.evaluate(facet, person.identifier_types, now_ms)
        assert inside == truth[now_ms], (definition, now_ms)
        changes = [later for later in instants[at + 1 :] if truth[later] != inside]
        assert due_ms == changes[0] if changes else due_ms > instants[-1], (definition, now_ms)
        ids = segment.deciding_events(facet, now_ms)
        assert len(set(ids)) == len(ids) <= 20
        assert set(ids) <= set(person.history)


@pytest.mark.parametrize("seed", range(30))
def test_an_input_can_change_only_the_segments_that_the_indexes_name(seed: int) -> None:
    rng = random.Random(seed)
    definitions = [random_definition(rng, number) for number in range(30)]
    catalogue = Catalogue(map(definition_from_json, definitions))
    person = random_person(rng, 8)
    *earlier, last = person.history.values()
    before = Person(earlier, person.traits, person.consent, person.identifier_types)
    leaves = (
        catalogue.finders[last["type"]].find(last["properties"]) if last["type"] in catalogue.finders else []
    )
    assert [leaf.key for leaf in leaves].count(last["type"]) <= 1
    named = {segment.id for leaf in leaves for segment in catalogue.by_leaf[leaf.key]}
    named |= {segment.id for segment in catalogue.by_counter.get(last["type"], ())}
    assert named <= {segment.id for segment in catalogue.by_event.get(last["type"], ())}
    tried = [
        leaf for leaf in catalogue.leaves_by_event.get(last["type"], ()) if leaf.matches(last["properties"])
    ]
    assert sorted(leaf.key for leaf in leaves) == sorted(leaf.key for leaf in tried)
    now_ms = START_MS + 10 * HOUR_MS
    for definition in definitions:
        others = {one["id"]: one for one in definitions}
        if is_inside(definition, before, now_ms, others) != is_inside(definition, person, now_ms, others):
            assert definition["id"] in named


@pytest.mark.parametrize("seed", range(30))
def test_a_new_profile_enters_by_its_inputs_or_was_inside_with_its_types_alone(seed: int) -> None:
    rng = random.Random(seed)
    definitions = [random_definition(rng, number) for number in range(30)]
    catalogue = Catalogue(map(definition_from_json, definitions))
    person = random_person(rng, 1)
    (event,) = person.history.values()
    reached = [
        *catalogue.inside_with(person.identifier_types),
        *catalogue.by_event.get(event["type"], ()),
        *(segment for name in person.traits for segment in catalogue.by_trait.get(name, ())),
        *(segment for purpose in person.consent for segment in catalogue.by_consent.get(purpose, ())),
    ]
    ids = {segment.id for segment in reached}
    for definition in definitions:
        if is_inside(definition, person, event["occurred_at"], {one["id"]: one for one in definitions}):
            assert definition["id"] in ids, definition


@pytest.mark.parametrize("seed", range(30))
def test_a_segment_that_does_not_concern_a_profile_is_left_alone_by_it_for_ever(seed: int) -> None:
    rng = random.Random(seed)
    definitions = [random_definition(rng, number) for number in range(30)]
    catalogue = Catalogue(map(definition_from_json, definitions))
    left = 0
    for events in (0, 1, 3):
        person = random_person(rng, events)
        facet = folded(catalogue, person)
        member = rng.choice(definitions)["id"]
        memberships = {member: [True, 1, 1, 1], "gone": [True, 1, 1, 1], "segment-0": [False, 2, 1, 1]}
        found = catalogue.concerned(facet, person.identifier_types, memberships)
        names = [segment.id for segment in found]
        assert names == sorted(set(names))
        assert member in names
        for name, segment in catalogue.segments.items():
            if name not in names:
                left += 1
                for now_ms in (START_MS, START_MS + 40 * HOUR_MS):
                    answer = segment.evaluate(facet, person.identifier_types, now_ms)
                    assert answer == (False, NEVER), segment.definition
    assert left


def test_a_thousand_segments_on_other_things_concern_nobody_who_is_concerned_by_five() -> None:
    five = [
        {"trait": "city", "is": "Madrid"},
        {"event": "product_viewed", "where": {"category": "hats"}, "within": "2h"},
        {"all": [{"has": "email"}, {"none": [{"event": "order_completed", "within": "5h"}]}]},
        {"event": "page_viewed", "at_least": 2},
        {"event": "order_completed", "within": "5h", "sum": "price", "gte": 1},
    ]
    others = [
        {"all": [{"has": "email"}, {"trait": f"trait-{at}", "is": 1}, {"consent": "marketing"}]}
        if at % 2
        else {"event": "product_viewed", "where": {"category": f"other {at}"}, "sum": "price", "gt": at}
        for at in range(995)
    ]
    wheres = enumerate([*five, *others])
    definitions = [definition_from_json({"id": f"s{at}", "where": where}) for at, where in wheres]
    few, many = Catalogue(definitions[:5]), Catalogue(definitions)
    for seed in range(20):
        rng = random.Random(seed)
        person = random_person(rng, 6)
        person = Person(list(person.history.values()), person.traits, {}, person.identifier_types)
        facet = folded(many, person)
        assert [one.id for one in many.concerned(facet, person.identifier_types, {})] == [
            one.id for one in few.concerned(facet, person.identifier_types, {})
        ]
        for event in person.history.values():
            finders = (catalogue.finders.get(event["type"]) for catalogue in (few, many))
            leaves = [finder.find(event["properties"]) if finder else [] for finder in finders]
            assert [leaf.key for leaf in leaves[0]] == [leaf.key for leaf in leaves[1]]


@pytest.mark.parametrize("seed", range(30))
def test_a_definition_survives_its_json_form_and_its_hash_does_not_depend_on_writing_order(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(20):
        written = random_definition(rng)
        definition = definition_from_json(written)
        again = definition_from_json(orjson.loads(orjson.dumps(definition.to_json())))
        assert again == definition
        assert again.to_json() == definition.to_json()
        turned = definition_from_json(turn(written, rng))
        assert turned.content_hash() == definition.content_hash()
        assert turned.rule_hash() == definition.rule_hash()


def turn(written: Any, rng: random.Random) -> Any:
    """The same definition with the keys of every mapping in another order."""
    if isinstance(written, dict):
        keys = rng.sample(sorted(written), k=len(written))
        return {key: turn(written[key], rng) for key in keys}
    return [turn(item, rng) for item in written] if isinstance(written, list) else written


def random_instants(rng: random.Random) -> list[tuple[int, str]]:
    return [(rng.randrange(6), f"e{at}") for at in rng.sample(range(100), k=rng.randrange(12))]


def state_of(instants: list[tuple[int, str]], capacity: int) -> LeafState:
    state: LeafState = [0, [], []]
    for t, event_id in instants:
        add_instant(state, t, event_id, capacity)
    return state


@pytest.mark.parametrize("seed", range(200))
def test_a_leaf_state_is_the_newest_instants_in_any_order_of_arrival_and_any_split(seed: int) -> None:
    rng = random.Random(seed)
    capacity = rng.randrange(1, 6)
    instants = random_instants(rng)
    newest = sorted(instants)[-capacity:]
    expected = [len(instants), [t for t, _ in newest], [event_id for _, event_id in newest]]
    assert state_of(rng.sample(instants, k=len(instants)), capacity) == expected
    cuts = sorted(rng.randrange(len(instants) + 1) for _ in range(2))
    a, b, c = (
        state_of(part, capacity)
        for part in (instants[: cuts[0]], instants[cuts[0] : cuts[1]], instants[cuts[1] :])
    )
    copies = orjson.dumps([a, b, c])
    left = combine_states(combine_states(a, b, capacity), c, capacity)
    right = combine_states(c, combine_states(b, a, capacity), capacity)
    assert left == right == expected
    assert orjson.dumps([a, b, c]) == copies
