"""Did Elo get it right? Its state against the simulator's truth.

Pure: takes what was read and returns a verdict. Every difference is a sentence that says what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from connectors.shop import SEGMENTS, Group, Truth

DIFFERENCES_SHOWN: Final = 20
NAMED_MAX: Final = 4  # identifiers that a sentence names


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the summary. `same`: everything behind the two numbers is equal, not just their size."""

    name: str
    expected: int
    actual: int
    same: bool


@dataclass(slots=True)
class Verdict:
    """What was compared and what differs.

    `undecided`: (profile id, segment id) of memberships that changed while the state was being read.
    """

    rows: list[Row] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    undecided: set[tuple[str, str]] = field(default_factory=set)

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def add(self, name: str, expected: int, actual: int, differences: Iterable[str] = ()) -> None:
        """Add a row; it is wrong when the numbers differ or when there are differences behind it."""
        found = list(differences)
        if not found and expected != actual:
            found = [f"{name}: expected {expected}, found {actual}"]
        self.differences += found
        self.rows.append(Row(name, expected, actual, not found))

    def shown(self) -> list[str]:
        """The first differences, and how many there are besides."""
        more = len(self.differences) - DIFFERENCES_SHOWN
        return self.differences[:DIFFERENCES_SHOWN] + ([f"and {more} more differences"] if more > 0 else [])


def compare(
    truth: Truth,
    profiles: Sequence[Mapping[str, Any]],
    rejected: Mapping[str, int],
    *,
    from_ms: int,
    to_ms: int,
) -> Verdict:
    """Compare the state with the truth.

    Args:
        profiles: what `elo state dump --json` printed, one mapping a profile.
        rejected: reason → records on `touchpoints.rejected`.
        from_ms, to_ms: the state was read at some instant in between, both included.
    """
    verdict = Verdict()
    groups = truth.groups()
    held = {_text(one): profile for profile in profiles for one in profile["identifiers"]}
    verdict.add("profiles", len(groups), len(profiles), _grouping(truth, groups, profiles, held))
    verdict.add("identifiers", len(truth.group_of), len(held), _identifiers(set(truth.group_of), set(held)))
    pairs = [(group, held[first]) for group in groups if (first := min(group.identifiers)) in held]
    verdict.add("touchpoints counted", truth.accepted, _counted(profiles), _counters(pairs))
    traits = [line for group, profile in pairs for line in _traits(group, profile)]
    verdict.add("traits and consents", _words(groups), _told(profiles), traits)
    for reason in sorted(set(truth.rejected) | set(rejected)):
        verdict.add(f"rejected: {reason}", truth.rejected.get(reason, 0), rejected.get(reason, 0))
    for segment_id in SEGMENTS:
        _members(verdict, truth, pairs, segment_id, from_ms, to_ms)
    return verdict


def _text(identifier: Mapping[str, str]) -> str:
    return f"{identifier['type']}:{identifier['value']}"


def _named(identifiers: Iterable[str]) -> str:
    every = sorted(identifiers)
    more = f" and {len(every) - NAMED_MAX} more" if len(every) > NAMED_MAX else ""
    return ", ".join(every[:NAMED_MAX]) + more


def _grouping(
    truth: Truth,
    groups: list[Group],
    profiles: Sequence[Mapping[str, Any]],
    held: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """People who are several profiles, and profiles that are several people."""
    lines = []
    for group in groups:
        ids = sorted({held[one]["profile_id"] for one in group.identifiers if one in held})
        if len(ids) > 1:
            lines.append(f"one person is {len(ids)} profiles ({', '.join(ids)}): {_named(group.identifiers)}")
    for profile in profiles:
        named = (_text(one) for one in profile["identifiers"])
        known = [truth.group_of[one] for one in named if one in truth.group_of]
        found = {id(group): group for group in known}
        if len(found) > 1:
            firsts = _named(min(group.identifiers) for group in found.values())
            lines.append(f"profile {profile['profile_id']} holds {len(found)} people: {firsts}")
    return lines


def _identifiers(expected: set[str], actual: set[str]) -> list[str]:
    lines = []
    if missing := expected - actual:
        lines.append(f"{len(missing)} identifiers are in no profile: {_named(missing)}")
    if unknown := actual - expected:
        lines.append(f"{len(unknown)} identifiers should not be there: {_named(unknown)}")
    return lines


def _counted(profiles: Iterable[Mapping[str, Any]]) -> int:
    return sum(sum(profile["counters"].values()) for profile in profiles)


def _counters(pairs: Iterable[tuple[Group, Mapping[str, Any]]]) -> list[str]:
    lines = []
    for group, profile in pairs:
        expected, actual = group.counters(), profile["counters"]
        for event_type in sorted(set(expected) | set(actual)):
            counts = expected.get(event_type, 0), actual.get(event_type, 0)
            if counts[0] != counts[1]:
                lines.append(f"profile {profile['profile_id']} ({_named(group.identifiers)}): "
                             f"{event_type} expected {counts[0]}, found {counts[1]}")  # fmt: skip
    return lines


def _words(groups: Iterable[Group]) -> int:
    return sum(len(group.traits) + len(group.words) for group in groups)


def _told(profiles: Iterable[Mapping[str, Any]]) -> int:
    return sum(len(profile["traits"]) + len(profile["consent"]) for profile in profiles)


def _traits(group: Group, profile: Mapping[str, Any]) -> list[str]:
    lines = []
    traits = {name: value for name, (_, value) in group.traits.items()}
    consent = {purpose: group.granted(purpose) for purpose in group.words}
    for what, expected, told in (
        ("trait", traits, profile["traits"]),
        ("consent", consent, profile["consent"]),
    ):
        for name in sorted(set(expected) | set(told)):
            if expected.get(name) != told.get(name):
                lines.append(f"profile {profile['profile_id']} ({_named(group.identifiers)}): {what} {name} "
                             f"expected {expected.get(name)!r}, found {told.get(name)!r}")  # fmt: skip
    return lines


def _members(
    verdict: Verdict,
    truth: Truth,
    pairs: Iterable[tuple[Group, Mapping[str, Any]]],
    segment_id: str,
    from_ms: int,
    to_ms: int,
) -> None:
    expected = actual = 0
    lines = []
    for group, profile in pairs:
        found = segment_id in profile["memberships"]
        wanted = truth.settled(group, segment_id, from_ms, to_ms)
        if wanted is None:
            verdict.undecided.add((profile["profile_id"], segment_id))
            wanted = found
        expected += wanted
        actual += found
        if wanted != found:
            who, right = _named(group.identifiers), "inside" if wanted else "outside"
            lines.append(f"segment {segment_id}: profile {profile['profile_id']} ({who}) should be {right}")
    verdict.add(f"members: {segment_id}", expected, actual, lines)
