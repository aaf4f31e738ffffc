"""Matching in the stream, case by case: who is found, what takes it back, and what it costs nobody else.

Each case is played on one and on three partitions, where every message crosses.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from pipeline.core import comparing
from pipeline.core.comparing import BLOCK_KEY, RECORD_KEY, BlockNode
from pipeline.core.explain import why_two
from pipeline.core.outbox import ProfileAlias, Review
from pipeline.core.policy import Policy
from tests.support.evidence import People
from tests.support.histories import policy_of
from tests.support.laws import check_outputs, check_structure, profiles_of

A, B, C = "email:ana@example.com", "phone:+5511999990000", "device_id:d1"
ANA: Final = {"name": "Ana Beatriz Sikorski", "birth_date": "1980-03-12", "city": "Recife"}
SLIPPED: Final = {"name": "Sikorsky, Ana B.", "birth_date": "12/03/1980"}
JOAO: Final = {"name": "João Quintela Prado", "birth_date": "1955-07-01"}
DAY_MS: Final = 86_400_000


def matching(**section: Any) -> Policy:
    return policy_of(matching={"model": "shipped", "merge_above": 8, "review_above": 2} | section)


@pytest.fixture(params=[1, 3], ids=["one partition", "three partitions"])
def size(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


def told(people: People, identifier: str, **traits: Any) -> None:
    people.touch(identifier, traits=json.dumps(traits))


def groups(people: People) -> list[list[str]]:
    check_structure(people.cluster)
    check_outputs(people.cluster)
    return sorted(profile["identifiers"] for profile in profiles_of(people.cluster))


def reviews(people: People) -> list[Review]:
    return [one.output for one in people.cluster.told if isinstance(one.output, Review)]


def stored(people: People, kind: bytes) -> list[bytes]:
    """The stored nodes of a kind."""
    return [
        value for partition in people.cluster.partitions
        for key, value in partition.logs.values.items() if key[:1] == kind
    ]  # fmt: skip


def test_two_who_share_no_identifier_are_one_person_and_a_correction_parts_and_joins_them(size: int) -> None:
    people = People(matching(), size=size)
    told(people, A, **ANA)
    told(people, B, **SLIPPED)
    assert groups(people) == [[A, B]]
    told(people, B, **JOAO)
    assert groups(people) == [[A], [B]]
    told(people, B, **SLIPPED)
    assert groups(people) == [[A, B]]
    aliases = [one.output for one in people.cluster.told if isinstance(one.output, ProfileAlias)]
    assert [one.cause for one in aliases] == ["merge", "unmerge", "merge"]


def test_a_correction_that_comes_before_what_it_corrects_leaves_nothing_to_take_back(size: int) -> None:
    people = People(matching(), size=size)
    told(people, A, **ANA)
    told(people, B, **JOAO)
    people.touch(B, traits=json.dumps(SLIPPED), later_ms=-1_500)
    assert groups(people) == [[A], [B]]
    assert not [one for one in people.cluster.told if isinstance(one.output, ProfileAlias)]


def test_what_is_taken_back_by_null_is_compared_no_longer(size: int) -> None:
    people = People(matching(), size=size)
    told(people, A, **ANA)
    told(people, B, **SLIPPED)
    told(people, B, name=None, birth_date=None)
    assert groups(people) == [[A], [B]]
    assert all(BlockNode.decode(one).known == [A] for one in stored(people, BLOCK_KEY))


def test_the_name_of_one_touch_and_the_birth_date_of_another_are_one_record(size: int) -> None:
    people = People(matching(), size=size)
    told(people, A, **ANA)
    told(people, B, name=SLIPPED["name"])
    assert groups(people) == [[A], [B]]
    told(people, B, birth_date=SLIPPED["birth_date"])
    assert groups(people) == [[A, B]]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ANA, JOAO),
        (ANA, ANA | {"name": "Clara Sikorski"}),  # a twin
        ({"name": "Maria da Silva"}, {"name": "Maria da Silva"}),
        ({"city": "Recife"}, {"city": "Recife"}),
        ({"name": "Ana Sikorski", "phone": "1133334444"}, {"name": "Rui Sikorski", "phone": "1133334444"}),
    ],
    ids=["strangers", "twins", "namesakes", "one city", "a household"],
)
def test_who_has_too_little_in_common_stays_apart(first: Any, second: Any, size: int) -> None:
    people = People(matching(), size=size)
    told(people, A, **first)
    told(people, B, **second)
    assert groups(people) == [[A], [B]]


def test_different_strong_identifiers_keep_those_apart_whose_records_match(size: int) -> None:
    people = People(matching(), size=size)
    told(people, "user_id:u1", **ANA)
    told(people, "user_id:u2", **ANA)
    assert groups(people) == [["user_id:u1"], ["user_id:u2"]]
    first, second = (people.evidence(one) for one in ("user_id:u1", "user_id:u2"))
    why = why_two(first, second, ("user_id:u1", "user_id:u2"), people.policy)
    assert [edge.reason for edge in why.refused] == ["limit_user_id"]
    (sentence,) = why.would_change
    assert sentence.startswith("limit user_id: 1 keeps user_id:u1 and user_id:u2 apart: with limit")


def test_a_match_is_explained(size: int) -> None:
    people = People(matching(), size=size)
    told(people, A, **ANA)
    told(people, B, **SLIPPED)
    why = why_two(people.evidence(A), people.evidence(B), (A, B), people.policy)
    assert why.one_profile
    assert why.path is not None
    (step,) = why.path
    assert step.edge.weight is not None
    assert step.to_json()["match_weight"] == step.edge.weight >= 8
    assert why.would_change == (f"without the match of {A} and {B} they would be two profiles",)


def test_one_pair_that_fits_is_outvoted_by_others_that_do_not(size: int) -> None:
    people = People(matching(), size=size)
    told(people, A, **ANA)
    people.touch(f"{B} {C}")
    told(people, B, name="Ana Beatriz Sikorski")
    told(people, C, **JOAO)
    told(people, B, birth_date=ANA["birth_date"])
    assert groups(people) == [[A], [B, C]]
    why = why_two(people.evidence(A), people.evidence(B), (A, B), people.policy)
    assert [edge.reason for edge in why.refused] == ["unlike"]
    assert why.would_change == (f"{A} and {B} match, but all records of their profiles together do not",)


def test_a_pair_in_between_is_shown_to_a_steward_once_whose_merge_joins_and_whose_undo_parts_them(
    size: int,
) -> None:
    people = People(matching(merge_above=30), size=size)
    told(people, A, **ANA)
    told(people, B, **SLIPPED)
    told(people, A, city="Olinda")
    assert groups(people) == [[A], [B]]
    (review,) = reviews(people)
    assert (review.kind, review.identifiers) == ("pair", [A, B])
    assert review.score is not None
    assert review.detail == f"match weight {review.score:g}, less than merge_above: 30"
    people.decide("merge", "m1", f"{A} {B}")
    assert groups(people) == [[A, B]]
    people.decide("undo", "m1", f"{A} {B}", minutes=61)
    assert groups(people) == [[A], [B]]
    assert len(reviews(people)) == 1


def test_a_split_keeps_apart_whom_a_match_had_joined_whatever_they_tell_later(size: int) -> None:
    people = People(matching(), size=size)
    told(people, A, **ANA)
    told(people, B, **SLIPPED)
    people.decide("split", "s1", B)
    assert groups(people) == [[A], [B]]
    told(people, B, **ANA)
    assert groups(people) == [[A], [B]]
    told(people, C, **ANA)  # Who is known only since then may be either.
    assert C in next(one for one in groups(people) if A in one)


def test_a_key_of_too_many_records_finds_nobody_until_some_of_them_have_gone(size: int) -> None:
    people = People(matching(block_records_max=2), size=size)
    names = [A, B, C, "device_id:d2"]
    for name in names[:2]:
        told(people, name, **ANA)
    assert groups(people) == [[A, B]]
    for name in names[2:]:
        told(people, name, **ANA)
    assert groups(people) == sorted([one] for one in names)
    told(people, C, **JOAO)
    told(people, "device_id:d2", **JOAO)
    assert groups(people) == [[C, "device_id:d2"], [A, B]]


def test_a_key_of_very_many_records_is_only_counted_and_opens_when_all_have_gone(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "CROWDED", 1)
    people = People(matching(block_records_max=2), size=size)
    names = [A, B, C]
    for name in names:
        told(people, name, **ANA)
    assert any(BlockNode.decode(one).known is None for one in stored(people, BLOCK_KEY))
    for name in names:
        told(people, name, **JOAO)
    for name in names[:2]:
        told(people, name, **ANA)
    assert groups(people) == sorted([sorted(names[:2]), [C]])


def test_a_shared_identifier_matches_nobody(size: int) -> None:
    people = People(matching(), size=size)
    told(people, A, **ANA)
    told(people, "device_id:kiosk", **SLIPPED)
    assert groups(people) == [["email:ana@example.com", "device_id:kiosk"]]
    for number in range(6):
        people.touch(f"user_id:u{number} device_id:kiosk")
    assert ["device_id:kiosk"] in groups(people)
    assert [A] in groups(people)


def test_who_is_forgotten_leaves_all_blocks_and_matches_nobody(size: int) -> None:
    people = People(matching(), size=size)
    told(people, C, **ANA)
    people.cluster.advance(people.cluster.now_ms + 91 * DAY_MS)
    assert (stored(people, RECORD_KEY), stored(people, BLOCK_KEY)) == ([], [])
    told(people, A, **ANA)
    assert groups(people) == [[A]]


def test_who_tells_nothing_to_compare_costs_nothing_and_what_is_known_is_not_sent_again(size: int) -> None:
    people = People(matching(), size=size)
    people.touch(f"user_id:u1 {A}", traits='{"city":"Recife","plan":"pro"}')
    assert stored(people, RECORD_KEY) == []
    told(people, B, **ANA)
    before = sum(len(one.logs.mail) for one in people.cluster.partitions)
    told(people, B, **ANA)
    people.touch(B, traits='{"plan":"pro"}')
    assert sum(len(one.logs.mail) for one in people.cluster.partitions) == before


def test_without_the_section_nobody_is_compared(size: int) -> None:
    people = People(policy_of(), size=size)
    told(people, A, **ANA)
    told(people, B, **ANA)
    assert groups(people) == [[A], [B]]
    assert (stored(people, RECORD_KEY), stored(people, BLOCK_KEY)) == ([], [])
