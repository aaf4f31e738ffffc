"""Totals of a sample lie where it says, groups show the smallest ids, values their spread."""

from __future__ import annotations

import random

import pytest

from pipeline.core.segments.counted import DISTINCT_MAX, EXAMPLES_MAX, Group, Values, interval

RUNS = 300


def test_only_a_few_examples_are_kept_and_they_do_not_depend_on_the_order() -> None:
    names = [f"{number:032x}" for number in range(30)]
    shuffled = Group()
    for name in random.Random(1).sample(names, k=30):
        shuffled.add(name, name)
    assert (shuffled.count, shuffled.examples) == (30, names[:EXAMPLES_MAX])


def test_all_is_exact() -> None:
    assert interval(17, 17, 1.0) == (17, 17)
    group = Group()
    group.add("a", "c")
    assert group.to_json() == {"count": 1, "examples": ["a"]}


@pytest.mark.parametrize("share", [1 / 32, 1 / 200])
@pytest.mark.parametrize("total", [20, 500, 5_000])
def test_the_total_is_in_the_interval_nineteen_times_of_twenty(total: int, share: float) -> None:
    rng = random.Random(total)
    hits = 0
    for _ in range(RUNS):
        seen = sum(rng.random() < share for _ in range(total))
        low, high = interval(seen, seen, share)
        hits += low <= total <= high
    assert hits >= RUNS * 0.92


def test_profiles_that_come_together_make_the_interval_wider() -> None:
    """Households of ten: the same number of people seen says as much as a tenth of them."""
    rng, share, homes = random.Random(7), 1 / 20, 1_000
    hits = narrow = 0
    for _ in range(RUNS):
        group = Group()
        for home in range(homes):
            for person in range(10) if rng.random() < share else ():
                group.add(f"{home}-{person}", f"home{home}")
        assert group.squares == 10 * group.count
        low, high = group.interval(share)
        hits += low <= 10 * homes <= high
        low, high = interval(group.count, group.count, share)
        narrow += low <= 10 * homes <= high
    assert hits >= RUNS * 0.92 > narrow


def test_of_none_that_were_seen_it_says_how_many_there_may_be() -> None:
    low, high = interval(0, 0, 1 / 50)
    assert (low, high) == (0, 180)
    missed = (1 - 1 / 50) ** high
    assert missed < 0.05


def test_values_show_their_spread_and_what_is_frequent() -> None:
    values = Values()
    for number in range(100):
        values.add(f"{number:03}", f"{number}", number)
    shown = values.to_json()
    assert {name: shown[name] for name in ("count", "min", "median", "p95", "max")} == {
        "count": 100, "min": 0, "median": 49, "p95": 94, "max": 99
    }  # fmt: skip
    assert shown["examples"] == [{"profile_id": f"{number:03}", "value": number} for number in range(20)]
    texts = Values()
    for number in range(30):
        texts.add(str(number), str(number), ["a", "b", True][number % 3] if number else "a")
    assert texts.to_json(0.5)["most_frequent"] == [
        {"value": True, "count": 20}, {"value": "a", "count": 20}, {"value": "b", "count": 20}
    ]  # fmt: skip
    assert "median" not in texts.to_json()
    assert Values().to_json() == {"count": 0, "examples": []}


def test_so_many_different_texts_are_told_apart_and_no_more() -> None:
    values = Values()
    for number in range(DISTINCT_MAX + 10):
        values.add(f"{number:09}", f"{number}", f"v{number}")
    values.add("x", "x", "v0")
    shown = values.to_json()
    assert shown["count"] == DISTINCT_MAX + 11
    assert shown["most_frequent"][0] == {"value": "v0", "count": 2}


def test_the_numbers_of_a_sample_are_scaled_and_its_examples_are_not() -> None:
    group = Group()
    for number in range(4):
        group.add(f"{number}", "one" if number < 2 else f"{number}")
    told = group.to_json(0.4)
    assert (told["count"], told["examples"]) == (10, ["0", "1", "2", "3"])
    assert told["interval"][0] <= 10 <= told["interval"][1]
    assert group.to_json() == {"count": 4, "examples": ["0", "1", "2", "3"]}
