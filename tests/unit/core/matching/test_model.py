"""What findings are worth, and what is learned from pairs without labels."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from pipeline.core.matching import levels as c
from pipeline.core.matching.defaults import DEFAULTS
from pipeline.core.matching.document import MalformedModel, read_model
from pipeline.core.matching.explain import LEVEL_NAMES
from pipeline.core.matching.measure import measure
from pipeline.core.matching.model import first_model
from pipeline.core.matching.train import learn


@pytest.mark.parametrize("number", range(len(c.NAMES)), ids=c.NAMES)
def test_the_shipped_chances_of_a_comparison_are_chances(number: int) -> None:
    shipped = DEFAULTS[number]
    assert sum(shipped.m) == pytest.approx(1.0)
    assert sum(shipped.h) == pytest.approx(1.0)
    assert len({len(shipped.m), len(shipped.h), len(shipped.u), len(shipped.frequency)}) == 1
    assert len(LEVEL_NAMES.get(number, shipped.m)) == len(shipped.m)


def test_a_rare_name_proves_more_than_a_common_one() -> None:
    model = first_model(10_000)
    rare, common = (model.score((c.finding(c.FAMILY, c.SAME, count),)) for count in (2, 1_000))
    assert rare > common


def test_what_relatives_share_does_not_make_them_one_person() -> None:
    model = first_model(10_000)
    shared = (
        c.finding(c.FAMILY, c.SAME, 4),
        c.finding(c.ADDRESS, c.DWELLING, 4),
        c.finding(c.PHONE, c.SAME, 4),
    )
    assert model.score((*shared, c.finding(c.GIVEN, c.SAME, 20), c.finding(c.BIRTH, 0, 2))) > 4.0
    assert model.score((*shared, c.finding(c.GIVEN, c.UNLIKE, 0), c.finding(c.BIRTH, 6, 0))) < -2.0


def test_one_pair_of_clusters_scores_as_the_pair_of_records_does() -> None:
    model = first_model(10_000)
    findings = (
        c.finding(c.FAMILY, c.SAME, 4),
        c.finding(c.GIVEN, c.UNLIKE, 0),
        c.finding(c.PHONE, c.SAME, 2),
    )
    sums: dict[int, list[float]] = {}
    model.add(sums, findings)
    assert model.score_sums(sums, 1) == pytest.approx(model.score(findings))


def test_learning_finds_how_often_matches_agree() -> None:
    """Nine in ten matches agree in phone; strangers agree in a common given name only."""
    same = (c.finding(c.GIVEN, c.SAME, 3), c.finding(c.FAMILY, c.SAME, 3), c.finding(c.BIRTH, 0, 2))
    phone, other = c.finding(c.PHONE, c.SAME, 2), c.finding(c.PHONE, c.OTHER, 0)
    stranger = (c.finding(c.GIVEN, c.SAME, 400), c.finding(c.FAMILY, c.UNLIKE, 0), c.finding(c.BIRTH, 6, 0))
    patterns = Counter({(*same, phone): 900, (*same, other): 100, (*stranger, other): 9_000})
    model = learn(first_model(2_000), patterns, 1.0, 2_000)
    assert model.chances[c.PHONE][c.SAME] == pytest.approx(0.9, abs=0.02)
    assert model.match_prior * 2_000 * 1_999 / 2 == pytest.approx(1_000, rel=0.02)
    assert model.copies == pytest.approx(2.0, abs=0.02)


def test_the_measure_counts_pairs() -> None:
    truth = {"a": "1", "b": "1", "c": "1", "d": "2"}
    found = measure({"a": "x", "b": "x", "c": "y", "d": "y"}, truth)
    assert (found["precision"], found["recall"]) == (0.5, pytest.approx(1 / 3, abs=1e-6))
    assert found["f1"] == pytest.approx(0.4)
    assert measure(truth, truth)["f1"] == measure(truth, truth)["b3_f1"] == 1.0


def test_a_model_is_the_same_after_it_was_written_and_read() -> None:
    model = first_model(1_000)
    model.frequencies = {"f:maria": 60, "l:silva": 110}
    read = read_model(json.loads(json.dumps(model.document())))
    assert read == model
    assert read.document() == model.document()
    assert read.document()["version"] != first_model(1_000).document()["version"]


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("format", "elo-matching-0", "no model of the format"),
        ("records", True, "records must be a whole number"),
        ("match_prior", float("nan"), "match_prior must be a number"),
        ("copies", 0, "copies must be a number"),
        ("matches", {}, "exactly the comparisons"),
        ("relatives", {**first_model(9).document()["relatives"], "gender": [1.0]}, "a list of 3 chances"),
        ("matches", {**first_model(9).document()["matches"], "gender": [1, 0, 1]}, "add up to 1"),
        ("frequencies", {"p:11955554444": 10}, "unknown kind"),
        ("frequencies", {"f:ana": 10**30}, "none larger than records"),
        ("frequencies", {"f:\ud800": 10}, "version does not fit"),
        ("copies", 3.0, "version does not fit"),
        ("more", 1, "must hold exactly"),
    ],
)
def test_a_document_that_is_no_model_is_refused_in_one_sentence(part: str, value: object, said: str) -> None:
    with pytest.raises(MalformedModel, match=said):
        read_model({**first_model(1_000).document(), part: value})
