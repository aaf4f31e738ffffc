"""Facets fold in any order and in any grouping: laws for every survivorship, ties included, and its known
cases.
"""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from pipeline.core.facet import FREQUENT_VALUES_MAX, NEVER, TRAITS_MAX, UNION_VALUES_MAX, Facet
from pipeline.core.policy import Survivorship
from tests.support import oracle

RULES = {str(rule): rule for rule in Survivorship}
VALUES: list[Any] = [
    "a", "b", "", 0, 1, 1.0, True, False, None, -2.5, [], ["a"], ["b", "a"], [1], [1.0], [True],
    {"x": 1}, {"x": 1.0}, {"y": 2, "x": 1}, {"x": 1, "y": 2}, [["a"], "a"],
]  # fmt: skip
Said = tuple[int, Any]


def facet_of(said: list[Said]) -> Facet:
    """A facet that heard every rule's trait say these values at these instants."""
    facet = Facet()
    for at_ms, value in said:
        facet.see_traits(dict.fromkeys(RULES, value), at_ms, RULES)
    return facet


def folded(*facets: Facet) -> Facet:
    fold = Facet()
    for facet in facets:
        fold.add(facet, RULES, {})
    return fold


def shown(facet: Facet) -> dict[str, str]:
    return {name: oracle.text_of(value) for name, value in facet.trait_values().items()}


@pytest.mark.parametrize("seed", range(150))
def test_traits_fold_alike_in_any_order_and_grouping_and_as_the_oracle_says(seed: int) -> None:
    rng = random.Random(seed)
    said = [(rng.randrange(3), rng.choice(VALUES)) for _ in range(rng.randrange(1, 9))]
    expected = {str(rule): oracle.surviving(said, str(rule)) for rule in Survivorship}
    texts = {name: oracle.text_of(value) for name, value in expected.items() if value is not None}
    for _ in range(4):
        order = rng.sample(said, k=len(said))
        cut, second = sorted((rng.randrange(len(said) + 1), rng.randrange(len(said) + 1)))
        a, b, c = facet_of(order[:cut]), facet_of(order[cut:second]), facet_of(order[second:])
        for fold in (
            folded(a, b, c),
            folded(c, b, a),
            folded(folded(a, b), c),
            folded(a, folded(b, c)),
            facet_of(order),
        ):
            assert shown(fold) == texts


@pytest.mark.parametrize(
    ("rule", "said", "survives"),
    [
        ("newest", [(1, "a"), (2, "b")], "b"),
        ("newest", [(2, "b"), (1, "a")], "b"),
        ("newest", [(1, "a"), (1, "b")], "b"),
        ("newest", [(1, "a"), (2, None)], None),
        ("first", [(2, "b"), (1, "a")], "a"),
        ("first", [(1, "a"), (1, "b")], "b"),
        ("most_frequent", [(1, "a"), (2, "b"), (3, "a")], "a"),
        ("most_frequent", [(1, "a"), (2, "b")], "b"),
        ("most_frequent", [(1, "b"), (1, "a")], "a"),
        ("union", [(1, "b"), (2, ["a", "b"])], ["a", "b"]),
        ("union", [(1, [])], []),
    ],
)
def test_which_value_survives(rule: str, said: list[Said], survives: Any) -> None:
    assert facet_of(said).trait_values().get(rule) == survives


def test_a_union_keeps_the_newest_values_and_a_count_the_most_frequent_ones() -> None:
    facet = facet_of([(at, f"v{at:03d}") for at in range(UNION_VALUES_MAX + 20)])
    assert facet.trait_values()["union"] == [f"v{at:03d}" for at in range(20, UNION_VALUES_MAX + 20)]
    assert len(facet.traits["most_frequent"][1]) == FREQUENT_VALUES_MAX


def test_a_facet_keeps_no_more_than_so_many_names_of_traits() -> None:
    facet = Facet()
    facet.see_traits({f"t{at}": at for at in range(TRAITS_MAX + 5)}, 1, {})
    facet.see_traits({"t0": "newer", "late": 1}, 2, {})
    assert len(facet.traits) == TRAITS_MAX
    assert facet.trait_values()["t0"] == "newer"
    assert "late" not in facet.traits


@pytest.mark.parametrize("seed", range(50))
def test_counters_consent_times_and_leaves_fold_alike_in_any_order_and_grouping(seed: int) -> None:
    rng = random.Random(seed)
    touches = [
        (rng.choice("ab"), rng.randrange(4), f"e{at}", rng.random() < 0.5)
        for at in range(rng.randrange(1, 9))
    ]

    def facet(part: list[tuple[str, int, str, bool]]) -> Facet:
        made = Facet()
        for event, at_ms, event_id, granted in part:
            made.touch(event, at_ms)
            made.see_consent({"marketing": granted}, at_ms)
            made.see_leaf(event, 2, at_ms, event_id)
        return made

    def plain(fold: Facet) -> Any:
        listed = fold.to_list()
        return json.dumps(listed, sort_keys=True)

    expected = plain(facet(sorted(touches, key=lambda touch: touch[1:3])))
    newest = max((at_ms, not granted) for _, at_ms, _, granted in touches)
    for _ in range(4):
        order = rng.sample(touches, k=len(touches))
        cut = rng.randrange(len(order) + 1)
        fold = Facet()
        for part in (order[:cut], order[cut:]):
            fold.add(facet(part), {}, {"a": 2, "b": 2})
        assert plain(fold) == expected == plain(facet(order))
        assert fold.consent == {"marketing": [not newest[1], newest[0]]}


def test_a_fold_keeps_every_instant_of_a_leaf_that_no_segment_here_asks_about_yet() -> None:
    a, b, fold = Facet(), Facet(), Facet()
    for at in range(3):
        a.see_leaf("new", 5, at, f"a{at}")
    b.see_leaf("new", 5, 9, "b")
    fold.add(a, {}, {})
    fold.add(b, {}, {})
    assert fold.leaves["new"] == [4, [0, 1, 2, 9], ["a0", "a1", "a2", "b"]]


def test_folding_changes_none_of_the_facets() -> None:
    a, b = facet_of([(1, ["a"]), (2, "x")]), facet_of([(1, ["b"]), (2, "x")])
    for facet in (a, b):
        facet.touch("page_viewed", 1)
        facet.see_leaf("leaf", 1, 1, "e")
    before = [msgspec.msgpack.encode(facet.to_list()) for facet in (a, b)]
    fold = folded(a, b)
    fold.touch("page_viewed", 5)
    fold.see_leaf("leaf", 1, 5, "f")
    fold.see_traits(dict.fromkeys(RULES, "z"), 9, RULES)
    fold.see_consent({"marketing": True}, 9)
    assert [msgspec.msgpack.encode(facet.to_list()) for facet in (a, b)] == before


def test_an_empty_facet_was_never_seen() -> None:
    facet = Facet()
    assert (facet.first_seen, facet.last_seen, facet.trait_values()) == (NEVER, 0, {})
    assert Facet.from_list(facet.to_list()).to_list() == facet.to_list()


def test_a_link_knows_its_first_and_last_touch_whatever_came_first() -> None:
    facet = Facet()
    assert facet.see_link("email:x", 5, "e5")
    assert not facet.see_link("email:x", 9, "e9")
    assert not facet.see_link("email:x", 1, "e1")
    other = Facet()
    other.see_link("email:x", 7, "e7")
    other.see_link("phone:y", 7, "e7")
    facet.add_links(other)
    assert facet.links == {"email:x": [1, 9, 4, "e1", "e9"], "phone:y": [7, 7, 1, "e7", "e7"]}


def test_an_older_event_is_kept_once_and_not_counted_again_when_more_of_them_are_kept() -> None:
    facet = Facet()
    for at in (1, 2, 3):
        facet.see_leaf("leaf", 1, at, f"e{at}")
    for at in (1, 2, 3):
        facet.see_older("leaf", 3, at, f"e{at}")
    assert facet.leaves["leaf"] == [3, [1, 2, 3], ["e1", "e2", "e3"]]


def test_an_event_that_is_still_kept_from_before_is_not_counted_again() -> None:
    facet = Facet()
    facet.see_leaf("leaf", 2, 1, "e1")
    facet.see_again("leaf", 2, 1, "e1")
    facet.see_again("leaf", 2, 2, "e2")
    assert facet.leaves["leaf"] == [2, [1, 2], ["e1", "e2"]]
