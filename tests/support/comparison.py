"""What a deployment holds and has told, against the oracle and against the laws that every output keeps.

The oracle says who everybody is (tests/support/oracle.py). It looks at every touch for every person, so the
touches are given to it one connected component at a time: no identity rule looks further.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pipeline.core.policy import Policy
from pipeline.core.touch import Touch
from pipeline.runtime.sample import sampled

from . import oracle
from .crowd import DEFINITIONS, Touchpoint, touch_of
from .fleet import Fleet

SHOWN_MAX: Final = 8
TIMER_SLACK_MS: Final = 1_500  # a due change is decided within a second of its instant
Definition = Mapping[str, Any]
At = tuple[int | None, bytes | None]
"""Partition and key."""


def assert_equal_to_oracle(
    fleet: Fleet, touchpoints: Iterable[Touchpoint], definitions: Sequence[Definition] = DEFINITIONS
) -> list[dict[str, Any]]:
    """State, memberships and all outputs are what they must be. Call it when the deployment is idle.

    Returns the dump.
    """
    touches = [touch_of(touchpoint) for touchpoint in touchpoints]
    expected = everybody(touches, fleet)
    from_ms = time.time_ns() // 1_000_000 - TIMER_SLACK_MS
    dump = fleet.dump()
    to_ms = time.time_ns() // 1_000_000
    faults = state_differences(expected, dump, definitions, from_ms, to_ms)
    faults += broken_laws(fleet, dump)
    shown = "\n".join(faults[:SHOWN_MAX])
    assert not faults, f"{len(faults)} faults with {len(touches)} touches:\n{shown}"
    return dump


def everybody(touches: Sequence[Touch], fleet: Fleet) -> dict[str, oracle.Person]:
    """Profile id → who that must be."""
    policy: Policy = fleet.policy
    key = fleet.settings.profile_key.get_secret_value().encode()
    found = {}
    for component in components(touches):
        for person in oracle.people(component, policy, key):
            found[person.profile_id] = person
    return found


def components(touches: Iterable[Touch]) -> list[list[Touch]]:
    """The touches of each connected component of identifiers."""
    parents: dict[str, str] = {}

    def root(identifier: str) -> str:
        while (parent := parents.setdefault(identifier, identifier)) != identifier:
            parents[identifier] = parents.get(parent, parent)
            identifier = parents[identifier]
        return identifier

    touches = list(touches)
    for touch in touches:
        for other in touch.identifiers[1:]:
            parents[root(other)] = root(touch.identifiers[0])
    grouped: dict[str, list[Touch]] = defaultdict(list)
    for touch in touches:
        grouped[root(touch.identifiers[0])].append(touch)
    return list(grouped.values())


def state_differences(
    expected: Mapping[str, oracle.Person],
    dump: Iterable[Mapping[str, Any]],
    definitions: Iterable[Definition],
    from_ms: int,
    to_ms: int,
) -> list[str]:
    """How a dump differs from what must be. It was taken in [from_ms, to_ms]: a membership may end in it."""
    definitions = tuple(definitions)
    left = dict(expected)
    found = []
    for line in dump:
        person = left.pop(line["profile_id"], None)
        names = sorted(f"{one['type']}:{one['value']}" for one in line["identifiers"])
        if person is None:
            found.append(f"nobody is {line['profile_id']}: {names}, counters {line['counters']}")
            continue
        wanted = {
            "identifiers": sorted(person.identifiers),
            "traits": person.traits,
            "counters": person.counters,
            "consent": person.consent,
            "first_seen": person.first_seen,
            "last_seen": person.last_seen,
        }
        for name, value in wanted.items():
            given = names if name == "identifiers" else line[name]
            if given != value:
                found.append(f"{name} of {names} is {given}, expected {value}")
        inside = set(line["memberships"])
        before, after = (person.memberships(definitions, at_ms) for at_ms in (from_ms, to_ms))
        if not before & after <= inside <= before | after:
            found.append(f"{names} is inside {sorted(inside)}, expected {sorted(before)}")
    found += [f"{person.identifiers} is missing" for person in left.values()]
    return found


def broken_laws(fleet: Fleet, dump: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the output topics say that they must never say, or that the state does not."""
    changes = fleet.records("segments.membership")
    lines = {line["profile_id"]: line for line in dump}
    return [
        *change_faults(changes),
        *_membership_faults(changes, fleet.compacted("segments.current"), lines),
        *_profile_faults(fleet.compacted("profiles.unified"), lines),
        *_alias_faults(fleet.compacted("profiles.merges"), lines),
        *sample_faults(fleet),
    ]


def sample_faults(fleet: Fleet) -> list[str]:
    """`elo.sample` holds that part of `elo.state` that belongs to it, byte for byte, and nothing else.

    A timer may rewrite a component between two reads: each record is what the state had before, or after.
    """
    before, sample = _sampled_state(fleet), _newest(fleet, "elo.sample")
    after = before if sample == before else _sampled_state(fleet)
    return [
        f"sample {at}: {sample.get(at)!r}, state had {before.get(at)!r}, then {after.get(at)!r}"
        for at in {**before, **sample}
        if sample.get(at) not in (before.get(at), after.get(at))
    ]


def _sampled_state(fleet: Fleet) -> dict[At, bytes | None]:
    state = _newest(fleet, "elo.state")
    return {at: value for at, value in state.items() if list(sampled([(at[1] or b"", value)]))}


def _newest(fleet: Fleet, topic: str) -> dict[At, bytes | None]:
    return {(one.partition(), one.key()): one.value() for one in fleet.read(topic)}


def change_faults(changes: Iterable[Mapping[str, Any]]) -> list[str]:
    """No change id twice; sequences of a profile and segment 1, 2, 3, …; entered and exited in turns."""
    found = []
    ids: set[str] = set()
    last: dict[tuple[str, str], int] = {}
    for change in changes:
        if change["change_id"] in ids:
            found.append(f"change {change['change_id']} was told twice")
        ids.add(change["change_id"])
        key = change["profile_id"], change["segment_id"]
        sequence = last.get(key, 0) + 1
        if change["sequence"] != sequence:
            found.append(f"{key}: sequence {change['sequence']} follows {sequence - 1}")
        if change["change"] != ("entered" if change["sequence"] % 2 else "exited"):
            found.append(f"{key}: {change['change']} has sequence {change['sequence']}")
        last[key] = change["sequence"]
    return found


def _membership_faults(
    changes: Iterable[Mapping[str, Any]], current: Mapping[str, Any], lines: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    newest = {(change["profile_id"], change["segment_id"]): change for change in changes}
    told = {
        f"{profile}|{segment}": {"sequence": change["sequence"], "since": change["occurred_at"]}
        for (profile, segment), change in newest.items()
        if change["change"] == "entered"
    }
    kept = {
        f"{profile}|{segment}": membership
        for profile, line in lines.items()
        for segment, membership in line["memberships"].items()
    }
    found = [
        f"membership {key}: told {told.get(key)}, kept {kept.get(key)}"
        for key in {**told, **kept}
        if told.get(key) != kept.get(key)
    ]
    shown = {
        key: {"sequence": change["sequence"], "since": change["occurred_at"]}
        for key, change in current.items()
    }
    found += [
        f"segments.current {key}: {shown.get(key)}, kept {kept.get(key)}"
        for key in {**shown, **kept}
        if shown.get(key) != kept.get(key)
    ]
    return found


def _profile_faults(profiles: Mapping[str, Any], lines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    found = []
    for profile_id in {**profiles, **lines}:
        told, kept = profiles.get(profile_id), lines.get(profile_id)
        if told is None or kept is None:
            found.append(f"profile {profile_id}: told {told}, kept {kept}")
            continue
        found += [
            f"profile {profile_id}: {name} was told as {_plain(name, told[name])}, kept {kept[name]}"
            for name in (
                "identifiers",
                "traits",
                "counters",
                "consent",
                "memberships",
                "aliases",
                "last_seen",
            )
            if _plain(name, told[name]) != kept[name]
        ]
    return found


def _plain(name: str, value: Any) -> Any:
    import orjson

    if name == "traits":
        return orjson.loads(value)
    if name == "identifiers":
        return sorted(value, key=lambda one: f"{one['type']}:{one['value']}")
    return value


def _alias_faults(aliases: Mapping[str, Any], lines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The newest word on each old profile id is what the state says; an id that lives is nobody's alias."""
    kept = {old: profile_id for profile_id, line in lines.items() for old in line["aliases"]}
    told = {old: alias["profile_id"] for old, alias in aliases.items() if old not in lines}
    return [
        f"alias {old}: told {told.get(old)}, kept {kept.get(old)}"
        for old in {**told, **kept}
        if told.get(old) != kept.get(old)
    ]
