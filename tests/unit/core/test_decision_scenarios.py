"""Decisions of stewards and of a CRM as given/when/then tables, in every order of arrival.

A line is `minute action id identifiers` for a decision, and `minute identifiers` for a touchpoint; of one of
the CRM's, `minute contact_merged kept / merged`. All of it passes the intake, then several partitions of the
real resolver. `given` has come and is settled, `when` comes at once; `then` says who has how many touches.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import pytest

from pipeline.core import decisions
from pipeline.core.contact import KINDS, Contacts
from pipeline.core.decision_reader import DecisionReader, Told
from pipeline.core.decisions import Decision
from pipeline.core.messages import Decided
from pipeline.core.outbox import MembershipChange, ProfileAlias, Review
from pipeline.core.policy import Policy, read_policy
from pipeline.core.touch import Touch
from tests.support.decision_oracle import Ruled
from tests.support.laws import check_outputs, check_profiles, check_structure, profiles_of
from tests.support.memory import Cluster
from tests.support.scenarios import (
    MINUTE_MS,
    SEGMENTS,
    START_MS,
    cluster_of,
    given_and_when,
    in_every_order,
)
from tests.support.touchpoints import NOW_MS, reader_of

SHOP: Final = """
identifiers:
  user_id:      {limit: 1}
  email:        {limit: 2, normalise: email, shared_after: 2}
  device_id:    {limit: 3}
  anonymous_id: {limit: 5}
"""
OWNED: Final = SHOP.replace("device_id:    {limit: 3}", "device_id: {limit: 3, unique: newest}")
SLIDING: Final = """
identifiers:
  email:        {limit: 5, normalise: email}
  device_id:    {limit: {count: 2, within: 60m}}
  anonymous_id: {limit: 5}
"""
ONE_CPF: Final = SHOP + "cannot_link: {traits: [cpf]}\n"
ANA_ANN: Final = ["1 user_id:ana", "2 user_id:ann", "3 user_id:ann"]
CHAIN: Final = ["1 user_id:ana email:a@x.co", "2 email:a@x.co device_id:d", "3 device_id:d", "4 email:a@x.co"]
KIOSK: Final = ["1 user_id:u1 email:k@x.co", "2 user_id:u2 email:k@x.co", "3 user_id:u3 email:k@x.co"]


@dataclass(frozen=True)
class Case:
    """One table."""

    name: str
    given: list[str]
    when: list[str]
    then: dict[str, int]
    rules: str = SHOP


CASES: Final = [
    Case("a merge makes two people one, although a person has one user_id",
         given=ANA_ANN, when=["10 merge m1 user_id:ana user_id:ann"], then={"user_id:ana user_id:ann": 3}),
    Case("what comes later for either is of the one",
         given=ANA_ANN, when=["10 merge m1 user_id:ana user_id:ann", "11 user_id:ann device_id:d",
                              "12 device_id:d"],
         then={"user_id:ana user_id:ann device_id:d": 5}),
    Case("a third user_id still is somebody else",
         given=ANA_ANN, when=["10 merge m1 user_id:ana user_id:ann", "11 user_id:ann device_id:d",
                              "12 user_id:bia device_id:d"],
         then={"user_id:ana user_id:ann device_id:d": 4, "user_id:bia": 1}),
    Case("a merge names somebody who was not seen yet",
         given=["1 user_id:ana"], when=["10 merge m1 user_id:ana email:new@x.co", "11 email:new@x.co"],
         then={"user_id:ana email:new@x.co": 2}),
    Case("an undone merge never was",
         given=ANA_ANN, when=["10 merge m1 user_id:ana user_id:ann", "20 undo m1 user_id:ann"],
         then={"user_id:ana": 1, "user_id:ann": 2}),
    Case("an undo that comes before its decision",
         given=[*ANA_ANN, "20 undo m1 user_id:ann"], when=["10 merge m1 user_id:ana user_id:ann"],
         then={"user_id:ana": 1, "user_id:ann": 2}),
    Case("an undo of something else changes nothing",
         given=ANA_ANN, when=["10 merge m1 user_id:ana user_id:ann", "20 undo m2 user_id:ann"],
         then={"user_id:ana user_id:ann": 3}),
    Case("a merge against a trait that keeps people apart",
         given=["1 user_id:ana cpf=529.982.247-25", "2 user_id:ann cpf=11144477735"],
         when=["10 merge m1 user_id:ana user_id:ann", "11 user_id:ann device_id:d cpf=11144477735"],
         then={"user_id:ana user_id:ann device_id:d": 3}, rules=ONE_CPF),
    Case("a merge gives a unique value to the one that it names",
         given=["1 email:a@x.co device_id:tv", "9 email:b@x.co device_id:tv"],
         when=["10 merge m1 email:a@x.co device_id:tv"],
         then={"email:a@x.co device_id:tv": 1, "email:b@x.co": 1}, rules=OWNED),
    Case("a merge unites also with what is shared, which links nobody else",
         given=[*KIOSK, "4 email:k@x.co"], when=["10 merge m1 user_id:u2 email:k@x.co"],
         then={"user_id:u1": 1, "user_id:u2 email:k@x.co": 2, "user_id:u3": 1}),
    Case("a split parts a device from its person",
         given=CHAIN, when=["10 split s1 device_id:d"],
         then={"user_id:ana email:a@x.co": 3, "device_id:d": 1}),
    Case("a split of the bridge leaves three",
         given=CHAIN, when=["10 split s1 email:a@x.co"],
         then={"user_id:ana": 1, "email:a@x.co": 2, "device_id:d": 1}),
    Case("a split of two, which are one person then",
         given=[*CHAIN, "5 user_id:ana anonymous_id:a", "6 anonymous_id:a"],
         when=["10 split s1 device_id:d anonymous_id:a"],
         then={"user_id:ana email:a@x.co": 4, "device_id:d anonymous_id:a": 2}),
    Case("a split of the stronger side",
         given=CHAIN, when=["10 split s1 user_id:ana"],
         then={"user_id:ana": 1, "email:a@x.co device_id:d": 3}),
    Case("after a split no later link and no other path unites",
         given=CHAIN, when=["10 split s1 device_id:d", "11 user_id:ana device_id:d",
                            "12 email:a@x.co anonymous_id:n", "13 device_id:d anonymous_id:n"],
         then={"user_id:ana email:a@x.co anonymous_id:n": 5, "device_id:d": 2}),
    Case("what is seen first after a split joins either side",
         given=CHAIN, when=["10 split s1 device_id:d", "11 device_id:d anonymous_id:n", "12 anonymous_id:n",
                            "13 user_id:ana anonymous_id:m"],
         then={"user_id:ana email:a@x.co anonymous_id:m": 4, "device_id:d anonymous_id:n": 3}),
    Case("a late touch for what was split stays on its side",
         given=[*CHAIN, "10 split s1 device_id:d"], when=["3 user_id:ana device_id:d", "4 device_id:d"],
         then={"user_id:ana email:a@x.co": 4, "device_id:d": 2}),
    Case("a late touch tells that two were one before they were parted",
         given=["1 user_id:ana", "2 device_id:d", "10 split s1 device_id:d", "11 user_id:ana device_id:d"],
         when=["5 user_id:ana device_id:d"], then={"user_id:ana": 3, "device_id:d": 1}),
    Case("what a merge has put beyond a sliding limit is not held against others",
         given=["1 email:x@x.co device_id:a", "2 email:x@x.co device_id:b", "3 email:y@x.co device_id:c",
                "50 email:y@x.co device_id:c", "4 email:x@x.co anonymous_id:n",
                "60 merge m1 email:x@x.co device_id:a device_id:b device_id:c"],
         when=["90 email:z@x.co device_id:e", "91 email:z@x.co anonymous_id:n"],
         then={"email:x@x.co email:y@x.co email:z@x.co device_id:a device_id:b device_id:c device_id:e "
               "anonymous_id:n": 7}, rules=SLIDING),
    Case("an undone split never was",
         given=[*CHAIN, "10 split s1 device_id:d"], when=["20 undo s1 device_id:d"],
         then={"user_id:ana email:a@x.co device_id:d": 4}),
    Case("a merge after a split counts more",
         given=[*CHAIN, "10 split s1 device_id:d"], when=["20 merge m1 user_id:ana device_id:d"],
         then={"user_id:ana email:a@x.co device_id:d": 4}),
    Case("a split after a merge counts more",
         given=[*ANA_ANN, "10 merge m1 user_id:ana user_id:ann"], when=["20 split s1 user_id:ann"],
         then={"user_id:ana": 1, "user_id:ann": 2}),
    Case("the split undone, the merge before it counts again",
         given=[*ANA_ANN, "10 merge m1 user_id:ana user_id:ann", "20 split s1 user_id:ann"],
         when=["30 undo s1 user_id:ann"], then={"user_id:ana user_id:ann": 3}),
    Case("a decision that comes twice counts once",
         given=[*ANA_ANN, "10 merge m1 user_id:ana user_id:ann"],
         when=["10 merge m1 user_id:ana user_id:ann", "20 undo m1 user_id:ana", "20 undo m1 user_id:ana"],
         then={"user_id:ana": 1, "user_id:ann": 2}),
    Case("a CRM merges two contacts",
         given=ANA_ANN, when=["10 contact_merged user_id:ana / user_id:ann"],
         then={"user_id:ana user_id:ann": 4}),
    Case("a CRM names both among the identifiers: the first is kept",
         given=ANA_ANN, when=["10 contact_merged user_id:ann user_id:ana / "],
         then={"user_id:ana user_id:ann": 4}),
    Case("a CRM parts them again",
         given=[*ANA_ANN, "10 contact_merged user_id:ana / user_id:ann"],
         when=["20 contact_split user_id:ana / user_id:ann"], then={"user_id:ana": 3, "user_id:ann": 2}),
    Case("a CRM merges again after that",
         given=[*ANA_ANN, "10 contact_merged user_id:ana / user_id:ann",
                "20 contact_split user_id:ana / user_id:ann"],
         when=["30 contact_merged user_id:ana / user_id:ann"], then={"user_id:ana user_id:ann": 6}),
    Case("a steward is stronger than a CRM, also when the CRM comes later",
         given=[*ANA_ANN, "10 contact_merged user_id:ana / user_id:ann"],
         when=["20 split s1 user_id:ann", "30 contact_merged user_id:ana / user_id:ann"],
         then={"user_id:ana": 3, "user_id:ann": 2}),
    Case("a steward undoes what a CRM has decided",
         given=ANA_ANN, when=["10 contact_merged user_id:ana / user_id:ann",
                              "20 undo crm:10-contact_merged-user_id:ana user_id:ann"],
         then={"user_id:ana": 2, "user_id:ann": 2}),
]  # fmt: skip


def pairs(words: list[str]) -> list[dict[str, str]]:
    return [dict(zip(("type", "value"), word.split(":", 1), strict=True)) for word in words]


def read(line: str, rules: Policy) -> tuple[list[Touch], list[Decision]]:
    """What a line of the tables is after the intake: what is sent, and the decisions in it."""
    minute, *words = line.split()
    at_ms = NOW_MS + int(minute) * MINUTE_MS
    if words[0] in ("merge", "split", "undo"):
        document = {"decision_id": words[1], "action": words[0], "identifiers": pairs(words[2:]),
                    "by": "maria", "reason": "she said so"}  # fmt: skip
        told = DecisionReader(rules).read(None, json.dumps(document).encode(), at_ms, START_MS)
        assert isinstance(told, Told), told
        return told.touches(), [told.decision]
    kind = words.pop(0) if words[0] in KINDS else "page_viewed"
    kept, merged = " ".join(words).partition("/")[::2]
    touchpoint: dict[str, Any] = {
        "event_id": line if kind not in KINDS else f"{minute}-{kind}-{words[0]}",
        "source": "crm" if kind in KINDS else "web",
        "type": kind,
        "occurred_at": at_ms,
        "identifiers": pairs([word for word in kept.split() if ":" in word]),
        "traits": dict(word.split("=") for word in words if "=" in word),
        "properties": {"merged": pairs(merged.split())} if kind in KINDS else {},
    }
    touch = reader_of(rules).read(json.dumps(touchpoint).encode(), START_MS)
    assert isinstance(touch, Touch), touch
    if kind not in KINDS:
        return [touch], []
    decision = Contacts(rules).decision_in(touch)
    assert isinstance(decision, Decision), decision
    return [touch, *decision.touches()], [decision]


def ruled(decision: Decision) -> Ruled:
    """A decision as the oracle knows it."""
    return Ruled(decision.id, decision.action.value, decision.at_ms, decision.identifiers, decision.source,
                 decision.kept)  # fmt: skip


def check(cluster: Cluster, case: Case, sent: list[tuple[list[Touch], list[Decision]]]) -> None:
    """The table, the laws, the oracle."""
    found = profiles_of(cluster)
    groups = {" ".join(one["identifiers"]): sum(one["counters"].values()) for one in found}
    assert groups == case.then
    touches = [touch for sends, _ in sent for touch in sends if touch.type != "elo.decision"]
    decisions = [ruled(one) for _, decisions in sent for one in decisions]
    check_structure(cluster)
    check_profiles(cluster, touches, SEGMENTS, decisions)
    check_outputs(cluster)


@pytest.mark.parametrize("size", [1, 16])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_given_when_then(case: Case, size: int) -> None:
    rules = read_policy(case.rules)
    given, when = ([read(line, rules) for line in lines] for lines in (case.given, case.when))
    seen, coming = ([touch for touches, _ in sent for touch in touches] for sent in (given, when))
    check(given_and_when(rules, size, seen, coming), case, given + when)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_order_of_arrival_ends_the_same(case: Case) -> None:
    rules = read_policy(case.rules)
    sent = [read(line, rules) for line in case.given + case.when]
    for cluster in in_every_order(case.name, rules, [touch for touches, _ in sent for touch in touches]):
        check(cluster, case, sent)


def story(rules: Policy, *steps: str) -> list[list[str]]:
    """What is told at each step, in order: aliases and membership changes, profiles by their anchor."""
    cluster = cluster_of(rules, 3)
    told = []
    for step in steps:
        before = len(cluster.told)
        for touch in read(step, rules)[0]:
            cluster.accept(touch)
        cluster.settle()
        names = {
            pid: entry.anchor
            for partition in cluster.partitions
            for component in partition.components()
            for pid, entry in component.entries.items()
        } | {"": "itself"}
        lines = []
        for one in cluster.told[before:]:
            said = one.output
            if isinstance(said, ProfileAlias):
                heir = names[said.profile_id]
                lines.append(f"{names[said.old_profile_id]} is {heir}, {said.cause}, {said.edge}")
            elif isinstance(said, MembershipChange) and said.segment_id == "viewed":
                name = names[said.profile_id]
                lines.append(
                    f"{name} {said.change} {said.sequence}, {said.cause}, {','.join(said.event_ids)}"
                )
        told.append(lines)
    check_outputs(cluster)
    return told


def test_what_consumers_hear_of_a_merge_and_its_undo() -> None:
    rules = read_policy(SHOP)
    told = story(rules, "1 user_id:ana", "2 user_id:ann", "10 merge m1 user_id:ana user_id:ann",
                 "20 undo m1 user_id:ana", "30 merge m2 user_id:ann user_id:ana")  # fmt: skip
    assert told[2:] == [
        ["user_id:ann is user_id:ana, merge, decision:m1", "user_id:ann exited 2, merge, decision:m1"],
        ["user_id:ann is itself, unmerge, undo:m1", "user_id:ann entered 3, unmerge, undo:m1,2 user_id:ann"],
        ["user_id:ann is user_id:ana, merge, decision:m2", "user_id:ann exited 4, merge, decision:m2"],
    ]


def test_what_consumers_hear_of_a_split_and_its_undo() -> None:
    rules = read_policy(SHOP)
    told = story(rules, "1 user_id:ana device_id:d", "2 device_id:d", "10 split s1 device_id:d",
                 "11 user_id:ana", "20 undo s1 device_id:d")  # fmt: skip
    assert told[2:] == [
        ["device_id:d entered 1, unmerge, decision:s1,2 device_id:d"],
        [],
        ["device_id:d is user_id:ana, merge, undo:s1", "device_id:d exited 2, merge, undo:s1"],
    ]


def test_a_split_of_people_who_were_separate_before_gives_the_old_id_back() -> None:
    rules = read_policy(SHOP)
    told = story(
        rules, "1 user_id:ana", "2 device_id:d", "3 user_id:ana device_id:d", "10 split s1 device_id:d"
    )
    assert told[3] == [
        "device_id:d is itself, unmerge, decision:s1",
        "device_id:d entered 3, unmerge, decision:s1,2 device_id:d",
    ]


def test_decisions_that_come_ahead_of_their_merge_show_nothing_by_themselves() -> None:
    rules = read_policy(SHOP)
    cluster = cluster_of(rules, 1)
    for line in CHAIN:
        cluster.accept(read(line, rules)[0][0])
        cluster.settle()
    (split,) = read("10 split s1 device_id:d", rules)[1]
    cluster.accept(read("11 user_id:ana", rules)[0][0])
    cluster.run(1)  # A snapshot is to be published.
    told = len(cluster.told)
    cluster.deliver([("user_id:ana", Decided({split.name: split.row()}))])
    cluster.settle()
    assert cluster.told[told:] == []
    cluster.advance(cluster.now_ms + rules.link_wait_ms)
    groups = sorted(one["identifiers"] for one in profiles_of(cluster))
    assert groups == [["device_id:d"], ["user_id:ana", "email:a@x.co"]]
    check_outputs(cluster)


def test_a_component_with_too_many_decisions_takes_no_more_but_undoes_what_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decisions, "DECISIONS_MAX", 2)
    rules = read_policy(SHOP)
    cluster = cluster_of(rules, 1)
    for line in ["1 user_id:ana device_id:d", "10 split s1 device_id:d", "11 split s2 device_id:d",
                 "12 merge m1 user_id:ana device_id:d", "20 undo s9 device_id:d"]:  # fmt: skip
        for touch in read(line, rules)[0]:
            cluster.accept(touch)
        cluster.settle()
    reviews = [one.output for one in cluster.told if isinstance(one.output, Review)]
    assert [one.detail.rpartition(" ")[2] for one in reviews] == ["m1", "s9"]
    (component,) = [one for one in cluster.partitions[0].components() if not one.redirect]
    assert set(component.decisions) == {"decision:s1", "decision:s2"}
    for line in ("21 undo s1 device_id:d", "22 undo s2 device_id:d"):
        cluster.accept(read(line, rules)[0][0])
    cluster.settle()
    assert [one["identifiers"] for one in profiles_of(cluster)] == [["user_id:ana", "device_id:d"]]
