"""Who is one person: links in a fixed order, limits, shared identifiers, keep and move."""

from __future__ import annotations

import random

import pytest

from pipeline.core.identity import Link, group_identifiers, profile_id, within_limits
from pipeline.core.policy import Policy, parse_policy


def policy(on_conflict: str = "keep") -> Policy:
    return parse_policy({
        "identifiers": {
            "u": {"limit": 1}, "k": {"limit": 1}, "e": {"limit": 2},
            "d": {"limit": 2, "on_conflict": on_conflict},
        }
    })  # fmt: skip


def link(text: str, first: int = 0, last: int | None = None) -> Link:
    stronger, weaker = text.split()
    return Link(stronger, weaker, first, first if last is None else last, f"e{first}")


def grouped(links: list[Link], inert: str = "", on_conflict: str = "keep") -> tuple[set[str], list[str]]:
    """Groups as texts, and reasons of refusal."""
    identifiers = {end for one in links for end in (one.stronger, one.weaker)}
    groups, refused = group_identifiers(identifiers, links, set(inert.split()), policy(on_conflict))
    return {" ".join(group) for group in groups}, [one.reason for one in refused]


@pytest.mark.parametrize(
    ("links", "groups", "refused"),
    [
        ([link("u:1 e:1")], {"u:1 e:1"}, []),
        ([link("u:1 e:1"), link("e:1 d:1"), link("u:1 d:1")], {"u:1 e:1 d:1"}, []),
        ([link("u:1 e:1", 1), link("u:2 e:1", 2)], {"u:1 e:1", "u:2"}, ["limit_u"]),
        ([link("u:1 e:1", 2), link("u:2 e:1", 1)], {"u:1", "u:2 e:1"}, ["limit_u"]),
        ([link("u:1 e:1", 1), link("u:2 e:1", 1)], {"u:1 e:1", "u:2"}, ["limit_u"]),
        ([link("u:1 d:1", 1), link("u:1 d:2", 2), link("u:1 d:3", 3)], {"u:1 d:1 d:2", "d:3"}, ["limit_d"]),
        # The rank of the types decides before time does.
        ([link("e:1 d:1", 1), link("u:1 d:1", 9), link("u:2 e:1", 5)], {"u:1 d:1", "u:2 e:1"}, ["limit_u"]),
        # A link inside a group needs no room.
        ([link("u:1 k:1", 1), link("u:1 e:1", 2), link("k:1 e:1", 3)], {"u:1 k:1 e:1"}, []),
        ([link("u:1 e:1", 1), link("u:2 e:2", 2), link("e:1 d:1", 3), link("e:2 d:1", 4)],
         {"u:1 e:1 d:1", "u:2 e:2"}, ["limit_u"]),
    ],
)  # fmt: skip
def test_links_unite_unless_a_limit_forbids(links: list[Link], groups: set[str], refused: list[str]) -> None:
    assert grouped(links) == (groups, refused)


@pytest.mark.parametrize(
    ("on_conflict", "groups"), [("keep", {"u:1 d:1", "u:2"}), ("move", {"u:1", "u:2 d:1"})]
)
def test_a_device_of_two_people_stays_or_goes(on_conflict: str, groups: set[str]) -> None:
    links = [link("u:1 d:1", 1, 5), link("u:2 d:1", 2, 9)]
    assert grouped(links, on_conflict=on_conflict)[0] == groups


def test_a_shared_identifier_is_a_profile_of_its_own_and_links_nobody() -> None:
    links = [link("u:1 e:1"), link("u:2 e:1"), link("e:1 d:1"), link("u:1 d:2")]
    assert grouped(links, inert="e:1") == ({"u:1 d:2", "u:2", "e:1", "d:1"}, ["shared"] * 3)


def test_links_to_identifiers_outside_are_left_alone() -> None:
    groups, refused = group_identifiers(["u:1"], [link("u:1 e:9"), link("u:9 e:1")], (), policy())
    assert (groups, refused) == ([["u:1"]], [])


@pytest.mark.parametrize("seed", range(100))
def test_the_order_of_the_evidence_does_not_matter(seed: int) -> None:
    rng = random.Random(seed)
    names = [f"{kind}:{n}" for kind in "uked" for n in range(3)]
    order = policy().order_of
    links = []
    for _ in range(rng.randrange(1, 12)):
        stronger, weaker = sorted(rng.sample(names, k=2), key=order)
        links.append(link(f"{stronger} {weaker}", rng.randrange(4), rng.randrange(4, 9)))
    for on_conflict in ("keep", "move"):
        expected = grouped(links, inert="e:2", on_conflict=on_conflict)
        for _ in range(3):
            assert grouped(rng.sample(links, k=len(links)), inert="e:2", on_conflict=on_conflict) == expected
        for group in expected[0]:
            assert within_limits(group.split(), policy())


def test_limits_count_by_type() -> None:
    assert within_limits(["u:1", "k:1", "e:1", "e:2"], policy())
    assert not within_limits(["u:1", "u:2"], policy())
    assert not within_limits(["e:1", "e:2", "e:3"], policy())


def test_a_profile_id_depends_on_identifier_and_key_and_shows_neither() -> None:
    assert profile_id("email:ana@example.com", b"elo") == "afd85d9dfc43e98bf308804667513bbf"
    assert profile_id("email:ana@example.com", b"elo") != profile_id("email:ana@example.com", b"other")
    assert profile_id("email:ana@example.com", b"elo") != profile_id("email:eva@example.com", b"elo")
    assert len(profile_id("user_id:u", b"k")) == 32
