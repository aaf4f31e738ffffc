"""The known cases of identity resolution as given/when/then tables, on one partition and on sixteen."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import pytest

from pipeline.core.outbox import MembershipChange, ProfileAlias
from pipeline.core.policy import Policy, parse_policy
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch
from tests.support.laws import check_outputs, check_profiles, check_structure, profiles_of
from tests.support.memory import Chaos, Cluster
from tests.support.touchpoints import GOOD, NOW_MS, reader_of, shipped_policy

HOUR_MS = 3_600_000
EVERYBODY = {"id": "everybody", "where": {"none": [{"trait": "nobody", "exists": True}]}}
VIEWED = {"id": "viewed", "where": {"event": "product_viewed", "within": "7d"}}
BOUGHT = {"id": "bought", "where": {"event": "order_completed"}}
DEFINITIONS = [EVERYBODY, VIEWED, BOUGHT]


def seen(identifiers: str, at: int = 0, event: str = "page_viewed", **traits: Any) -> Touch:
    """A touch: identifiers strongest first, minutes after the start, traits."""
    name = f"{event} {identifiers} {at}"
    return Touch(name, "web", event, NOW_MS + at * 60_000, identifiers.split(), json.dumps(traits))


def policy(moves: bool = False) -> Policy:
    """A policy with short names: `u` and `k` are strong, `e` an e-mail, `d` a device, `a` anonymous."""
    return parse_policy({
        "identifiers": {
            "u": {"limit": 1}, "k": {"limit": 1}, "e": {"limit": 2, "normalise": "email", "shared_after": 5},
            "d": {"limit": 2, "on_conflict": "move" if moves else "keep"}, "a": {"limit": 4},
        }
    })  # fmt: skip


@dataclass(frozen=True)
class Case:
    """`given` is there, `when` comes; then the groups of identifiers have so many touches, and so many
    aliases.
    """

    name: str
    given: list[Touch]
    when: list[Touch]
    then: dict[str, int]
    aliases: int = 0
    moves: bool = False
    traits: dict[str, dict[str, Any]] = field(default_factory=dict)


CASES = [
    Case("both identifiers are new", [], [seen("u:1 a:1")], {"u:1 a:1": 1}),
    Case("the stronger one is known", [seen("u:1")], [seen("u:1 a:1", 1)], {"u:1 a:1": 2}),
    Case("the weaker one is known", [seen("a:1")], [seen("u:1 a:1", 1)], {"u:1 a:1": 2}),
    Case("both are known, as two profiles", [seen("a:1"), seen("u:1", 1)], [seen("u:1 a:1", 2)],
         {"u:1 a:1": 3}, aliases=1),
    Case("both are known, as one profile", [seen("u:1 a:1")], [seen("u:1 a:1", 1)], {"u:1 a:1": 2}),
    Case("a merge comes again", [seen("a:1"), seen("u:1", 1), seen("u:1 a:1", 2)], [seen("u:1 a:1", 2)],
         {"u:1 a:1": 3}, aliases=1),
    Case("a straggler for a merged-away identifier", [seen("a:1", 5), seen("u:1", 6), seen("u:1 a:1", 7)],
         [seen("a:1", 1), seen("a:1", 9)], {"u:1 a:1": 5}, aliases=1),
    Case("both unidentified: the newer trait shows, however late the older comes",
         [seen("a:1", 9, city="Lisbon"), seen("a:2", 5, city="Madrid", plan="pro")], [seen("a:1 a:2", 10)],
         {"a:1 a:2": 3}, aliases=1, traits={"a:1 a:2": {"city": "Lisbon", "plan": "pro"}}),
    Case("two profiles and one e-mail: the user id has limit 1", [seen("u:1 e:x")], [seen("u:2 e:x", 1)],
         {"u:1 e:x": 1, "u:2": 1}),
    Case("the e-mail stays with who had it first by event time, not by arrival",
         [seen("u:1 e:x", 5)], [seen("u:2 e:x", 1)], {"u:1": 1, "u:2 e:x": 1}),
    Case("three anonymous visits, then a login", [seen("a:1"), seen("a:2", 1), seen("a:3", 2)],
         [seen("u:1 a:1 a:2 a:3", 3)], {"u:1 a:1 a:2 a:3": 4}, aliases=2),
    Case("three anonymous visits, then logins one by one", [seen("a:1"), seen("a:2", 1), seen("a:3", 2)],
         [seen("u:1 a:3", 3), seen("u:1 a:2", 4), seen("u:1 a:1", 5)], {"u:1 a:1 a:2 a:3": 6}, aliases=2),
    Case("a tablet of two people, kept: it stays with the first, also what is anonymous on it",
         [seen("d:t", 1), seen("u:1 d:t", 2), seen("u:2 d:t", 3)], [seen("d:t", 4)],
         {"u:1 d:t": 3, "u:2": 1}),
    Case("a tablet of two people, moved: it goes to the last, also what is anonymous on it",
         [seen("d:t", 1), seen("u:1 d:t", 2), seen("u:2 d:t", 3)], [seen("d:t", 4)], {"u:1": 1, "u:2 d:t": 3},
         aliases=0, moves=True),
    Case("a tablet of two people, moved back", [seen("u:1 d:t", 2), seen("u:2 d:t", 3)], [seen("u:1 d:t", 4)],
         {"u:1 d:t": 2, "u:2": 1}, moves=True),
    Case("a third device is over the limit and stays alone", [seen("u:1 d:1"), seen("u:1 d:2", 1)],
         [seen("u:1 d:3", 2), seen("d:3", 3)], {"u:1 d:1 d:2": 3, "d:3": 1}),
    Case("two strong types agree", [seen("u:1 e:x")], [seen("k:9 e:x", 1)], {"u:1 k:9 e:x": 2}),
    Case("two strong types in one touch link the weaker ones too",
         [seen("u:1 k:9 e:x")], [seen("k:9 e:y", 1)], {"u:1 k:9 e:x e:y": 2}),
]  # fmt: skip


def play(case: Case, size: int) -> Cluster:
    cluster = Cluster(
        policy(case.moves), map(definition_from_json, DEFINITIONS), size=size, start_ms=NOW_MS + HOUR_MS,
        chaos=Chaos(batch_max=3),
    )  # fmt: skip
    for touch in case.given:
        cluster.accept(touch)
        cluster.settle()
    for touch in case.when:
        cluster.accept(touch)
    cluster.settle()
    return cluster


@pytest.mark.parametrize("size", [1, 16])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_known_cases(case: Case, size: int) -> None:
    cluster = play(case, size)
    found = profiles_of(cluster)
    groups = {" ".join(one["identifiers"]): sum(one["counters"].values()) for one in found}
    assert groups == case.then
    assert sum(len(one["aliases"]) for one in found) == case.aliases
    for group, traits in case.traits.items():
        assert [one["traits"] for one in found if " ".join(one["identifiers"]) == group] == [traits]
    check_structure(cluster)
    check_profiles(cluster, case.given + case.when, DEFINITIONS)
    check_outputs(cluster)


@pytest.mark.parametrize("size", [1, 16])
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_a_to_b_and_b_to_c_come_in_any_order(order: tuple[int, ...], size: int) -> None:
    touches = [seen("e:a d:b", 1), seen("d:b a:c", 2), seen("a:c", 3)]
    cluster = Cluster(policy(), size=size, start_ms=NOW_MS + HOUR_MS)
    for at in order:
        cluster.accept(touches[at])
        cluster.settle()
    assert [one["identifiers"] for one in profiles_of(cluster)] == [["e:a", "d:b", "a:c"]]
    check_profiles(cluster, touches)
    check_outputs(cluster)


@pytest.mark.parametrize("seed", range(10))
def test_an_identifier_that_is_claimed_by_many_at_once_makes_one_profile(seed: int) -> None:
    touches = [seen("u:1 d:x"), seen("e:1 d:x", 1), seen("a:1 a:2", 2), seen("d:x a:1", 3), seen("d:x", 4)]
    cluster = Cluster(policy(), size=16, seed=seed, start_ms=NOW_MS + HOUR_MS, chaos=Chaos(delay_ms=100))
    for touch in touches:
        cluster.accept(touch)
    cluster.settle()
    assert [one["identifiers"] for one in profiles_of(cluster)] == [["u:1", "e:1", "d:x", "a:1", "a:2"]]
    check_profiles(cluster, touches)
    check_outputs(cluster)


@pytest.mark.parametrize("seed", range(10))
def test_a_kiosk_email_of_six_people_is_shared_and_gives_the_same_profiles_in_any_order(seed: int) -> None:
    touches = [seen(f"u:{n} e:kiosk a:{n}", n) for n in range(6)] + [
        seen("e:kiosk", 9),
        seen("e:kiosk a:9", 10),
    ]
    cluster = Cluster(policy(), size=16, seed=seed, start_ms=NOW_MS + HOUR_MS, chaos=Chaos(delay_ms=seed % 3))
    for touch in cluster.rng.sample(touches, k=len(touches)):
        cluster.accept(touch)
        cluster.run(cluster.rng.randrange(9))
    cluster.settle()
    groups = {" ".join(one["identifiers"]): sum(one["counters"].values()) for one in profiles_of(cluster)}
    assert groups == {**{f"u:{n} a:{n}": 1 for n in range(6)}, "e:kiosk": 2}
    check_structure(cluster)
    check_profiles(cluster, touches)
    check_outputs(cluster)


def test_a_shared_email_claims_nobody_any_more_so_its_component_does_not_grow() -> None:
    cluster = Cluster(policy(), size=4, start_ms=NOW_MS + HOUR_MS)
    for touch in [seen(f"u:{n} e:kiosk", n) for n in range(6)]:
        cluster.accept(touch)
    cluster.settle()
    for n in range(50):
        cluster.accept(seen(f"e:kiosk a:{n}", 10 + n))
    cluster.settle()
    sizes = [len(one.identifiers) for partition in cluster.partitions for one in partition.components()]
    assert max(sizes) <= 7


def test_blocked_and_illegal_values_never_reach_a_profile() -> None:
    """Half of the case is the intake's: what it lets through is all that the resolver sees."""
    reader = reader_of(shipped_policy())
    values = {"user_id": "null", "email": "no mail", "device_id": " [object Object] ", "anonymous_id": "a1"}
    identifiers = [{"type": kind, "value": value} for kind, value in values.items()]
    touch = reader.read(json.dumps(GOOD | {"identifiers": identifiers, "event_id": "x"}).encode(), NOW_MS)
    assert isinstance(touch, Touch)
    cluster = Cluster(shipped_policy(), size=4, start_ms=NOW_MS)
    cluster.accept(touch)
    cluster.settle()
    assert [one["identifiers"] for one in profiles_of(cluster)] == [["anonymous_id:a1"]]


@pytest.mark.parametrize("size", [1, 16])
def test_a_merge_continues_the_survivors_memberships_and_ends_those_of_the_merged_away_profile(
    size: int,
) -> None:
    given = [seen("a:old", 1, "product_viewed"), seen("u:new", 5, "order_completed")]
    case = Case("", given, [seen("u:new a:old", 9)], {})
    cluster = play(case, size)
    changes = [one.output for one in cluster.told if isinstance(one.output, MembershipChange)]
    (alias,) = [one.output for one in cluster.told if isinstance(one.output, ProfileAlias)]
    (survivor,) = profiles_of(cluster)
    assert alias.profile_id == survivor["profile_id"]
    assert alias.edge == "a:old"
    assert survivor["aliases"] == [alias.old_profile_id]
    told_of_survivor = [one for one in changes if one.profile_id == survivor["profile_id"]]
    assert sorted((one.segment_id, one.change, str(one.cause)) for one in told_of_survivor) == [
        ("bought", "entered", "merge"), ("everybody", "entered", "event"), ("viewed", "entered", "event"),
    ]  # fmt: skip
    told_of_old = [one for one in changes if one.profile_id == alias.old_profile_id]
    assert sorted((one.segment_id, one.sequence, str(one.cause)) for one in told_of_old) == [
        ("bought", 1, "event"), ("bought", 2, "merge"), ("everybody", 1, "event"), ("everybody", 2, "merge"),
    ]  # fmt: skip
    (entered,) = [one for one in told_of_survivor if one.cause == "merge"]
    for one in told_of_old:
        if one.cause == "merge":
            assert list(one.event_ids) == list(entered.event_ids)[:1], "the touch that linked the two"


@pytest.mark.parametrize("size", [1, 16])
def test_an_alias_ends_when_the_evidence_separates_the_two_again(size: int) -> None:
    """The sixth person makes the kiosk's e-mail shared, so the first is no longer who the e-mail was."""
    given = [seen("e:kiosk", 1), seen("u:0", 2), seen("u:0 e:kiosk", 3)]
    case = Case("", given, [seen(f"u:{n} e:kiosk", 3 + n) for n in range(1, 6)], {})
    cluster = play(case, size)
    aliases = [one.output for one in cluster.told if isinstance(one.output, ProfileAlias)]
    began, ended = aliases
    assert (began.cause, ended.cause) == ("merge", "unmerge")
    assert (ended.old_profile_id, ended.profile_id) == (began.old_profile_id, "")
    assert {" ".join(one["identifiers"]) for one in profiles_of(cluster)} == {
        "e:kiosk",
        *(f"u:{n}" for n in range(6)),
    }
    check_outputs(cluster)


@pytest.mark.parametrize("size", [1, 3, 16])
def test_what_was_due_while_nobody_worked_is_told_before_a_merge_that_came_after_it(size: int) -> None:
    """The views left their window after a week, Ana logged in the day after, and then a worker started."""
    for survivor, logs_in in (("u:ana", "u:ana a:1"), ("e:ana@x.co", "e:ana@x.co a:1")):
        cluster = Cluster(policy(), map(definition_from_json, [VIEWED]), size=size, start_ms=NOW_MS)
        for touch in (seen("a:1", event="product_viewed"), seen(survivor, 60, "product_viewed")):
            cluster.advance(touch.occurred_at)
            cluster.accept(touch)
            cluster.settle()
        cluster.now_ms = NOW_MS + 8 * 24 * HOUR_MS
        cluster.accept(seen(logs_in, 8 * 24 * 60))
        cluster.now_ms += HOUR_MS
        cluster.settle()
        changes = [one.output for one in cluster.told if isinstance(one.output, MembershipChange)]
        left = [(one.occurred_at - NOW_MS, one.cause) for one in changes if one.change == "exited"]
        week_ms = 7 * 24 * HOUR_MS
        assert sorted(left) == [(week_ms, "timer"), (week_ms + HOUR_MS, "timer")]
        check_outputs(cluster)
