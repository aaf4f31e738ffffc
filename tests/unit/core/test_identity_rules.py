"""Sliding limits, unique values and traits that keep people apart: evidence in, groups and refusals out."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest

from pipeline.core.apart import Apart
from pipeline.core.identity import Link, agree, group_identifiers, most_at_once, within_limits
from pipeline.core.policy import Policy, parse_policy
from tests.support import oracle
from tests.support.histories import random_policy


def policy(document: Mapping[str, Any] | None = None, **types: Any) -> Policy:
    """`u`, `k` strong, `e` an e-mail, `d` a device, `a` anonymous; some of them with another rule."""
    identifiers: dict[str, Any] = {
        "u": {"limit": 1}, "k": {"limit": 1}, "e": {"limit": 5}, "d": {"limit": 5}, "a": {"limit": 5},
    }  # fmt: skip
    return parse_policy({"identifiers": identifiers | types} | dict(document or {}))


def link(text: str) -> Link:
    """`u:1 d:1 3` is seen at 3, `u:1 d:1 3-9` from 3 to 9."""
    stronger, weaker, instants = text.split()
    first, _, last = instants.partition("-")
    return Link(stronger, weaker, int(first), int(last or first), "e")


def grouped(
    rules: Policy, links: str, told: Mapping[str, Mapping[str, str]] | None = None
) -> tuple[list[str], list[str]]:
    """Groups as texts, and reasons of refusal."""
    evidence = [link(text.strip()) for text in links.split(",")]
    identifiers = {end for one in evidence for end in (one.stronger, one.weaker)}
    groups, refused = group_identifiers(identifiers, evidence, (), rules, told or {})
    return [" ".join(group) for group in groups], [one.reason for one in refused]


SLIDING = policy(d={"limit": {"count": 2, "within": "10ms"}})
SLIDING_MOVES = policy(d={"limit": {"count": 2, "within": "10ms"}, "on_conflict": "move"})


@pytest.mark.parametrize(
    ("rules", "links", "groups", "refused"),
    [
        (SLIDING, "u:1 d:1 1, u:1 d:2 2, u:1 d:3 3", ["u:1 d:1 d:2", "d:3"], ["limit_d"]),
        # At 10 the first is still in use, until 1 + 10; at 11 it no longer is.
        (SLIDING, "u:1 d:1 1, u:1 d:2 2, u:1 d:3 10", ["u:1 d:1 d:2", "d:3"], ["limit_d"]),
        (SLIDING, "u:1 d:1 1, u:1 d:2 2, u:1 d:3 11", ["u:1 d:1 d:2 d:3"], []),
        # Seen again is used longer.
        (SLIDING, "u:1 d:1 1-2, u:1 d:2 2, u:1 d:3 11", ["u:1 d:1 d:2", "d:3"], ["limit_d"]),
        (SLIDING, "u:1 d:1 1-9, u:1 d:2 2, u:1 d:3 12", ["u:1 d:1 d:2 d:3"], []),
        # With whom it was seen does not matter.
        (SLIDING, "u:1 d:1 1, u:1 d:2 2, u:1 d:3 11, d:1 a:1 5", ["u:1 d:1 d:2 a:1", "d:3"], ["limit_d"]),
        # As many as there are in ten years, two at a time.
        (SLIDING, "u:1 d:1 1, u:1 d:2 5, u:1 d:3 11, u:1 d:4 15, u:1 d:5 21", ["u:1 d:1 d:2 d:3 d:4 d:5"],
         []),
        # One that is refused leaves its place to the next.
        (SLIDING, "u:1 d:1 1, u:1 d:2 2, u:1 d:3 3, u:1 d:4 11", ["u:1 d:1 d:2 d:4", "d:3"], ["limit_d"]),
        (SLIDING_MOVES, "u:1 d:1 1, u:1 d:2 2, u:1 d:3 3", ["u:1 d:2 d:3", "d:1"], ["limit_d"]),
        # Two profiles that are each within the limit, and together are not.
        (SLIDING, "u:1 d:1 1, u:1 d:2 2, k:1 d:3 3, k:1 d:4 4, u:1 k:1 20",
         ["u:1 k:1 d:1 d:2", "d:3", "d:4"], ["limit_d", "limit_d"]),
    ],
)  # fmt: skip
def test_a_sliding_limit_counts_values_in_use_at_one_instant(
    rules: Policy, links: str, groups: list[str], refused: list[str]
) -> None:
    assert grouped(rules, links) == (groups, refused)


@pytest.mark.parametrize("seed", range(50))
def test_the_busiest_instant_is_that_of_the_busiest_window(seed: int) -> None:
    rng = random.Random(seed)
    spans = [(first, first + rng.choice([0, 0, 1, 7])) for first in (rng.randrange(30) for _ in range(9))]
    within_ms = rng.randrange(1, 12)
    windows = [range(start, start + within_ms) for start in range(-within_ms, 45)]
    seen = [sum(first < window.stop and window.start <= last for first, last in spans) for window in windows]
    assert most_at_once(spans, within_ms) == max(seen)


NEWEST, OLDEST = policy(d={"limit": 5, "unique": "newest"}), policy(d={"limit": 5, "unique": "oldest"})
CUSTOMER = policy(k={"limit": 1, "unique": "newest"})


@pytest.mark.parametrize(
    ("rules", "links", "groups", "refused"),
    [
        # Without the rule a device would make two e-mail addresses one person.
        (policy(), "e:a d:1 1, e:b d:1 2", ["e:a e:b d:1"], []),
        (NEWEST, "e:a d:1 1, e:b d:1 2", ["e:a", "e:b d:1"], ["unique_d"]),
        (OLDEST, "e:a d:1 1, e:b d:1 2", ["e:a d:1", "e:b"], ["unique_d"]),
        (NEWEST, "e:a d:1 1-3, e:b d:1 2", ["e:a d:1", "e:b"], ["unique_d"]),
        # Time decides before rank; rank decides at one instant.
        (NEWEST, "u:1 d:1 1, e:b d:1 2", ["u:1", "e:b d:1"], ["unique_d"]),
        (NEWEST, "u:1 d:1 2, e:b d:1 2", ["u:1 d:1", "e:b"], ["unique_d"]),
        # Several owners that are one person are no conflict.
        (NEWEST, "u:1 d:1 1, e:a d:1 2, u:1 e:a 1", ["u:1 e:a d:1"], []),
        # Weaker identifiers follow it.
        (NEWEST, "e:a d:1 1, e:b d:1 2, d:1 a:1 1", ["e:a", "e:b d:1 a:1"], ["unique_d"]),
        # Who has no room for it does not get it, so the next one is asked.
        (policy(d={"limit": 1, "unique": "newest"}), "e:a d:1 1, e:b d:1 2, e:b d:2 3",
         ["e:a d:1", "e:b d:2"], ["limit_d"]),
        # An id of a customer that moves between people, with what is weaker.
        (CUSTOMER, "u:1 k:9 1, u:2 k:9 5", ["u:1", "u:2 k:9"], ["unique_k"]),
        (CUSTOMER, "u:1 k:9 1, u:2 k:9 5, k:9 e:a 1, u:1 e:a 1", ["u:1 e:a", "u:2 k:9"],
         ["unique_k", "limit_u"]),
        # Links between stronger types are older than its turn: the limit of k holds for both as one person.
        (policy(e={"limit": 5}, d={"limit": 1, "unique": "newest"}), "u:1 d:1 1, e:a d:2 9, u:1 e:a 5",
         ["u:1 e:a d:2", "d:1"], ["limit_d"]),
    ],
)  # fmt: skip
def test_a_unique_value_belongs_to_one_profile(
    rules: Policy, links: str, groups: list[str], refused: list[str]
) -> None:
    assert grouped(rules, links) == (groups, refused)


ONE_CPF = policy({"cannot_link": {"traits": ["cpf", "born"]}})


@pytest.mark.parametrize(
    ("links", "told", "groups", "refused"),
    [
        ("u:1 e:a 1", {}, ["u:1 e:a"], []),
        ("u:1 e:a 1", {"u:1": {"cpf": "1"}, "e:a": {"cpf": "1"}}, ["u:1 e:a"], []),
        ("u:1 e:a 1", {"u:1": {"cpf": "1"}, "e:a": {"cpf": "2"}}, ["u:1", "e:a"], ["trait_cpf"]),
        ("u:1 e:a 1", {"u:1": {"cpf": "1"}, "e:a": {"born": "2"}}, ["u:1 e:a"], []),
        # What one identifier of a group has told holds for all of them.
        ("u:1 e:a 1, e:a d:1 2", {"u:1": {"cpf": "1"}, "d:1": {"cpf": "2"}}, ["u:1 e:a", "d:1"],
         ["trait_cpf"]),
        ("e:a d:1 1, e:b d:1 2", {"e:a": {"born": "1"}, "e:b": {"born": "2"}}, ["e:a d:1", "e:b"],
         ["trait_born"]),
        ("u:1 e:a 1, u:2 e:a 2", {"u:1": {"cpf": "1"}, "u:2": {"cpf": "2"}}, ["u:1 e:a", "u:2"], ["limit_u"]),
    ],
)  # fmt: skip
def test_two_values_of_a_trait_that_keeps_apart_are_two_people(
    links: str, told: dict[str, dict[str, str]], groups: list[str], refused: list[str]
) -> None:
    assert grouped(ONE_CPF, links, told) == (groups, refused)


@pytest.mark.parametrize(
    ("trait", "value", "read"),
    [
        ("cpf", "529.982.247-25", "cpf:52998224725"), ("cpf", 52998224725, "cpf:52998224725"),
        ("cpf", "529.982.247-26", None), ("cpf", "null", None), ("cpf", None, None),
        ("phone", "(11) 98765-4321", "phone:+5511987654321"), ("born", " 1990-01-31 ", "1990-01-31"),
        ("born", "", None), ("born", "NULL", None), ("born", "Ana", "ana"), ("born", "ANA", "ana"),
        ("born", 1990, "1990"), ("born", 1990.0, "1990"), ("born", {"b": 1, "a": 2}, '{"a":2,"b":1}'),
        ("city", "Madrid", None),
    ],
)  # fmt: skip
def test_traits_are_compared_as_the_identifiers_that_they_are_named_like(
    trait: str, value: object, read: str | None
) -> None:
    """Also where no such identifier is configured, as `cpf` here."""
    rules = parse_policy({
        "identifiers": {"u": {}, "phone": {"limit": 5, "normalise": "phone"}},
        "cannot_link": {"traits": ["cpf", "phone", "born"]}, "blocked": {"values": ["null"]},
    })  # fmt: skip
    assert Apart(rules).told({trait: [value, 1]}) == ({} if read is None else {trait: read})


def test_the_quick_way_is_left_for_unique_types_and_traits_that_disagree() -> None:
    assert within_limits(["e:a", "d:1"], policy())
    assert within_limits(["u:1", "e:a"], NEWEST)
    assert within_limits(["e:a", "d:1", "a:1", "a:2"], NEWEST)
    assert not within_limits(["e:a", "e:b", "d:1"], NEWEST)
    assert not within_limits(["u:1", "e:a", "d:1"], NEWEST)
    assert not within_limits(["e:a", "d:1", "d:2"], NEWEST)
    assert within_limits(["d:1", "d:2"], SLIDING)
    assert not within_limits(["d:1", "d:2", "d:3"], SLIDING)
    assert agree({"u:1": {"cpf": "1"}, "e:a": {"cpf": "1", "born": "2"}})
    assert not agree({"u:1": {"cpf": "1"}, "e:a": {"cpf": "2"}})


def random_evidence(
    rng: random.Random, rules: Policy
) -> tuple[list[str], list[Link], dict[str, dict[str, str]]]:
    names = [f"{kind}:{n}" for kind in rules.rules for n in range(3)]
    links = []
    for _ in range(rng.randrange(1, 25)):
        stronger, weaker = sorted(rng.sample(names, k=2), key=rules.order_of)
        first = rng.randrange(20) * 1_800_000
        links.append(Link(stronger, weaker, first, first + rng.choice([0, 0, 1, 5_400_000]), "e"))
    told = {
        name: {trait: str(rng.randrange(2))} for name in names for trait in rules.apart_traits
        if rng.random() < 0.2
    }  # fmt: skip
    return names, links, told


@pytest.mark.parametrize("seed", range(150))
def test_the_order_of_the_evidence_does_not_matter_and_nothing_that_is_refused_would_fit_in_the_end(
    seed: int,
) -> None:
    """So one pass is all the renewed matching there is: groups only grow."""
    rng = random.Random(seed)
    rules = random_policy(rng)
    names, links, told = random_evidence(rng, rules)
    inert = set(rng.sample(names, k=rng.randrange(3)))
    groups, refused = group_identifiers(names, links, inert, rules, told)
    again = group_identifiers(
        rng.sample(names, k=len(names)), rng.sample(links, k=len(links)), inert, rules, told
    )
    assert again[0] == groups
    assert sorted(one.reason for one in again[1]) == sorted(one.reason for one in refused)
    group_of = {identifier: group for group in groups for identifier in group}
    times: dict[tuple[str, str], list[int]] = {}
    for one in links:
        if not inert & {one.stronger, one.weaker}:
            times.setdefault((one.stronger, one.weaker), []).extend([one.first_ms, one.last_ms])
    owned = {weaker for stronger, weaker in times if group_of[stronger] is group_of[weaker]}
    for group in groups:
        for at in range(1, len(group)):
            assert oracle.may_be_one(group[:at], group[at : at + 1], times, told, rules)
    for stronger, weaker in times:
        if group_of[stronger] is not group_of[weaker]:
            belongs = rules.rule_of(weaker).unique is not None and weaker in owned
            fits = oracle.may_be_one(group_of[stronger], group_of[weaker], times, told, rules)
            assert belongs or not fits
