"""Clusters over whole sets of records: who is found, who is kept apart, and that order plays no part."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from pipeline.core.matching.matcher import Matcher
from pipeline.core.matching.measure import measure
from pipeline.core.matching.record import Record
from tests.support.people import Labelled, make_people


def clusters_of(people: list[Labelled]) -> dict[str, str]:
    matcher = Matcher(Record(person.record_id, person.fields) for person in people)
    matcher.train()
    return matcher.clusters()


def together(extra: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether further records are one person, in the midst of others."""
    crowd = make_people(7, 40)
    clusters = clusters_of([*crowd, *(Labelled(name, "", fields) for name, fields in extra.items())])
    return len({clusters[name] for name in extra}) == 1


@pytest.mark.parametrize("seed", range(3))
def test_people_are_found_with_few_faults(seed: int) -> None:
    people = make_people(seed, 60)
    metrics = measure(clusters_of(people), {person.record_id: person.entity_id for person in people})
    assert metrics["precision"] >= 0.97
    assert metrics["f1"] >= 0.95


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_arrival_changes_nothing(seed: int) -> None:
    people = make_people(11, 40)
    shuffled = random.Random(seed).sample(people, k=len(people))
    assert clusters_of(shuffled) == clusters_of(people)


def test_a_cluster_is_named_by_its_least_record() -> None:
    people = make_people(3, 20)
    members: dict[str, list[str]] = {}
    for record, cluster in clusters_of(people).items():
        members.setdefault(cluster, []).append(record)
    assert all(cluster == min(records) for cluster, records in members.items())
    assert sum(len(records) for records in members.values()) == len(people)


def test_no_record_and_one_record_are_sets_too() -> None:
    assert clusters_of([]) == {}
    assert clusters_of([Labelled("a", "", {"full_name": "Ana Lima"})]) == {"a": "a"}


def test_a_record_without_any_comparable_field_stays_alone() -> None:
    people = [*make_people(5, 10), Labelled("empty", "", {}), Labelled("other", "", {"unknown": "x"})]
    clusters = clusters_of(people)
    assert clusters["empty"] == "empty"
    assert clusters["other"] == "other"


def test_a_mistyped_record_is_found() -> None:
    assert together(
        {
            "x1": {"full_name": "Genoveva Sampaio", "birth_date": "1971-03-12", "city": "Recife"},
            "x2": {"full_name": "GENOVEVA SANPAIO", "birth_date": "12/03/1971", "city": "recife"},
        }
    )


def test_surname_and_given_name_may_be_turned_round() -> None:
    assert together(
        {
            "x1": {"given_name": "Genoveva", "surname": "Sampaio", "birth_date": "1971-03-12"},
            "x2": {"given_name": "Sampaio", "surname": "Genoveva", "birth_date": "1971-03-12"},
        }
    )


def test_one_wrong_digit_of_a_national_id_is_forgiven() -> None:
    assert together(
        {
            "x1": {"full_name": "Genoveva Sampaio", "national_id": "111.444.777-35"},
            "x2": {"full_name": "Genoveva Sampaio", "national_id": "11144477835"},
        }
    )


def test_twins_at_one_address_are_two_people() -> None:
    home = {"street": "Rua Aurora", "house_number": "12", "city": "Recife", "phone": "11955554444"}
    twin = {"birth_date": "2010-05-06", **home}
    assert not together(
        {"x1": {"full_name": "Lucas Lima Prado", **twin}, "x2": {"full_name": "Mateus Lima Prado", **twin}}
    )


def test_father_and_son_of_one_name_are_two_people() -> None:
    home = {"street": "Rua Aurora", "house_number": "12", "city": "Recife"}
    assert not together(
        {
            "x1": {"full_name": "Dorival Prado", "birth_date": "1950-01-07", **home},
            "x2": {"full_name": "Dorival Prado Filho", "birth_date": "1979-11-23", **home},
        }
    )


def test_a_common_name_alone_proves_nothing() -> None:
    assert not together({"x1": {"full_name": "Maria Silva"}, "x2": {"full_name": "Maria Silva"}})


def test_what_one_record_lacks_another_one_tells() -> None:
    """The first and the last have nothing but a common name in common."""
    assert together(
        {
            "x1": {"full_name": "Maria Silva", "email": "genoveva@example.org"},
            "x2": {"full_name": "Maria Silva", "email": "genoveva@example.org", "phone": "11955554444"},
            "x3": {"full_name": "Maria Silva", "phone": "11 95555-4444"},
        }
    )
