"""The document of one person: everything that is kept of them, and nothing of anybody else."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson

from pipeline.core.export import FORMAT, export_person
from pipeline.core.policy import Policy, Survivorship
from pipeline.core.segments.parse import definition_from_json
from tests.support.evidence import START_MS, People, shipped_policy

VIEWED = definition_from_json({"id": "viewed", "where": {"event": "product_viewed", "within": "2s"}})
CITIZEN = definition_from_json({"id": "citizen", "where": {"trait": "city", "exists": True}})


def at(second: int) -> str:
    return f"2025-10-09T08:53:{20 + second:02d}.000Z"


def policy_with_traits() -> Policy:
    policy = shipped_policy()
    rules = {"likes": Survivorship.UNION, "shop": Survivorship.MOST_FREQUENT}
    return dataclasses.replace(policy, traits=rules)


def document(people: People, identifier: str) -> dict[str, Any]:
    component = people.component(identifier)
    profiles = people.profiles(component)
    profile = next(one for one in profiles if identifier in one.identifiers)
    history = [touch for touch in people.touches if touch.identifiers[0] in profile.identifiers]
    made = export_person(component, profile, people.evidence(identifier), reversed(history), START_MS)
    return dict(orjson.loads(orjson.dumps(made)))


def test_the_document_holds_everything_that_is_kept_with_its_times() -> None:
    people = People(policy_with_traits(), definitions=[VIEWED, CITIZEN])
    people.touch("anonymous_id:a", "product_viewed", properties='{"price": 5}')
    people.touch("user_id:1", "crm_updated", traits='{"city": "Madrid", "likes": ["x"], "shop": "s1"}')
    people.touch("user_id:1 anonymous_id:a", "identified", consent={"marketing": True})
    people.touch("user_id:1", "crm_updated", traits='{"likes": "y", "shop": "s1", "city": "Lisboa"}')
    people.cluster.advance(START_MS + 60_000)
    made = document(people, "user_id:1")
    assert (made["format"], made["exported_at"]) == (FORMAT, at(0))
    assert (made["first_seen"], made["last_seen"]) == (at(0), at(3))
    assert made["identifiers"] == [
        {"type": "user_id", "value": "1", "first_seen": at(1), "last_seen": at(3)},
        {"type": "anonymous_id", "value": "a", "first_seen": at(0), "last_seen": at(2)},
    ]
    assert made["traits"] == {
        "city": {"value": "Lisboa", "at": at(3)},
        "likes": {"value": ["x", "y"], "values": [
            {"value": "x", "last_at": at(1)}, {"value": "y", "last_at": at(3)},
        ]},
        "shop": {"value": "s1", "values": [{"value": "s1", "count": 2, "last_at": at(3)}]},
    }  # fmt: skip
    assert made["consent"] == {"marketing": {"granted": True, "at": at(2)}}
    assert made["counters"] == {"crm_updated": 2, "identified": 1, "product_viewed": 1}
    assert made["counted_events"] == {
        "product_viewed": {"count": 1, "newest": [{"event_id": "e0", "at": at(0)}]}
    }
    (alias,) = made["aliases"]
    assert alias != made["profile_id"]
    assert [touch["event_id"] for touch in made["history"]] == ["e0", "e1", "e2", "e3"]
    assert made["history"][0] == {
        "event_id": "e0", "source": "web", "type": "product_viewed", "occurred_at": at(0),
        "identifiers": [{"type": "anonymous_id", "value": "a"}], "identifiers_of_others": 0,
        "traits": {}, "properties": {"price": 5}, "consent": {},
    }  # fmt: skip
    assert made["history"][2]["consent"] == {"marketing": True}
    assert made["links"] == [{
        "identifiers": [{"type": "user_id", "value": "1"}, {"type": "anonymous_id", "value": "a"}],
        "first_at": at(2), "last_at": at(2), "touches": 1, "first_event_id": "e2", "last_event_id": "e2",
    }]  # fmt: skip
    entry = people.component("user_id:1").entries[made["profile_id"]]
    inside = {name for name, membership in entry.memberships.items() if membership[0]}
    assert set(made["memberships"]) == inside == {"citizen"}
    assert set(made["former_memberships"]) == {"viewed"}
    assert made["former_memberships"]["viewed"]["since"] == at(2)  # two seconds after the view


def test_what_belongs_to_somebody_else_is_counted_and_not_shown() -> None:
    people = People(shipped_policy(), ["user_id:1 email:home", "user_id:2 email:home", "user_id:2 phone:+2"])
    first, second = document(people, "user_id:1"), document(people, "user_id:2")
    assert b'"2"' not in orjson.dumps(first)
    assert (first["links_to_others"], len(first["links"])) == (1, 1)
    assert b"home" not in orjson.dumps(second)
    assert [touch["identifiers_of_others"] for touch in second["history"]] == [1, 0]
    assert (second["links_to_others"], len(second["links"])) == (1, 1)
