"""The known cases of identity in the field, as given/when/then tables, in every order of arrival.

A line is one touchpoint: minute, source if it is not the web, identifiers `type:value`, traits `name=value`.
The same line twice is the same event twice. It passes the intake, then several partitions of the real
resolver. What comes out is compared with the table, and with the oracle. An identifier with 0 touches was
only seen beside others that it does not belong to: it is nobody yet.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline.core.policy import Policy, read_policy
from pipeline.core.touch import Touch
from tests.support.laws import check_outputs, check_profiles, check_structure, profiles_of
from tests.support.memory import Cluster
from tests.support.scenarios import MINUTE_MS, SEGMENTS, START_MS, given_and_when, in_every_order
from tests.support.touchpoints import NOW_MS, reader_of

SHOP = """
identifiers:
  user_id:      {limit: 1}
  email:        {limit: 2, normalise: email, shared_after: 5}
  device_id:    {limit: 3}
  anonymous_id: {limit: 5}
blocked: {values: ["null", anonymous], patterns: ["^test-"]}
"""
MOVING = SHOP.replace("device_id:    {limit: 3}", "device_id: {limit: 3, on_conflict: move}")
SHARED = SHOP.replace("device_id:    {limit: 3}", "device_id: {limit: 3, shared_after: 1}")
SLIDING = SHOP.replace("device_id:    {limit: 3}", "device_id: {limit: {count: 2, within: 60m}}")
OWNED = SHOP.replace("device_id:    {limit: 3}", "device_id: {limit: 3, unique: newest}")
CUSTOMERS = """
identifiers:
  user_id: {limit: 1}
  email:   {limit: 1, normalise: email}
  crm_id:  {limit: 1, unique: newest}
"""
FIRST_CUSTOMER = CUSTOMERS.replace("newest", "oldest")
TWO_CUSTOMERS = CUSTOMERS.replace("crm_id:  {limit: 1,", "crm_id: {limit: 2,")
ONE_CPF = SHOP + "cannot_link: {traits: [cpf, birth_date]}\n"
TWO_WORLDS = SHOP + "namespaces: {crm: [user_id]}\n"


@dataclass(frozen=True)
class Case:
    """`given` has come and is settled, `when` comes at once; `then` says who has how many touches."""

    name: str
    given: list[str]
    when: list[str]
    then: dict[str, int]
    rules: str = SHOP
    traits: dict[str, dict[str, Any]] = field(default_factory=dict)
    rejected: list[str] = field(default_factory=list)


CASES = [
    Case("both ids are new",
         given=[], when=["1 user_id:ana anonymous_id:a"], then={"user_id:ana anonymous_id:a": 1}),
    Case("one is known, the stronger",
         given=["1 user_id:ana"], when=["2 user_id:ana anonymous_id:a"],
         then={"user_id:ana anonymous_id:a": 2}),
    Case("one is known, the weaker",
         given=["1 anonymous_id:a"], when=["2 user_id:ana anonymous_id:a"],
         then={"user_id:ana anonymous_id:a": 2}),
    Case("both are unidentified: of a property the newer value shows, by the time of the event",
         given=["9 anonymous_id:a city=Lisbon", "5 anonymous_id:b city=Madrid plan=pro"],
         when=["10 anonymous_id:a anonymous_id:b"],
         then={"anonymous_id:a anonymous_id:b": 3},
         traits={"anonymous_id:a anonymous_id:b": {"city": "Lisbon", "plan": "pro"}}),
    Case("the source is already identified: whose it is, it stays",
         given=["1 user_id:ana anonymous_id:a"], when=["2 user_id:bia anonymous_id:a"],
         then={"user_id:ana anonymous_id:a": 1, "user_id:bia": 1}),
    Case("illegal ids are left out, what is legal counts",
         given=[], when=["1 user_id:null email:no-mail device_id:test-7 anonymous_id:a",
                         "2 user_id:Anonymous anonymous_id:a"],
         then={"anonymous_id:a": 2}),
    Case("an event with illegal ids only is rejected",
         given=["1 anonymous_id:a"], when=["2 user_id:null device_id:TEST-1"], then={"anonymous_id:a": 1},
         rejected=["no_usable_identifier"]),
    Case("merging an id with itself changes nothing",
         given=["1 user_id:ana"], when=["2 user_id:ana user_id:ana", "3 email:a@x.co email:A@X.CO"],
         then={"user_id:ana": 2, "email:a@x.co": 1}),
    Case("an id is created concurrently",
         given=[], when=["1 user_id:ana device_id:d", "1 email:a@x.co device_id:d", "1 device_id:d",
                         "1 device_id:d anonymous_id:a"],
         then={"user_id:ana email:a@x.co device_id:d anonymous_id:a": 4}),
    Case("A to B and B to C",
         given=[], when=["1 email:a@x.co device_id:b", "2 device_id:b anonymous_id:c", "3 anonymous_id:c"],
         then={"email:a@x.co device_id:b anonymous_id:c": 3}),
    Case("a merge is replayed",
         given=["1 anonymous_id:a", "2 user_id:ana", "3 user_id:ana anonymous_id:a"],
         when=["3 user_id:ana anonymous_id:a", "3 user_id:ana anonymous_id:a"],
         then={"user_id:ana anonymous_id:a": 3}),
    Case("a straggler for a merged-away id",
         given=["5 anonymous_id:a", "6 user_id:ana", "7 user_id:ana anonymous_id:a"],
         when=["1 anonymous_id:a", "9 anonymous_id:a"], then={"user_id:ana anonymous_id:a": 5}),
    Case("user_id has limit 1 and an e-mail is shared by two: it is the first one's",
         given=["1 user_id:ana email:home@x.co"], when=["2 user_id:bia email:home@x.co", "3 email:home@x.co"],
         then={"user_id:ana email:home@x.co": 2, "user_id:bia": 1}),
    Case("an e-mail of six people is nobody's",
         given=[f"{at} user_id:u{at} email:desk@x.co" for at in range(1, 4)],
         when=[f"{at} user_id:u{at} email:desk@x.co" for at in range(4, 7)] + ["9 email:desk@x.co"],
         then={**{f"user_id:u{at}": 1 for at in range(1, 7)}, "email:desk@x.co": 1}),
    Case("a unique CRM id moves between people",
         given=["1 crm user_id:ana crm_id:9", "2 crm crm_id:9"], when=["5 crm user_id:bia crm_id:9"],
         then={"user_id:ana": 1, "user_id:bia crm_id:9": 2}, rules=CUSTOMERS),
    Case("a unique CRM id that the oldest link keeps does not move",
         given=["1 crm user_id:ana crm_id:9", "2 crm crm_id:9"], when=["5 crm user_id:bia crm_id:9"],
         then={"user_id:ana crm_id:9": 2, "user_id:bia": 1}, rules=FIRST_CUSTOMER),
    Case("a unique CRM id does not make two addresses one person",
         given=["1 crm email:ana@x.co crm_id:9"], when=["5 crm email:bia@x.co crm_id:9"],
         then={"email:ana@x.co": 1, "email:bia@x.co crm_id:9": 1}, rules=CUSTOMERS),
    Case("a unique CRM id that moves back: the link that was seen last counts",
         given=["1 crm user_id:ana crm_id:9", "5 crm user_id:bia crm_id:9"],
         when=["7 crm user_id:ana crm_id:9"],
         then={"user_id:ana crm_id:9": 2, "user_id:bia": 1}, rules=CUSTOMERS),
    Case("two CRM ids in one event, of which a person has one: it cannot say whose it is",
         given=["1 crm user_id:ana crm_id:9"], when=["2 crm user_id:ana crm_id:9 crm_id:10"],
         then={"user_id:ana crm_id:9": 1}, rules=CUSTOMERS, rejected=["conflicting_identifiers"]),
    Case("two CRM ids in one event, of which a person may have two",
         given=["1 crm user_id:ana crm_id:9"], when=["2 crm user_id:ana crm_id:9 crm_id:10"],
         then={"user_id:ana crm_id:10 crm_id:9": 2}, rules=TWO_CUSTOMERS),
    Case("three anonymous visits, then a login",
         given=["1 anonymous_id:a", "2 anonymous_id:b", "3 anonymous_id:c"],
         when=["4 user_id:ana anonymous_id:a anonymous_id:b anonymous_id:c"],
         then={"user_id:ana anonymous_id:a anonymous_id:b anonymous_id:c": 4}),
    Case("three anonymous visits on one device, then a login",
         given=["1 device_id:d anonymous_id:a", "2 device_id:d anonymous_id:b",
                "3 device_id:d anonymous_id:c"],
         when=["4 user_id:ana device_id:d"],
         then={"user_id:ana device_id:d anonymous_id:a anonymous_id:b anonymous_id:c": 4}),
    Case("a shared tablet of two people, then anonymous again: keep, it is the first one's",
         given=["1 device_id:t", "2 user_id:ana device_id:t", "3 user_id:bia device_id:t"],
         when=["4 device_id:t"], then={"user_id:ana device_id:t": 3, "user_id:bia": 1}),
    Case("a shared tablet of two people, then anonymous again: move, it is the last one's",
         given=["1 device_id:t", "2 user_id:ana device_id:t", "3 user_id:bia device_id:t"],
         when=["4 device_id:t"], then={"user_id:ana": 1, "user_id:bia device_id:t": 3}, rules=MOVING),
    Case("a shared tablet of two people, then anonymous again: shared, it is nobody's",
         given=["1 device_id:t", "2 user_id:ana device_id:t", "3 user_id:bia device_id:t"],
         when=["4 device_id:t"], then={"user_id:ana": 1, "user_id:bia": 1, "device_id:t": 2}, rules=SHARED),
    Case("a login that comes late does not move the tablet back",
         given=["2 user_id:ana device_id:t", "4 user_id:bia device_id:t"], when=["3 user_id:ana device_id:t"],
         then={"user_id:ana": 2, "user_id:bia device_id:t": 1}, rules=MOVING),
    Case("a login on somebody else's device keeps the rest of what it brings",
         given=["1 user_id:ana device_id:d"],
         when=["2 user_id:bia email:b@x.co device_id:d anonymous_id:b"],
         then={"user_id:ana device_id:d": 1, "user_id:bia email:b@x.co anonymous_id:b": 1}),
    Case("what was refused finds its place by another link",
         given=["1 user_id:ana email:a@x.co", "1 user_id:bia", "2 user_id:bia email:a@x.co device_id:d"],
         when=["3 email:a@x.co anonymous_id:a", "4 device_id:d anonymous_id:b"],
         then={"user_id:ana email:a@x.co anonymous_id:a": 2, "user_id:bia device_id:d anonymous_id:b": 3}),
    Case("the third device within an hour is not taken for the same person's",
         given=["1 user_id:ana device_id:a", "2 user_id:ana device_id:b"],
         when=["60 user_id:ana device_id:c"],
         then={"user_id:ana device_id:a device_id:b": 3, "device_id:c": 0}, rules=SLIDING),
    Case("a third device after an hour of the first is",
         given=["1 user_id:ana device_id:a", "2 user_id:ana device_id:b"],
         when=["61 user_id:ana device_id:c"],
         then={"user_id:ana device_id:a device_id:b device_id:c": 3}, rules=SLIDING),
    Case("unless the first is used again meanwhile",
         given=["1 user_id:ana device_id:a", "2 user_id:ana device_id:b", "61 user_id:ana device_id:c"],
         when=["30 user_id:ana device_id:a"],
         then={"user_id:ana device_id:a device_id:b": 4, "device_id:c": 0}, rules=SLIDING),
    Case("a device of a household belongs to who used it last, and joins nobody",
         given=["1 email:ana@x.co device_id:tv", "2 email:bia@x.co device_id:tv"],
         when=["3 device_id:tv anonymous_id:a"],
         then={"email:ana@x.co": 1, "email:bia@x.co device_id:tv anonymous_id:a": 2}, rules=OWNED),
    Case("two CPFs behind one e-mail are two people",
         given=["1 crm user_id:ana email:home@x.co cpf=529.982.247-25"],
         when=["2 crm email:home@x.co cpf=11144477735"],
         then={"user_id:ana": 1, "email:home@x.co": 1}, rules=ONE_CPF),
    Case("one CPF in two spellings is one person",
         given=["1 crm user_id:ana email:home@x.co cpf=529.982.247-25"],
         when=["2 crm email:home@x.co cpf=52998224725"],
         then={"user_id:ana email:home@x.co": 2}, rules=ONE_CPF),
    Case("a birth date that is told later separates what was one profile",
         given=["1 user_id:ana device_id:d birth_date=1990-01-31", "2 device_id:d"],
         when=["3 device_id:d birth_date=2012-05-01"],
         then={"user_id:ana": 1, "device_id:d": 2}, rules=ONE_CPF),
    Case("a birth date that is corrected joins what was separate",
         given=["1 user_id:ana device_id:d birth_date=1990-01-31", "2 device_id:d birth_date=2012-05-01"],
         when=["3 device_id:d birth_date=1990-01-31"],
         then={"user_id:ana device_id:d": 3}, rules=ONE_CPF),
    Case("the user 17 of the CRM is not the user 17 of the web",
         given=["1 user_id:17 email:ana@x.co"], when=["2 crm user_id:17 email:bia@x.co"],
         then={"user_id:17 email:ana@x.co": 1, "crm.user_id:17 email:bia@x.co": 1}, rules=TWO_WORLDS),
    Case("the user 17 of the CRM and a user of the web meet in an e-mail",
         given=["1 user_id:5 email:ana@x.co"], when=["2 crm user_id:17 email:ana@x.co"],
         then={"user_id:5 crm.user_id:17 email:ana@x.co": 2}, rules=TWO_WORLDS),
]  # fmt: skip


def read(line: str, rules: Policy) -> Touch | str:
    """A line of the tables after the intake; the reason if it is rejected."""
    minute, *words = line.split()
    pairs = [word.split(":") for word in words if ":" in word]
    touchpoint = {
        "event_id": line,
        "source": "crm" if "crm" in words else "web",
        "type": "page_viewed",
        "occurred_at": NOW_MS + int(minute) * MINUTE_MS,
        "identifiers": [{"type": kind, "value": value} for kind, value in pairs],
        "traits": dict(word.split("=") for word in words if "=" in word),
    }
    answer = reader_of(rules).read(json.dumps(touchpoint).encode(), START_MS)
    return answer if isinstance(answer, Touch) else str(answer.reason)


def check(cluster: Cluster, case: Case, touches: list[Touch]) -> None:
    """The table, the laws, the oracle."""
    found = profiles_of(cluster)
    groups = {" ".join(one["identifiers"]): sum(one["counters"].values()) for one in found}
    assert groups == {group: count for group, count in case.then.items() if count}
    for group, traits in case.traits.items():
        assert [one["traits"] for one in found if " ".join(one["identifiers"]) == group] == [traits]
    check_structure(cluster)
    check_profiles(cluster, touches, SEGMENTS)
    check_outputs(cluster)


@pytest.mark.parametrize("size", [1, 16])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_given_when_then(case: Case, size: int) -> None:
    rules = read_policy(case.rules)
    given, when = ([read(line, rules) for line in lines] for lines in (case.given, case.when))
    seen, coming = ([one for one in read if isinstance(one, Touch)] for read in (given, when))
    assert len(seen) == len(given)
    assert [one for one in when if isinstance(one, str)] == case.rejected
    check(given_and_when(rules, size, seen, coming), case, seen + coming)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_order_of_arrival_ends_the_same(case: Case) -> None:
    rules = read_policy(case.rules)
    lines = [read(line, rules) for line in case.given + case.when]
    touches = [one for one in lines if isinstance(one, Touch)]
    for cluster in in_every_order(case.name, rules, touches):
        check(cluster, case, touches)
