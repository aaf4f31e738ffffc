"""Why two records are one person or not: weights that add up, of records and of the clusters they came by."""

from __future__ import annotations

from itertools import combinations

import pytest

from pipeline.core.matching.contrast import contrast
from pipeline.core.matching.explain import Verdict, Waterfall, groups_of, probability_of
from pipeline.core.matching.matcher import MEMBERS_MAX, Matcher
from pipeline.core.matching.record import Record
from pipeline.core.matching.shipped import shipped_model
from tests.support.people import Labelled, make_people


def matcher_of(people: list[Labelled]) -> Matcher:
    matcher = Matcher(Record(person.record_id, person.fields) for person in people)
    matcher.train()
    return matcher


def add_up(found: Waterfall) -> float:
    return found.prior + sum(step.weight for step in found.steps) + found.relatives


def test_every_pair_is_explained_as_it_was_clustered() -> None:
    people = make_people(5, 4)
    matcher = matcher_of(people)
    clusters = matcher.clusters()
    for one, other in combinations(sorted(clusters), 2):
        found = matcher.explain(one, other)
        assert (found.verdict is Verdict.ONE_PERSON) == (clusters[one] == clusters[other])
        assert found.groups[0].count(one) == found.groups[1].count(other) == 1
        assert not set(found.groups[0]) & set(found.groups[1])
        for waterfall in (found.pair, found.clusters):
            assert waterfall.total == pytest.approx(add_up(waterfall))
        if found.verdict is Verdict.ONE_PERSON:
            assert found.clusters.total > found.threshold
        if found.verdict is Verdict.BELOW_THRESHOLD:
            assert found.clusters.total <= found.threshold
        if max(map(len, found.groups)) == 1:
            assert found.clusters.total == pytest.approx(found.pair.total)


def test_a_record_between_two_others_is_named_as_what_united_them() -> None:
    people = [
        *make_people(7, 40),
        Labelled("x1", "", {"full_name": "Maria Silva", "email": "genoveva@example.org"}),
        Labelled(
            "x2", "", {"full_name": "Maria Silva", "email": "genoveva@example.org", "phone": "1155554444"}
        ),
        Labelled("x3", "", {"full_name": "Maria Silva", "phone": "11 5555-4444"}),
    ]
    found = matcher_of(people).explain("x1", "x3")
    assert found.verdict is Verdict.ONE_PERSON
    assert found.pair.total < found.threshold
    assert {name for group in found.groups for name in group} == {"x1", "x2", "x3"}


def test_the_groups_are_those_that_the_last_merge_on_the_way_united() -> None:
    merges = [(1, 2), (3, 4), (1, 3), (0, 1)]
    assert groups_of(2, 4, merges) == ((1, 2), (3, 4))
    assert groups_of(0, 4, merges) == ((0,), (1, 2, 3, 4))
    assert groups_of(4, 5, merges) == ((0, 1, 2, 3, 4), (5,))


def test_an_unknown_record_is_not_explained() -> None:
    with pytest.raises(KeyError):
        matcher_of(make_people(5, 3)).explain("p0-0-0", "nobody")


@pytest.mark.parametrize(("weight", "chance"), [(0.0, 0.5), (1.0, 2 / 3), (-5_000.0, 0.0), (5_000.0, 1.0)])
def test_a_weight_of_one_doubles_the_odds(weight: float, chance: float) -> None:
    assert probability_of(weight) == pytest.approx(chance)


def test_pairs_worth_a_look_hold_those_of_a_cluster_and_the_true_ones() -> None:
    people = make_people(5, 20)
    matcher = matcher_of(people)
    clusters, truth = matcher.clusters(), {one.record_id: one.entity_id for one in people}
    found = {(a, b) for a, b, _ in matcher.pairs(clusters, truth)}
    assert all(a < b for a, b in found)
    for grouping in (clusters, truth):
        assert {
            pair for pair in combinations(sorted(truth), 2) if grouping[pair[0]] == grouping[pair[1]]
        } <= found
    nobody = dict.fromkeys(truth, "one")
    assert len(truth) < MEMBERS_MAX
    assert len(list(matcher.pairs(clusters, nobody))) == len(truth) * (len(truth) - 1) // 2


def test_two_clusterings_differ_in_the_pairs_that_only_one_of_them_has() -> None:
    before = {"a": "a", "b": "a", "c": "c", "d": "d"}
    after = {"a": "a", "b": "b", "c": "b", "d": "b"}
    found = contrast(before, after)
    assert (found.clusters, found.pairs) == ((3, 2), (1, 3))
    assert (found.gained.count, found.gained.examples) == (3, (("b", "c"), ("b", "d"), ("c", "d")))
    assert (found.lost.count, found.lost.examples) == (1, (("a", "b"),))
    assert contrast(before, before).gained.count == contrast(before, before).lost.count == 0


def test_the_shipped_model_needs_no_training() -> None:
    people = make_people(5, 40)
    records = [Record(person.record_id, person.fields) for person in people]
    clusters = Matcher(records, shipped_model()).clusters()
    pairs = [
        clusters[a.record_id] == clusters[b.record_id]
        for a, b in combinations(people, 2)
        if a.entity_id == b.entity_id
    ]
    assert sum(pairs) > 0.9 * len(pairs)


def test_a_common_name_counts_as_common_in_a_set_of_two() -> None:
    def proof(name: str) -> float:
        records = [Record(one, {"full_name": name, "city": "Recife"}) for one in ("a", "b")]
        return sum(step.weight for step in Matcher(records).weigh("a", "b").steps)

    assert proof("Maria Silva") < proof("Genoveva Sampaio") - 8
    assert proof("James Smith") < proof("Genoveva Sampaio") - 3
