"""The cache of decoded nodes: two generations, never more than twice its size, recent ones stay."""

from __future__ import annotations

import random

import pytest

from pipeline.runtime.cache import Generations


def test_what_was_used_since_the_last_ageing_survives_the_next_one() -> None:
    cache: Generations[int] = Generations(2)
    for at in range(3):
        cache.put(f"n{at}", at)
    cache.age()
    assert cache.get("n1") == 1
    for at in range(3, 6):
        cache.put(f"n{at}", at)
    cache.age()
    assert [cache.get(f"n{at}") for at in range(6)] == [None, 1, None, 3, 4, 5]


def test_a_young_generation_that_is_not_full_is_not_aged() -> None:
    cache: Generations[int] = Generations(2)
    cache.put("a", 1)
    for _ in range(5):
        cache.age()
    assert cache.get("a") == 1


def test_a_dropped_node_is_gone_from_both_generations() -> None:
    cache: Generations[int] = Generations(1)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.age()
    cache.put("a", 3)
    cache.drop("a")
    cache.drop("never there")
    assert (cache.get("a"), cache.get("b"), len(cache)) == (None, 2, 1)
    cache.clear()
    assert (cache.get("b"), len(cache)) == (None, 0)


@pytest.mark.parametrize("seed", range(20))
def test_it_never_tells_an_old_value_and_never_grows_beyond_its_bound(seed: int) -> None:
    rng, cache, truth = random.Random(seed), Generations[int](5), dict[str, int]()
    for step in range(300):
        key = f"n{rng.randrange(20)}"
        kind = rng.choice(["put", "get", "drop", "age"])
        if kind == "put":
            cache.put(key, step)
            truth[key] = step
        elif kind == "drop":
            cache.drop(key)
            truth.pop(key, None)
        elif kind == "get":
            assert cache.get(key) in (None, truth.get(key))
        else:
            cache.age()
            assert len(cache) <= 2 * 20
        if len(cache.young) <= cache.size:
            assert len(cache) <= 20 + cache.size + 1
