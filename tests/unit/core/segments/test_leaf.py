"""Leaf keys and states: examples; the laws are in tests/property/test_segments.py."""

from __future__ import annotations

from pipeline.core.segments.definition import Operator, PropertyTests, Test
from pipeline.core.segments.leaf import LeafState, add_instant, combine_states, leaf_key

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
