"""Laws of computed traits: the oracle's value at every instant, in any order of arrival and any split."""

from __future__ import annotations

import os
import random
from itertools import pairwise
from typing import Any, Final

import pytest

from pipeline.core.facet import Facet
from pipeline.core.segments import asked
from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch
from tests.property.test_segments import random_person
from tests.support import segment_oracle
from tests.support.histories import policy_of, random_touches, shuffled_with_repetitions
from tests.support.laws import check_outputs, check_profiles, check_structure, profiles_of
from tests.support.memory import Chaos, Cluster
from tests.support.segment_cases import DAYS, HOUR_MS, HOURS, START_MS, Scale, fold, random_trait
from tests.support.segment_oracle import Person, id_of, trait_edges, trait_value

SEEDS: Final = int(os.environ.get("ELO_TEST_SEEDS", "20"))


def random_traits_of(rng: random.Random, count: int, scale: Scale = HOURS) -> list[dict[str, Any]]:
    """Definitions of which later ones may use earlier ones."""
    names = [f"made_{at}" for at in range(count)]
    return [
        random_trait(rng, name, scale, [f"trait:{one}" for one in names[:at]])
        for at, name in enumerate(names)
    ]


def typed(value: Any) -> Any:
    """A value that differs from another of its kind only: 1 and true are two."""
    return type(value), value


@pytest.fixture
def few_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few events are kept that the bound is met."""
    monkeypatch.setattr(asked, "KEPT_MAX", 4)
    monkeypatch.setattr(segment_oracle, "KEPT", 4)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("scale", [HOURS, DAYS], ids=["hours", "days"])
def test_a_trait_has_the_value_of_the_oracle_at_every_instant_and_names_the_next_change(
    seed: int, scale: Scale
) -> None:
    rng = random.Random(seed)
    compare(rng, scale, random_traits_of(rng, 20, scale))


@pytest.mark.usefixtures("few_kept")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_trait_of_many_events_is_that_of_the_newest(seed: int) -> None:
    rng = random.Random(seed)
    compare(rng, HOURS, [one for one in random_traits_of(rng, 25) if "score" not in one])


def compare(rng: random.Random, scale: Scale, definitions: list[dict[str, Any]]) -> None:
    others = {id_of(one): one for one in definitions}
    catalogue = Catalogue(map(definition_from_json, definitions))
    for events in (0, 1, 5, 14):
        person = random_person(rng, events, scale)
        facet = fold(catalogue, list(person.history.values()), dict(person.traits), dict(person.consent))
        for written in definitions:
            compare_one(catalogue, written, person, facet, others, scale)


def compare_one(
    catalogue: Catalogue, written: dict[str, Any], person: Person, facet: Facet, others: Any, scale: Scale
) -> None:
    timeline, types = catalogue.traits[written["trait"]], person.identifier_types
    last_ms = scale.start_ms + 21 * scale.step_ms
    edges = [edge for edge in trait_edges(written, person, others, scale.start_ms) if edge <= last_ms]
    instants = sorted({scale.start_ms, *(edge + shift for edge in edges for shift in (-1, 0, 1))})
    truth = {now_ms: typed(trait_value(written, person, now_ms, others)) for now_ms in instants}
    for at, now_ms in enumerate(instants):
        value, until_ms = next(timeline(facet, types, now_ms))
        assert typed(value) == truth[now_ms], (written, now_ms)
        changes = [later for later in instants[at + 1 :] if truth[later] != truth[now_ms]]
        if "score" in written:  # It says when a condition changes: other ones may make up for it.
            assert not changes or until_ms <= changes[0]
        else:
            assert until_ms == changes[0] if changes else until_ms > instants[-1], (written, now_ms)
    spans = [span for span, _ in zip(timeline(facet, types, scale.start_ms), range(300), strict=False)]
    for (_, start_ms), (value, _) in pairwise(spans):
        if start_ms <= last_ms:
            assert typed(value) == typed(trait_value(written, person, start_ms, others)), written


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_trait_is_the_same_in_any_order_of_arrival_and_split_over_any_facets(seed: int) -> None:
    rng = random.Random(seed)
    catalogue = Catalogue(map(definition_from_json, random_traits_of(rng, 20)))
    history = list(random_person(rng, 14).history.values())
    whole = fold(catalogue, history, {}, {})
    parts: list[list[dict[str, Any]]] = [[], [], []]
    for event in rng.sample(history, k=len(history)):
        rng.choice(parts).append(dict(event))
    merged = Facet()
    for part in parts:
        merged.add(fold(catalogue, part, {}, {}), {}, catalogue.capacities)
    now_ms = START_MS + rng.randrange(24) * HOUR_MS // 2
    assert catalogue.computed(merged, (), now_ms) == catalogue.computed(whole, (), now_ms)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_published_traits_are_those_of_the_oracle_whatever_merged_and_however_late(seed: int) -> None:
    rng = random.Random(seed)
    definitions = random_traits_of(rng, 6)
    touches = random_touches(rng, rng.randrange(5, 50), mixed=rng.choice([0.0, 0.15]))
    cluster = Cluster(
        policy_of(), map(definition_from_json, definitions), seed=seed, size=rng.choice([1, 2, 5]),
        start_ms=START_MS + 6 * HOUR_MS,
        chaos=Chaos(batch_max=rng.choice([1, 3, 20]), forget=rng.choice([0, 0.5]), crash=rng.choice([0, 0.2]),
                    delay_ms=rng.choice([0, 20])),
    )  # fmt: skip
    for touch in shuffled_with_repetitions(rng, touches):
        cluster.accept(touch)
        cluster.run(rng.randrange(4))
        if rng.random() < 0.2:
            cluster.advance(cluster.now_ms + rng.choice([1, 300, HOUR_MS]))
    for _ in range(6):  # The last snapshot is right at any time: values that time changes are published then.
        cluster.advance(cluster.now_ms + rng.choice([1, HOUR_MS // 2, 3 * HOUR_MS]))
        cluster.advance(cluster.now_ms + 2_000)  # After a crash a profile is published only when it is due.
        check_profiles(cluster, touches, definitions)
        check_outputs(cluster)
    check_structure(cluster)


def test_a_windowed_count_falls_at_the_millisecond_without_an_event_also_after_a_merge() -> None:
    written = {"trait": "views", "compute": "count", "event": "product_viewed", "within": "1h"}
    cluster = Cluster(policy_of(), [definition_from_json(written)], size=3, start_ms=START_MS)
    visit = Touch("e1", "web", "product_viewed", START_MS - 5, ["anonymous_id:a"])
    known = Touch("e2", "web", "product_viewed", START_MS - 3, ["user_id:u"])
    both = Touch("e3", "app", "identified", START_MS, ["user_id:u", "anonymous_id:a"])
    for touch in (visit, known, both):
        cluster.accept(touch)
        cluster.settle()
    found = []
    for at_ms in (START_MS, START_MS + HOUR_MS - 6, START_MS + HOUR_MS - 5, START_MS + HOUR_MS - 3):
        cluster.advance(at_ms)
        check_outputs(cluster)
        found.append([one["traits"] for one in profiles_of(cluster)])
    assert found == [[{"views": 2}], [{"views": 2}], [{"views": 1}], [{"views": 0}]]
