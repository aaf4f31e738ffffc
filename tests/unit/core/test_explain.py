"""Why identifiers are, or are not, one profile: paths, refused links, and changes that were tried."""

from __future__ import annotations

import random

import pytest

from pipeline.core.evidence import AWAITED, Edge, edges_of, evidence_of, path_between
from pipeline.core.explain import WhyOne, WhyTwo, reason_in_words, why_one, why_two
from pipeline.core.node import Component
from tests.support.evidence import START_MS, People, shipped_policy

KIOSK = [f"user_id:{number} email:kiosk@x.com" for number in range(7)]


def two(people: People, a: str, b: str) -> WhyTwo:
    return why_two(people.evidence(a), people.evidence(b), (a, b), people.policy)


def one(people: People, identifier: str) -> WhyOne:
    return why_one(people.evidence(identifier), identifier, people.policy)


def walk(answer: WhyTwo) -> list[str]:
    """The path as texts; a refused link with its reason."""
    assert answer.path is not None
    return [f"{step.start} > {step.end} {step.edge.reason}".rstrip() for step in answer.path]


def test_a_profile_is_shown_with_the_links_that_tie_each_identifier_to_its_anchor() -> None:
    people = People(
        shipped_policy(),
        ["anonymous_id:a", "email:e anonymous_id:a", "user_id:1 email:e", "user_id:1 email:e"],
    )
    answer = one(people, "email:e")
    (profile,) = people.profiles(people.component("email:e"))
    assert (answer.profile_id, answer.anchor, answer.anchor_ms) == (profile.id, "anonymous_id:a", START_MS)
    document = answer.to_json()
    assert [tie["identifier"] for tie in document["identifiers"]] == [
        "user_id:1",
        "email:e",
        "anonymous_id:a",
    ]
    far, near, anchor = (tie["path"] for tie in document["identifiers"])
    assert anchor == []
    assert [(step["from"], step["to"]) for step in far] == [
        ("anonymous_id:a", "email:e"), ("email:e", "user_id:1"),
    ]  # fmt: skip
    assert near == far[:1]
    assert far[1] == {
        "from": "email:e", "to": "user_id:1", "first_at": "2025-10-09T08:53:22.000Z",
        "last_at": "2025-10-09T08:53:23.000Z", "touches": 2, "first_event_id": "e2", "last_event_id": "e3",
        "refused": None,
    }  # fmt: skip
    assert (document["anchor_first_seen"], document["policy_version"]) == ("2025-10-09T08:53:20.000Z", 1)
    assert (document["refused_links"], document["would_change"]) == ([], [])


def test_two_identifiers_of_one_profile_are_shown_with_the_links_that_hold_them_together() -> None:
    people = People(shipped_policy(), ["anonymous_id:a email:e", "user_id:1 email:e", "user_id:1 phone:+1"])
    answer = two(people, "anonymous_id:a", "phone:+1")
    assert answer.one_profile
    assert len(set(answer.profile_ids)) == 1
    assert walk(answer) == ["anonymous_id:a > email:e", "email:e > user_id:1", "user_id:1 > phone:+1"]
    assert answer.would_change == (
        "without the link between anonymous_id:a and email:e they would be two profiles",
        "without the link between email:e and user_id:1 they would be two profiles",
        "without the link between user_id:1 and phone:+1 they would be two profiles",
    )


def test_a_link_that_another_path_stands_in_for_is_not_called_needed() -> None:
    people = People(shipped_policy(), ["user_id:1 email:e", "email:e phone:+1", "user_id:1 phone:+1"])
    answer = two(people, "user_id:1", "email:e")
    assert walk(answer) == ["user_id:1 > email:e"]
    assert answer.would_change == ("no single link holds them together: other paths would remain",)


def test_a_limit_keeps_two_profiles_apart_and_the_limit_that_would_join_them_is_named() -> None:
    people = People(shipped_policy(), ["user_id:1 email:e", "user_id:2 email:e"])
    answer = two(people, "user_id:1", "user_id:2")
    assert not answer.one_profile
    assert len(set(answer.profile_ids)) == 2
    assert walk(answer) == ["user_id:1 > email:e", "email:e > user_id:2 limit_user_id"]
    assert [edge.reason for edge in answer.refused] == ["limit_user_id"]
    assert answer.would_change == (
        "limit user_id: 1 keeps user_id:2 and email:e apart: with limit user_id: 2 they would be one profile",
    )
    raised = People(shipped_policy(user_id={"limit": 2}), ["user_id:1 email:e", "user_id:2 email:e"])
    assert two(raised, "user_id:1", "user_id:2").one_profile


def test_a_limit_whose_rise_would_not_be_enough_is_not_called_the_cure() -> None:
    touches = ["user_id:1 cpf:1", "user_id:2 cpf:2", "user_id:1 email:e", "user_id:2 email:e"]
    answer = two(People(shipped_policy(), touches), "user_id:1", "user_id:2")
    assert answer.would_change == (
        "limit user_id: 1 keeps user_id:2 and email:e apart: their profiles have user_id:1 and user_id:2",
    )


def test_strangers_are_told_what_a_first_link_would_do() -> None:
    people = People(shipped_policy(), ["user_id:1", "email:e", "user_id:2 phone:+1"])
    answer = two(people, "user_id:1", "email:e")
    assert (answer.one_profile, answer.path, answer.refused) == (False, None, ())
    assert answer.would_change == ("a link between user_id:1 and email:e would join them",)
    assert two(people, "user_id:1", "phone:+1").would_change == (
        "limit user_id: 1 would keep them apart even with a link between them: together they have 2",
    )


def test_a_shared_identifier_joins_nobody_also_across_components() -> None:
    people = People(shipped_policy(), [*KIOSK, "user_id:9 email:kiosk@x.com", "user_id:9 phone:+9"])
    answer = two(people, "user_id:0", "phone:+9")
    assert people.component("user_id:0").root != people.component("phone:+9").root
    assert walk(answer) == [
        "user_id:0 > email:kiosk@x.com shared",
        "email:kiosk@x.com > user_id:9 shared",
        "user_id:9 > phone:+9",
    ]
    (sentence,) = answer.would_change
    assert sentence.startswith("email:kiosk@x.com was seen with too many people (shared_after: 5)")
    alone = two(people, "user_id:0", "email:kiosk@x.com")
    assert (alone.one_profile, walk(alone)) == (False, ["user_id:0 > email:kiosk@x.com shared"])


def test_a_full_component_says_so() -> None:
    policy = shipped_policy()
    component = Component("user_id:1")
    component.add_identifier("user_id:1")
    component.own_facet("user_id:1").touch("page_viewed", START_MS)
    component.own_facet("user_id:1").see_link("email:e", START_MS, "e0")
    component.close_to("email:e", "full")
    (edge,) = evidence_of(component, [], policy).edges
    assert edge.reason == "component_full"
    assert reason_in_words(edge.reason, policy) == "a component holds at most 1000 identifiers"
    other = People(policy, ["email:e"]).evidence("email:e")
    answer = why_two(evidence_of(component, [], policy), other, ("user_id:1", "email:e"), policy)
    assert answer.would_change == ("component_identifiers_max: 1000 keeps user_id:1 and email:e apart",)


def test_an_identifier_that_was_only_seen_beside_others_and_is_refused_belongs_to_nobody() -> None:
    policy = shipped_policy(email={"limit": 1, "shared_after": 9})
    people = People(policy, ["user_id:1 email:a", "user_id:1 email:b"])
    answer = one(people, "email:b")
    assert (answer.profile_id, answer.anchor, [tie.path for tie in answer.ties]) == ("", "", [()])
    assert [(edge.stronger, edge.weaker, edge.reason) for edge in answer.refused] == [
        ("user_id:1", "email:b", "limit_email")
    ]
    assert answer.to_json()["profile_id"] is None
    assert one(people, "user_id:1").would_change == (
        "limit email: 1 keeps user_id:1 and email:b apart: with limit email: 2 they would be one profile",
    )


def test_a_link_whose_claim_is_open_is_said_to_be_awaited() -> None:
    policy = shipped_policy()
    component = Component("user_id:1")
    for identifier in ("user_id:1", "email:e"):
        component.add_identifier(identifier)
    component.add_claim("email:e")
    component.own_facet("user_id:1").see_link("email:e", START_MS, "e0")
    evidence = evidence_of(component, [], policy)
    assert [edge.reason for edge in evidence.edges] == [AWAITED]
    answer = why_two(evidence, evidence, ("user_id:1", "email:e"), policy)
    assert answer.would_change == (
        "the link between user_id:1 and email:e is being decided: ask again in a moment",
    )


def test_a_reason_that_is_new_is_told_as_it_is() -> None:
    assert reason_in_words("limit_user_id", shipped_policy()) == "limit user_id: 1"
    assert reason_in_words("cannot_link", shipped_policy()) == "cannot_link"


def test_one_pair_that_two_facets_have_seen_is_one_edge() -> None:
    component = Component("user_id:1")
    for identifier in ("user_id:1", "email:e", "phone:+1"):
        component.add_identifier(identifier)
    component.own_facet("user_id:1").see_link("email:e\x1fphone:+1", 5, "b")
    component.own_facet("email:e").see_link("phone:+1", 3, "a")
    component.own_facet("email:e").see_link("phone:+1", 9, "c")
    assert edges_of(component, shipped_policy()) == [Edge("email:e", "phone:+1", 3, 9, 3, "a", "c")]


def test_the_strongest_type_that_is_too_many_is_named() -> None:
    people = People(shipped_policy(), ["user_id:1 cpf:1", "user_id:2 cpf:2"])
    assert two(people, "cpf:1", "cpf:2").would_change == (
        "limit user_id: 1 would keep them apart even with a link between them: together they have 2",
    )


@pytest.mark.parametrize("seed", range(40))
def test_who_is_one_profile_is_joined_by_links_that_unite_and_who_is_not_never_is(seed: int) -> None:
    rng = random.Random(seed)
    names = [
        *(f"user_id:{n}" for n in range(4)),
        *(f"email:{n}" for n in range(5)),
        "phone:+1",
        "device_id:d",
    ]
    touches = [" ".join(rng.sample(names, k=rng.choice([1, 2, 2, 3]))) for _ in range(12)]
    touches = [touch for touch in touches if touch.count("user_id") < 2]
    people = People(shipped_policy(email={"shared_after": 2}), touches, size=rng.choice([1, 3]))
    seen = sorted(people.owned())
    for a in rng.sample(seen, k=min(5, len(seen))):
        for b in seen:
            if a == b:
                continue
            first, second = people.evidence(a), people.evidence(b)
            answer = why_two(first, second, (a, b), people.policy)
            mine, other = first.profiles.get(a), second.profiles.get(b)
            together = mine is not None and other is not None and mine.id == other.id
            assert answer.one_profile == together
            assert answer.would_change
            united = path_between([*first.edges, *second.edges], a, b)
            nobodies = a not in first.profiles and b not in first.profiles  # linked, and yet no profile
            assert nobodies or (united is not None) == together
            if answer.path is not None:
                ends = [answer.path[0].start, *(step.end for step in answer.path)]
                assert (ends[0], ends[-1]) == (a, b)
                assert [step.start for step in answer.path] == ends[:-1]
                assert nobodies or any(step.edge.reason for step in answer.path) != together
