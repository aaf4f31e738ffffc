"""Why links are refused by sliding limits, unique values and traits that keep people apart."""

from __future__ import annotations

from typing import Any, Final

import pytest

from pipeline.core.explain import WhyOne, WhyTwo, reason_in_words, why_one, why_two
from pipeline.core.policy import Policy, parse_policy
from tests.support.evidence import People

IDENTIFIERS: Final[dict[str, dict[str, Any]]] = {
    "user_id": {"limit": 1},
    "email": {"limit": 5},
    "phone": {"limit": {"count": 1, "within": "1h"}},
    "device_id": {"limit": 5, "unique": "newest"},
}
POLICY: Final = parse_policy({"identifiers": IDENTIFIERS, "cannot_link": {"traits": ["birth_date"]}})
HOUR_MS: Final = 3_600_000
BORN: Final = ('{"birth_date": "2001-02-03"}', '{"birth_date": "2004-05-06"}')


def two(people: People, a: str, b: str) -> WhyTwo:
    return why_two(people.evidence(a), people.evidence(b), (a, b), people.policy)


def only(answer: WhyOne | WhyTwo) -> str:
    """What would change the answer: one sentence."""
    (sentence,) = answer.would_change
    return sentence


def of_device(unique: str) -> Policy:
    device = {"limit": 5, "unique": unique}
    return parse_policy({"identifiers": {**IDENTIFIERS, "device_id": device}})


def told_apart() -> People:
    """Two e-mail addresses of different people, and a device that goes with the one seen last."""
    people = People(POLICY)
    people.touch("email:a", traits=BORN[0])
    people.touch("email:b", traits=BORN[1])
    people.touch("email:a email:b")
    return people


def test_a_sliding_limit_says_its_span_and_how_many_at_once_would_do() -> None:
    people = People(POLICY, ["email:e phone:+1", "email:e phone:+2", "email:e phone:+3"])
    answer = two(people, "phone:+1", "phone:+2")
    assert [edge.reason for edge in answer.refused] == ["limit_phone"]
    assert only(answer) == (
        "limit phone: 1 within 1h keeps email:e and phone:+2 apart: "
        "with limit phone: 2 within 1h they would be one profile"
    )
    assert reason_in_words("limit_phone", POLICY) == "limit phone: 1 within 1h"


def test_the_number_that_a_sliding_limit_would_need_counts_values_in_use_at_one_instant_only() -> None:
    people = People(POLICY)
    for hours, phone in ((0, "+1"), (3, "+2"), (6, "+3"), (6, "+4")):
        people.touch(f"email:e phone:{phone}", later_ms=hours * HOUR_MS)
    answer = two(people, "phone:+1", "phone:+4")
    assert only(answer) == (
        "limit phone: 1 within 1h keeps email:e and phone:+4 apart: "
        "with limit phone: 2 within 1h they would be one profile"
    )


def test_a_unique_value_says_whose_it_is_and_that_the_rule_alone_keeps_them_apart() -> None:
    people = People(POLICY, ["email:a device_id:d", "email:b device_id:d"])
    answer = two(people, "email:a", "device_id:d")
    assert [edge.reason for edge in answer.refused] == ["unique_device_id"]
    assert only(answer) == (
        "unique device_id: newest keeps email:a and device_id:d apart: device_id:d belongs to one profile "
        "only, that of email:b; if the type were not unique they would be one profile"
    )
    assert reason_in_words("unique_device_id", POLICY) == "unique device_id: newest"


def test_a_unique_value_that_another_rule_would_refuse_too_promises_nothing() -> None:
    people = People(POLICY, ["user_id:1 device_id:d", "user_id:2 device_id:d"])
    answer = two(people, "user_id:1", "user_id:2")
    assert only(answer) == (
        "unique device_id: newest keeps user_id:1 and device_id:d apart: device_id:d belongs to one profile "
        "only, that of user_id:2"
    )


def test_a_trait_names_who_has_told_it_and_not_what() -> None:
    people = told_apart()
    answer = two(people, "email:a", "email:b")
    assert [edge.reason for edge in answer.refused] == ["trait_birth_date"]
    assert only(answer) == (
        "cannot_link birth_date keeps email:a and email:b apart: email:a and email:b have told different "
        "values of it; with one value they would be one profile"
    )
    words = reason_in_words("trait_birth_date", POLICY)
    assert words == "cannot_link birth_date: the two have told different values"
    assert "2001" not in f"{answer.would_change} {words}"


def test_a_trait_is_told_by_an_identifier_behind_the_link() -> None:
    people = People(POLICY)
    people.touch("email:a", traits=BORN[0])
    people.touch("user_id:1 email:a")
    people.touch("email:b", traits=BORN[1])
    people.touch("user_id:1 email:b")
    answer = why_one(people.evidence("email:b"), "email:b", POLICY)
    assert only(answer) == (
        "cannot_link birth_date keeps user_id:1 and email:b apart: email:a and email:b have told different "
        "values of it; with one value they would be one profile"
    )


def test_a_trait_that_is_not_alone_in_keeping_two_apart_promises_nothing() -> None:
    people = People(POLICY)
    people.touch("user_id:1 email:a", traits=BORN[0])
    people.touch("user_id:2 email:b", traits=BORN[1])
    people.touch("email:a email:b")
    (sentence,) = two(people, "user_id:1", "user_id:2").would_change
    assert "one profile" not in sentence


def test_strangers_are_told_what_a_first_link_would_do_under_every_rule() -> None:
    people = People(POLICY)
    people.touch("email:a", traits=BORN[0])
    people.touch("email:b", traits=BORN[1])
    people.touch("email:c phone:+1")
    people.touch("email:d phone:+2")
    assert two(people, "email:a", "email:b").would_change == (
        (
            "cannot_link birth_date would keep them apart even with a link between them: "
            "they have told different values"
        ),
    )
    assert two(people, "phone:+1", "phone:+2").would_change == (
        "limit phone: 1 within 1h would keep them apart even with a link between them",
    )
    assert two(people, "email:a", "email:c").would_change == (
        "a link between email:a and email:c would join them",
    )


@pytest.mark.parametrize(
    ("unique", "sentence"),
    [
        ("newest", "a link between email:a and device_id:d would join them"),
        ("oldest", "unique device_id: oldest would keep them apart even with a link between them"),
    ],
)
def test_a_first_link_to_a_unique_value_is_a_later_one(unique: str, sentence: str) -> None:
    people = People(of_device(unique), ["email:a", "email:b device_id:d"])
    assert two(people, "email:a", "device_id:d").would_change == (sentence,)
