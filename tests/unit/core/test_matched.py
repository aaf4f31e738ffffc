"""Why records match, case by case: the weights behind each pair of a profile, and what came of it."""

from __future__ import annotations

import json
import random
from typing import Any, Final
from xml.etree import ElementTree

import pytest

from pipeline.cli.options import CommandFailed
from pipeline.cli.why_match import lines_of_match, weights_as_svg
from pipeline.core.evidence import evidence_of
from pipeline.core.explain import WhyOne, why_one, why_two
from pipeline.core.likeness import judge_of
from pipeline.core.matched import WhyMatch, why_match, why_matches
from pipeline.core.matching.explain import Verdict, Waterfall
from pipeline.core.node import Profile
from pipeline.core.outbox import Outbox
from pipeline.core.policy import Policy
from tests.support.evidence import People
from tests.support.histories import (
    described,
    matching_section,
    policy_of,
    random_decisions,
    random_touches,
    shuffled_with_repetitions,
)
from tests.support.memory import Cluster
from tests.support.plays import BEGIN_MS, sent

A, B, C = "email:ana@example.com", "phone:+5511999990000", "device_id:d1"
ANA: Final = {"name": "Ana Beatriz Sikorski", "birth_date": "1980-03-12", "city": "Recife"}
SLIPPED: Final = {"name": "Sikorsky, Ana B.", "birth_date": "12/03/1980"}
JOAO: Final = {"name": "João Quintela Prado", "birth_date": "1955-07-01"}


def people_of(policy: Policy, **told: dict[str, Any]) -> People:
    people = People(policy, size=1)
    for identifier, traits in told.items():
        tell(people, identifier, **traits)
    return people


def tell(people: People, identifier: str, **traits: Any) -> None:
    people.touch(identifier, traits=json.dumps(traits))


def matching(**section: Any) -> Policy:
    return policy_of(matching={"model": "shipped", "merge_above": 8, "review_above": 2} | section)


def one(people: People, identifier: str) -> WhyOne:
    return why_one(people.evidence(identifier), identifier, people.policy)


def two(people: People, a: str, b: str) -> WhyMatch:
    found = why_match(people.evidence(a), people.evidence(b), (a, b), people.policy)
    assert found is not None
    return found


def adds_up(waterfall: Waterfall) -> bool:
    whole = waterfall.prior + sum(step.weight for step in waterfall.steps) + waterfall.relatives
    return whole == pytest.approx(waterfall.total)


def text_of(match: WhyMatch, policy: Policy) -> str:
    return "\n".join(lines_of_match(match, policy))


def test_every_match_of_a_profile_comes_with_its_weights_frequencies_thresholds_and_model() -> None:
    people = people_of(matching(), **{A: ANA, B: SLIPPED})
    (match,) = one(people, A).matches
    judge = judge_of(people.policy)
    assert judge is not None
    assert match.found is not None
    assert (match.identifiers, match.verdict, match.model_version) == ((A, B), "one_person", judge.version)
    assert match.told == round(match.found.pair.total, 2) >= match.merge_above == 8
    assert adds_up(match.found.pair)
    steps = {step.comparison: step for step in match.found.pair.steps}
    assert (steps["given_name"].level, steps["given_name"].count) == ("exact", 1620)  # as shipped
    assert steps["birth_date"].weight > steps["given_name"].weight > 0
    body = match.to_json()
    assert body["pair"]["steps"][0]["weight"] == match.found.pair.steps[0].weight
    assert (body["threshold"], body["review_above"], body["current"]) == (8, 2, True)
    assert "given_name: exact" in text_of(match, people.policy)
    assert f"model {judge.version}" in text_of(match, people.policy)


def test_the_weights_of_two_are_a_picture_whose_bars_carry_their_names() -> None:
    people = people_of(matching(), **{A: ANA, C: ANA, B: SLIPPED})
    why = why_two(people.evidence(A), people.evidence(B), (A, B), people.policy)
    picture = ElementTree.fromstring(weights_as_svg(why, people.policy))
    texts = [one.text or "" for one in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert f"{A} - {B}: weight" in texts[0]
    assert "birth_date: exact" in texts
    assert any(one.startswith("their clusters") for one in texts)
    with pytest.raises(CommandFailed, match="name a second one"):
        weights_as_svg(one(people, A), people.policy)
    stranger = why_two(people.evidence(A), people.evidence(A), (A, A), people.policy)
    with pytest.raises(CommandFailed, match="there are no weights"):
        weights_as_svg(stranger, people.policy)


def test_who_is_united_as_people_is_shown_by_the_groups_that_were_weighed() -> None:
    people = people_of(matching(), **{A: ANA, C: ANA, B: SLIPPED})
    match = two(people, A, B)
    assert match.found is not None
    assert match.found.groups == ((A, C), (B,))
    assert adds_up(match.found.clusters)
    assert "their clusters, [email:ana@example.com, device_id:d1]" in text_of(match, people.policy)


def test_strong_identifiers_that_differ_are_named_as_what_keeps_apart() -> None:
    people = people_of(matching(), **{"user_id:u1": ANA, "user_id:u2": ANA})
    match = two(people, "user_id:u1", "user_id:u2")
    assert (match.verdict, match.reason) == (Verdict.KEPT_APART, "limit_user_id")
    assert "kept apart: limit user_id: 1" in text_of(match, people.policy)
    assert one(people, "user_id:u1").matches == (match,)


def test_records_of_the_two_people_that_do_not_fit_are_weighed_together() -> None:
    people = people_of(matching(), **{A: ANA})
    people.touch(f"{B} {C}")
    tell(people, B, name="Ana Beatriz Sikorski")
    tell(people, C, **JOAO)
    tell(people, B, birth_date=ANA["birth_date"])
    match = two(people, A, B)
    assert match.found is not None
    assert (match.verdict, match.reason) == (Verdict.BELOW_THRESHOLD, "unlike")
    assert match.found.pair.total >= 8 > match.found.clusters.total
    assert match.found.groups == ((A,), (B, C))
    assert "less than merge_above: 8" in text_of(match, people.policy)


def test_a_pair_in_between_is_shown_from_both_sides_and_with_all_weights_when_both_are_asked_about() -> None:
    people = people_of(matching(merge_above=30), **{A: ANA, B: SLIPPED})
    (match,) = one(people, A).matches
    assert (match.verdict, match.found) == (Verdict.REVIEW, None)
    assert f"`elo why {A} {B}` shows the weights" in text_of(match, people.policy)
    assert match.to_json()["pair"] is None
    both = two(people, A, B)
    assert (both.verdict, both.told) == (Verdict.REVIEW, match.told)
    assert "a steward decides" in text_of(both, people.policy)
    people.decide("merge", "m1", f"{A} {B}")
    assert two(people, A, B).verdict is Verdict.ONE_PERSON


def test_a_split_is_named_where_it_keeps_apart_who_match() -> None:
    people = people_of(matching(), **{A: ANA, B: SLIPPED})
    people.decide("split", "s1", B)
    match = two(people, A, B)
    assert (match.verdict, match.reason) == (Verdict.KEPT_APART, "decision_s1")
    assert "kept apart: decision s1" in text_of(match, people.policy)


def test_a_shared_identifier_is_named_as_what_keeps_apart() -> None:
    people = people_of(matching(), **{A: ANA, C: SLIPPED})
    for number in range(6):
        people.touch(f"user_id:u{number} {C}")
    match = two(people, A, C)
    assert (match.verdict, match.reason) == (Verdict.KEPT_APART, "shared")


def test_strangers_are_told_how_far_they_are_apart_and_who_tells_nothing_has_no_weights() -> None:
    people = people_of(matching(), **{A: ANA, B: JOAO})
    match = two(people, A, B)
    assert (match.verdict, match.told) == (Verdict.BELOW_THRESHOLD, None)
    assert "less than review_above: 2" in text_of(match, people.policy)
    people.touch(C)
    assert why_match(people.evidence(A), people.evidence(C), (A, C), people.policy) is None
    unmatched = people_of(policy_of(), **{A: ANA, B: ANA})
    assert why_two(unmatched.evidence(A), unmatched.evidence(B), (A, B), unmatched.policy).match is None
    assert one(unmatched, A).to_json()["matches"] == []


def test_who_is_alike_but_only_by_a_key_of_too_many_is_told_that_nobody_compared_them() -> None:
    names = [A, B, C]
    people = people_of(matching(block_records_max=2), **dict.fromkeys(names, ANA))
    match = two(people, A, B)
    assert (match.verdict, match.told, match.meet) == (Verdict.NO_LIKELY_PAIR, None, True)
    assert "too many records have those" in text_of(match, people.policy)


def test_a_weight_of_before_a_correction_is_not_shown_as_the_present_one() -> None:
    people = people_of(matching(), **{A: ANA, B: SLIPPED})
    component = people.component(A)
    known = dict(component.matches)
    component.matches = {one: (edition, dict.fromkeys(edges, 9.5)) for one, (edition, edges) in known.items()}
    evidence = evidence_of(component, people.profiles(component), people.policy)
    match = why_match(evidence, evidence, (A, B), people.policy)
    assert match is not None
    assert (match.told, match.is_current) == (9.5, False)
    assert "the workers still hold +9.50" in text_of(match, people.policy)


@pytest.mark.parametrize("seed", range(30))
def test_what_is_said_of_every_pair_is_what_the_workers_have_made_of_it(seed: int) -> None:
    rng = random.Random(seed)
    touches = described(rng, random_touches(rng, rng.randrange(10, 50)))
    decisions = random_decisions(rng, touches, rng.choice([0, 3]))
    policy = policy_of(matching=matching_section(rng))
    cluster = Cluster(policy, seed=seed, size=1, start_ms=BEGIN_MS)
    for touch in shuffled_with_repetitions(rng, sent(touches, decisions)):
        cluster.accept(touch)
    cluster.settle()
    for component in cluster.partitions[0].components():
        if component.redirect:
            continue
        outputs = cluster.partitions[0].outputs
        outputs.outbox = Outbox()
        profiles: list[Profile] = outputs.profiles(component)
        evidence = evidence_of(component, profiles, policy)
        for match in why_matches(evidence, evidence.identifiers, policy):
            a, b = match.identifiers
            together = b in evidence.members(a)
            assert (match.verdict is Verdict.ONE_PERSON) == together
            assert match.is_current
            assert match.weight >= match.review_above
            assert list(lines_of_match(match, policy))
            if match.found is None:
                assert {a, b} - set(evidence.records)
                continue
            assert adds_up(match.found.pair)
            assert adds_up(match.found.clusters)
            weighed = round(match.found.clusters.total, 2)
            if match.verdict is Verdict.BELOW_THRESHOLD:
                assert weighed < match.merge_above <= match.weight
            if together and max(map(len, match.found.groups)) > 1:
                assert weighed >= match.merge_above
            if match.verdict is Verdict.REVIEW:
                assert match.weight < match.merge_above
            if match.verdict is Verdict.KEPT_APART:
                assert match.reason
