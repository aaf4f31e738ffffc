"""What Elo must answer for the reference job: a slow, obvious model, compared with `elo state dump`.

It knows the touchpoints of the generator and the three segments, and nothing of the program: identifiers are
cleaned in its own way, profiles are connected components (the people of the generator never reach a limit),
windows are counted from plain lists of instants.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from .generator import JUNK, Record

DAY_MS: Final = 86_400_000
SEGMENTS: Final = ("bench-a", "bench-b", "bench-c")
RANKS: Final = ("user_id", "cpf", "nis", "email", "phone", "device_id", "anonymous_id")
DIFFERENCES_MAX: Final = 5  # so many are spelt out, more would hide the pattern


def clean_identifiers(record: Record) -> list[str]:
    """The usable identifiers of a touchpoint as `type:value`, strongest first; empty: it is rejected."""
    cleaned = []
    for identifier in record["identifiers"]:
        kind, value = identifier["type"], identifier["value"].strip()
        if value.lower() in JUNK:
            continue
        if kind == "email":
            value = value.lower()
        elif kind in ("phone", "cpf"):
            digits = "".join(character for character in value if character.isdigit())
            value = "+" + digits if kind == "phone" else digits
        cleaned.append(f"{kind}:{value}")
    return sorted(cleaned, key=lambda text: (RANKS.index(text.split(":")[0]), text))


@dataclass(slots=True)
class Expected:
    """One profile as it must be. Instants are ascending event times in milliseconds; repeats do not count.

    `traits`: name → the newest instant at which it came, and the values of that instant: any may survive.
    """

    identifiers: frozenset[str]
    counters: dict[str, int] = field(default_factory=dict)
    traits: dict[str, tuple[int, set[str]]] = field(default_factory=dict)
    first_seen: int = 0
    last_seen: int = 0
    viewed: list[int] = field(default_factory=list)
    viewed_shoes: list[int] = field(default_factory=list)
    ordered: list[int] = field(default_factory=list)

    def memberships(self, now_ms: int) -> frozenset[str]:
        """The segments that hold at `now_ms`. An event at t counts in [t, t + window)."""
        lives_in_madrid = "Madrid" in self.traits.get("city", (0, ()))[1]
        wants_shoes = _count(self.viewed_shoes, 7 * DAY_MS, now_ms) >= 1 and not _count(
            self.ordered, 7 * DAY_MS, now_ms
        )
        has_email = any(identifier.startswith("email:") for identifier in self.identifiers)
        holds = (
            lives_in_madrid and wants_shoes,
            _count(self.viewed, DAY_MS, now_ms) >= 3,
            has_email and not _count(self.ordered, 30 * DAY_MS, now_ms),
        )
        return frozenset(segment for segment, inside in zip(SEGMENTS, holds, strict=True) if inside)


def _count(instants: list[int], window_ms: int, now_ms: int) -> int:
    return bisect_right(instants, now_ms) - bisect_right(instants, now_ms - window_ms)


class _Touch(NamedTuple):
    """What is kept of an accepted touchpoint, small because there are millions; sorts by event time."""

    occurred_at: int
    strongest: str
    kind: str
    viewed_shoes: bool
    traits: str


class Oracle:
    """Takes every touchpoint that is sent, in any order, and then says what there must be."""

    def __init__(self) -> None:
        self.taken = self.rejected = self.duplicates = 0
        self._parents: dict[str, str] = {}
        self._seen: set[str] = set()
        self._touches: list[_Touch] = []

    def add(self, record: Record) -> None:
        """Count one touchpoint as sent once."""
        self.taken += 1
        identifiers = clean_identifiers(record)
        if not identifiers:
            self.rejected += 1
        elif record["event_id"] in self._seen:
            self.duplicates += 1
        else:
            self._seen.add(record["event_id"])
            for identifier in identifiers:
                self._parents.setdefault(identifier, identifier)
                self._parents[self._root(identifier)] = self._root(identifiers[0])
            shoes = (
                record["type"] == "product_viewed"
                and json.loads(record["properties"])["category"] == "running shoes"
            )
            touch = _Touch(record["occurred_at"], identifiers[0], record["type"], shoes, record["traits"])
            self._touches.append(touch)

    def _root(self, identifier: str) -> str:
        while (parent := self._parents[identifier]) != identifier:
            self._parents[identifier] = identifier = self._parents[parent]
        return identifier

    def profiles(self) -> list[Expected]:
        """Every profile that there must be, in no particular order."""
        members: dict[str, list[str]] = {}
        for identifier in self._parents:
            members.setdefault(self._root(identifier), []).append(identifier)
        found = {root: Expected(frozenset(identifiers)) for root, identifiers in members.items()}
        for touch in sorted(self._touches):
            _fold(found[self._root(touch.strongest)], touch)
        return list(found.values())


def _fold(profile: Expected, touch: _Touch) -> None:
    """Add one touchpoint; they come in order of event time."""
    at = touch.occurred_at
    profile.counters[touch.kind] = profile.counters.get(touch.kind, 0) + 1
    for name, value in json.loads(touch.traits).items():
        instant, values = profile.traits.get(name, (at, set()))
        profile.traits[name] = (at, values | {value} if instant == at else {value})
    profile.first_seen = profile.first_seen or at
    profile.last_seen = at
    if touch.kind == "product_viewed":
        profile.viewed.append(at)
    elif touch.kind == "order_completed":
        profile.ordered.append(at)
    if touch.viewed_shoes:
        profile.viewed_shoes.append(at)


def compare(
    expected: Iterable[Expected], dump: Iterable[Mapping[str, Any]], from_ms: int, to_ms: int
) -> list[str]:
    """Compare what must be with the lines of `elo state dump`; return the differences, none when they agree.

    The dump was taken at some instant of [from_ms, to_ms]: a membership that changes by itself in between may
    be found either way. Every other difference counts.
    """
    left = {profile.identifiers: profile for profile in expected}
    differences = []
    for line in dump:
        identifiers = frozenset(f"{item['type']}:{item['value']}" for item in line["identifiers"])
        profile = left.pop(identifiers, None)
        if profile is None:
            differences.append(f"no such profile is expected: {sorted(identifiers)}")
        else:
            differences.extend(_differences(profile, line, from_ms, to_ms))
    differences.extend(f"missing profile: {sorted(identifiers)}" for identifiers in left)
    return differences


def compare_changes(expected: list[Expected], net: Mapping[str, int], from_ms: int, to_ms: int) -> list[str]:
    """Entries less exits of each segment, as told, against those who must be inside in [from_ms, to_ms]."""
    pairs = [(profile.memberships(from_ms), profile.memberships(to_ms)) for profile in expected]
    found = []
    for segment, told in net.items():
        least = sum(segment in before and segment in after for before, after in pairs)
        most = sum(segment in before or segment in after for before, after in pairs)
        if not least <= told <= most:
            found.append(f"{segment}: entries less exits are {told}, expected {least} to {most}")
    return found


def _differences(profile: Expected, line: Mapping[str, Any], from_ms: int, to_ms: int) -> list[str]:
    inside, before, after = set(line["memberships"]), profile.memberships(from_ms), profile.memberships(to_ms)
    checks: tuple[tuple[str, object, Callable[[], bool]], ...] = (
        ("counters", profile.counters, lambda: line["counters"] == profile.counters),
        ("memberships", (sorted(before), sorted(after)), lambda: before & after <= inside <= before | after),
        ("traits", profile.traits, lambda: _traits_agree(profile.traits, line["traits"])),
        ("first_seen", profile.first_seen, lambda: line["first_seen"] == profile.first_seen),
        ("last_seen", profile.last_seen, lambda: line["last_seen"] == profile.last_seen),
    )
    return [
        f"{min(profile.identifiers)}: {name} is {line[name]}, expected {wanted}"
        for name, wanted, agrees in checks
        if not agrees()
    ]


def _traits_agree(expected: Mapping[str, tuple[int, set[str]]], found: Mapping[str, Any]) -> bool:
    return expected.keys() == found.keys() and all(
        found[name] in values for name, (_, values) in expected.items()
    )
