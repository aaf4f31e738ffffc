"""Error models other than those of the labelled sets: each kind of fault, language, and shape of a set.

The floors are well below what is found, so that a fault in the program shows and a changed chance does not.
"""

from __future__ import annotations

import pytest

from pipeline.core.matching.matcher import Matcher
from pipeline.core.matching.measure import measure
from pipeline.core.matching.record import Record
from tests.support.crowds import Crowd, make_crowd
from tests.support.faults_of_writing import FAULTS

NAMES = ("given_name", "middle_name", "surname")
FLOORS = {"missing": (0.95, 0.75)}
"""Precision and recall, where half of the fields are missing; everywhere else 0.97 and 0.95."""


def measured(crowd: Crowd) -> dict[str, float]:
    people = make_crowd(4, crowd)
    matcher = Matcher(Record(person.record_id, person.fields) for person in people)
    matcher.train()
    return measure(matcher.clusters(), {person.record_id: person.entity_id for person in people})


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_people_are_found_whatever_goes_wrong(fault: str) -> None:
    precision, recall = FLOORS.get(fault, (0.97, 0.95))
    found = measured(Crowd(100, (fault,), 0.8))
    assert found["precision"] >= precision
    assert found["recall"] >= recall


@pytest.mark.parametrize("language", ["pt", "en", "es"])
def test_people_are_found_in_several_languages(language: str) -> None:
    assert measured(Crowd(120, tuple(sorted(FAULTS)), 0.7, language=language))["f1"] >= 0.95


@pytest.mark.parametrize(
    ("crowd", "precision", "recall"),
    [
        (Crowd(150, ("keyboard", "dates"), 0.5, (*NAMES, "birth_date"), filled=1.0), 0.95, 0.93),
        (Crowd(150, ("keyboard", "nickname"), 0.5, (*NAMES, "phone"), filled=1.0), 0.95, 0.9),
        (Crowd(150, ("keyboard", "cut"), 0.5, (*NAMES, "email"), filled=1.0), 0.95, 0.93),
        (Crowd(20, ("keyboard", "missing"), 0.5, copies=tuple(range(8, 30))), 0.97, 0.93),
        (Crowd(300, ("keyboard", "heard"), 0.5, copies=(1,) * 20 + (2,)), 0.85, 0.85),
        (Crowd(200, ("keyboard", "heard"), 0.5, copies=(1,)), 1.0, 1.0),
        (Crowd(150, ("keyboard",), 0.5, family=6, twins=0.8), 0.97, 0.95),
        (Crowd(10, ("keyboard",), 0.4), 0.9, 0.9),
    ],
    ids=["name and date", "name and phone", "name and e-mail", "many records each", "few doubles",
         "no doubles", "twins", "ten people"],
)  # fmt: skip
def test_people_are_found_in_sets_of_other_shapes(crowd: Crowd, precision: float, recall: float) -> None:
    found = measured(crowd)
    assert found["precision"] >= precision
    assert found["recall"] >= recall
