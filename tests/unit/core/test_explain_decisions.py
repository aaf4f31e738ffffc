"""Decisions in explanations: as edges that unite, as reasons that part, and what undoing them would do."""

from __future__ import annotations

from pipeline.core.explain import WhyTwo, reason_in_words, why_one, why_two
from pipeline.core.export import export_person
from tests.support.evidence import START_MS, People, shipped_policy


def two(people: People, a: str, b: str) -> WhyTwo:
    return why_two(people.evidence(a), people.evidence(b), (a, b), people.policy)


def test_a_merge_is_a_step_of_the_path_and_shown_with_who_and_why() -> None:
    people = People(shipped_policy(), ["user_id:ana device_id:d", "user_id:ann"])
    people.decide("merge", "m1", "user_id:ana user_id:ann")
    answer = two(people, "device_id:d", "user_id:ann")
    assert answer.one_profile
    link, decided = (step.to_json() for step in answer.path or ())
    assert "decision" not in link
    assert (decided["from"], decided["to"], decided["touches"], decided["refused"]) == (
        "user_id:ana", "user_id:ann", 0, None,
    )  # fmt: skip
    assert decided["decision"] == {
        "decision_id": "m1", "action": "merge", "source": "steward", "by": "maria", "reason": "a test",
        "identifiers": ["user_id:ana", "user_id:ann"], "decided_at": "2025-10-09T09:53:20.000Z",
    }  # fmt: skip
    assert answer.would_change == (
        "without the link between device_id:d and user_id:ana they would be two profiles",
        "without decision m1 they would be two profiles",
    )
    assert [one["decision_id"] for one in answer.to_json()["decisions"]] == ["m1"]


def test_a_split_is_the_reason_of_the_link_that_it_cuts() -> None:
    people = People(shipped_policy(), ["user_id:ana device_id:d", "device_id:d"])
    people.decide("split", "s_1", "device_id:d")
    answer = two(people, "user_id:ana", "device_id:d")
    assert not answer.one_profile
    assert [step.edge.reason for step in answer.path or ()] == ["decision_s_1"]
    (sentence,) = answer.would_change
    assert sentence.startswith("decision s_1 of maria keeps user_id:ana and device_id:d apart: a test; if it")
    assert reason_in_words("decision_s_1", people.policy) == "decision s_1"
    alone = why_one(people.evidence("device_id:d"), "device_id:d", people.policy)
    assert [edge.reason for edge in alone.refused] == ["decision_s_1"]
    assert [one.id for one in alone.decisions] == ["s_1"]


def test_a_link_that_is_not_there_yet_would_be_refused_by_a_split() -> None:
    people = People(shipped_policy(), ["user_id:ana device_id:d", "user_id:ana device_id:e", "device_id:d"])
    people.decide("split", "s1", "device_id:d")
    people.touch("device_id:e anonymous_id:n", later_ms=7_200_000)
    answer = two(people, "device_id:d", "anonymous_id:n")
    assert [step.edge.reason for step in answer.path or ()] == ["decision_s1", "", ""]


def test_what_is_undone_is_not_shown() -> None:
    people = People(shipped_policy(), ["user_id:ana", "user_id:ann"])
    people.decide("merge", "m1", "user_id:ana user_id:ann")
    people.decide("undo", "m1", "user_id:ann")
    answer = two(people, "user_id:ana", "user_id:ann")
    assert (answer.one_profile, answer.path, answer.decisions) == (False, None, ())
    assert people.evidence("user_id:ana").root == people.evidence("user_id:ann").root


def test_an_export_tells_what_was_decided_but_not_by_whom_nor_about_whom_else() -> None:
    people = People(shipped_policy(), ["user_id:ana device_id:d", "device_id:d"])
    ruled = people.decide("split", "s1", "device_id:d")
    component, evidence = people.component("device_id:d"), people.evidence("device_id:d")
    profile = evidence.profiles["device_id:d"]
    document = export_person(component, profile, evidence, [*people.touches, *ruled.touches()], START_MS)
    assert document["decisions"] == [
        {"decision_id": "s1", "action": "split", "source": "steward", "reason": "a test",
         "decided_at": "2025-10-09T09:53:20.000Z", "identifiers_of_others": 0,
         "identifiers": [{"type": "device_id", "value": "d"}]},
    ]  # fmt: skip
    assert (document["links"], document["links_to_others"]) == ([], 1)
    assert {one["type"] for one in document["history"]} == {"page_viewed"}
