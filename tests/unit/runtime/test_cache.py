"""The cache of decoded nodes: never more than its size, and what was used last stays."""

from __future__ import annotations

import random

import pytest

from pipeline.runtime.cache import Recent


def test_what_was_not_used_for_longest_goes_first() -> None:
    cache: Recent[int] = Recent(2)
    for at in range(3):
        cache.put(f"n{at}", at)
    assert cache.get("n0") == 0
    cache.shrink()
    assert [cache.get(f"n{at}") for at in range(3)] == [0, None, 2]


def test_nothing_goes_before_it_is_told_to_shrink() -> None:
    cache: Recent[int] = Recent(2)
    for at in range(9):
        cache.put(f"n{at}", at)
    assert len(cache) == 9
    cache.shrink()
    assert [cache.get(f"n{at}") for at in (6, 7, 8)] == [None, 7, 8]


def test_what_was_put_aside_goes_before_what_is_in_use() -> None:
    cache: Recent[int] = Recent(2)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.put_aside("c", 3)
    assert len(cache) == 3
    cache.shrink()
    assert [cache.get(name) for name in "abc"] == [1, 2, None]


def test_a_dropped_node_is_gone() -> None:
    cache: Recent[int] = Recent(2)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.drop("a")
    cache.drop("never there")
    assert (cache.get("a"), cache.get("b"), len(cache)) == (None, 2, 1)
    cache.clear()
    assert (cache.get("b"), len(cache)) == (None, 0)


@pytest.mark.parametrize(("count", "found"), [(1, [0]), (4, [0, 3, 6, 9]), (99, [*range(10)])])
def test_a_sample_is_taken_from_everywhere(count: int, found: list[int]) -> None:
    cache: Recent[int] = Recent(2)
    for at in range(10):
        cache.put(f"n{at}", at)
    assert cache.sample(count) == found


@pytest.mark.parametrize("seed", range(20))
def test_it_does_what_a_list_in_the_order_of_use_does(seed: int) -> None:
    rng, cache, truth = random.Random(seed), Recent[int](5), dict[str, int]()
    for step in range(300):
        key = f"n{rng.randrange(20)}"
        kind = rng.choice(["put", "get", "drop", "shrink"])
        if kind == "put":
            cache.put(key, step)
            truth.pop(key, None)
            truth[key] = step
        elif kind == "drop":
            cache.drop(key)
            truth.pop(key, None)
        elif kind == "get":
            assert cache.get(key) == truth.get(key)
            if key in truth:
                truth[key] = truth.pop(key)
        else:
            cache.shrink()
            for old in list(truth)[: max(0, len(truth) - 5)]:
                del truth[old]
        assert len(cache) == len(truth)
