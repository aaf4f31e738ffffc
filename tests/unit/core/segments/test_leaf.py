"""Leaf keys and states: examples; the laws are in tests/property/test_segments.py."""

from __future__ import annotations

import random

import msgspec
import pytest

from pipeline.core.facet import Facet
from pipeline.core.segments.definition import Operator, PropertyTests, Test
from pipeline.core.segments.leaf import (
    VALUE,
    LeafState,
    add_instant,
    combine_states,
    event_ids,
    leaf_key,
    millionths,
    totals_of,
)

SHOES = (PropertyTests("category", (Test(Operator.IS, "running shoes"),)),)


def test_the_key_of_a_leaf_never_changes_because_it_is_stored() -> None:
    assert leaf_key("product_viewed", ()) == "product_viewed"
    assert leaf_key("product_viewed", SHOES) == "product_viewed#1c26b0e9df317ecf"


def test_the_newest_instants_are_kept_and_all_are_counted() -> None:
    state: LeafState = [0, [], []]
    for t, event_id in ((5, "a"), (9, "b"), (7, "c"), (1, "d"), (9, "a")):
        add_instant(state, t, event_id, 3)
    assert state == [5, [7, 9, 9], ["c", "a", "b"]]


def test_a_smaller_capacity_drops_the_oldest_at_the_next_instant() -> None:
    state: LeafState = [3, [1, 2, 3], ["a", "b", "c"]]
    add_instant(state, 4, "d", 2)
    assert state == [4, [3, 4], ["c", "d"]]


def test_combining_keeps_neither_argument() -> None:
    a: LeafState = [1, [1], ["a"]]
    b: LeafState = [0, [], []]
    both = combine_states(a, b, 5)
    both[1].append(2)
    assert a == [1, [1], ["a"]]
    assert combine_states(b, a, 5) == a


def test_the_key_and_the_state_of_a_valued_leaf_never_change_because_they_are_stored() -> None:
    key = leaf_key("order_completed", (), "total")
    assert key == "order_completed$d3547c728842fd3e"
    assert leaf_key("order_completed", SHOES, "total") == "order_completed$ada26bc741706eed"
    facet = Facet()
    for at_ms, (event_id, number) in enumerate((("e 1", 12_500_000), ("e2", -(10**18)), ("e3", 10**18))):
        for _ in range(9):
            facet.see_leaf(f"{key}{VALUE}{number}", 3, at_ms, event_id)
    state = facet.leaves[key]
    assert state == [27, [2] * 3, ["1000000000000000000 e3"] * 3, "112500000", -(10**18), 10**18]
    assert event_ids(key, state) == ["e3"] * 3
    for _ in range(20):  # a total may need more than 64 bits
        facet.see_leaf(f"{key}{VALUE}{10**18}", 3, 9, "big")
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(facet.to_list()))
    assert totals_of(Facet.from_list(stored).leaves[key])[0] == 20 * 10**18 + 112_500_000


@pytest.mark.parametrize("seed", range(60))
def test_a_valued_leaf_folds_alike_in_any_order_and_grouping(seed: int) -> None:
    rng = random.Random(seed)
    events = [(rng.randrange(5), f"e{at}", rng.randrange(-9, 9)) for at in range(rng.randrange(1, 12))]

    def facet(part: list[tuple[int, str, int]]) -> Facet:
        made = Facet()
        for at_ms, event_id, number in part:
            made.see_leaf(f"a$k{VALUE}{number}", 3, at_ms, event_id)
        return made

    numbers = [number for _, _, number in events]
    newest = sorted((at_ms, f"{number} {event_id}") for at_ms, event_id, number in events)[-3:]
    kept = [[at_ms for at_ms, _ in newest], [text for _, text in newest]]
    expected = [len(events), *kept, str(sum(numbers)), min(numbers), max(numbers)]
    order = rng.sample(events, k=len(events))
    cut = rng.randrange(len(order) + 1)
    fold = Facet()
    for part in (order[:cut], order[cut:]):
        fold.add(facet(part), {}, {"a$k": 3})
    assert facet(order).leaves["a$k"] == fold.leaves["a$k"] == expected
    again, older = facet(order), facet([])
    older.leaves["a$k"] = [0, [], [], "7", 1, 2]
    for at_ms, event_id, number in order:
        again.see_again(f"a$k{VALUE}{number}", 99, at_ms, event_id)
        older.see_older(f"a$k{VALUE}{number}", 99, at_ms, event_id)
        older.see_older(f"a$k{VALUE}{number}", 99, at_ms, event_id)
    assert again.leaves["a$k"][0] <= 2 * len(events) - min(3, len(events))
    assert older.leaves["a$k"][3:] == ["7", 1, 2]
    assert (older.leaves["a$k"][0], len(older.leaves["a$k"][1])) == (0, len(events))


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3_000_000), (0.1, 100_000), (-2.5, -2_500_000), (1e-7, 0), (0.0000005, 0), (0.0000015, 2),
        (10**12, 10**18), (10**12 + 1, None), (1e300, None), (True, None), ("3", None), (None, None),
        (999_999_999.123457, 999_999_999_123_457),
    ],
)  # fmt: skip
def test_a_number_counts_as_it_was_written_to_the_millionth(value: object, number: int | None) -> None:
    assert millionths(value) == number
