"""Why identifiers are, or are not, one profile: paths, refused links, and what would change the answer.

Whatever is said about a change was tried on the same pure function that decides identity. It must not know
where the evidence was read or how an explanation is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from .alike import UNLIKE
from .decisions import Decision
from .duration import format_duration
from .evidence import (
    AWAITED,
    FULL,
    OUTSIDE,
    Edge,
    Evidence,
    Step,
    at_once,
    path_between,
    refusal_of_link,
    united_with_limit,
    united_without,
    united_without_decision,
    united_without_trait,
    united_without_unique,
)
from .identity import kind_of
from .instant import format_instant
from .matched import WhyMatch, why_match, why_matches
from .policy import Policy


@dataclass(frozen=True, slots=True)
class Tie:
    """One identifier of a profile, and how it hangs on the anchor. `path` None: no link of it is kept."""

    identifier: str
    path: tuple[Step, ...] | None

    def to_json(self) -> dict[str, Any]:
        """`path` from the anchor to the identifier; empty for the anchor itself."""
        path = None if self.path is None else [step.to_json() for step in self.path]
        return {"identifier": self.identifier, "path": path}


@dataclass(frozen=True, slots=True)
class WhyOne:
    """What one identifier belongs to. `profile_id` and `anchor` empty: to nobody, it was only seen beside
    others.
    """

    identifier: str
    profile_id: str
    anchor: str
    anchor_ms: int
    component: str
    ties: tuple[Tie, ...]
    refused: tuple[Edge, ...]
    policy_version: int
    would_change: tuple[str, ...]
    decisions: tuple[Decision, ...] = ()
    matches: tuple[WhyMatch, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The shape of `elo why IDENTIFIER --json`."""
        return {
            "identifier": self.identifier,
            "profile_id": self.profile_id or None,
            "anchor": self.anchor or None,
            "anchor_first_seen": format_instant(self.anchor_ms) if self.anchor else None,
            "component": self.component,
            "decisions": [one.to_json() for one in self.decisions],
            "identifiers": [tie.to_json() for tie in self.ties],
            "refused_links": [edge.to_json() for edge in self.refused],
            "matches": [one.to_json() for one in self.matches],
            "policy_version": self.policy_version,
            "would_change": list(self.would_change),
        }


@dataclass(frozen=True, slots=True)
class WhyTwo:
    """Whether two identifiers are one profile, and why. `path` None: nothing leads from one to the other.

    A path between two profiles holds at least one refused link.
    """

    identifiers: tuple[str, str]
    profile_ids: tuple[str, str]
    one_profile: bool
    path: tuple[Step, ...] | None
    refused: tuple[Edge, ...]
    policy_version: int
    would_change: tuple[str, ...]
    decisions: tuple[Decision, ...] = ()
    match: WhyMatch | None = None

    def to_json(self) -> dict[str, Any]:
        """The shape of `elo why IDENTIFIER IDENTIFIER --json`."""
        return {
            "identifiers": list(self.identifiers),
            "profile_ids": [one or None for one in self.profile_ids],
            "one_profile": self.one_profile,
            "decisions": [one.to_json() for one in self.decisions],
            "path": None if self.path is None else [step.to_json() for step in self.path],
            "refused_links": [edge.to_json() for edge in self.refused],
            "match": None if self.match is None else self.match.to_json(),
            "policy_version": self.policy_version,
            "would_change": list(self.would_change),
        }


def why_one(evidence: Evidence, identifier: str, policy: Policy) -> WhyOne:
    """Explain the profile of an identifier of this component."""
    profile = evidence.profiles.get(identifier)
    members = evidence.members(identifier)
    anchor = "" if profile is None else profile.anchor[2]
    ties = tuple(Tie(one, _path(evidence.edges, anchor or identifier, one)) for one in members)
    refused = tuple(evidence.refused_around(members))
    sentences = [sentence for edge in refused for sentence in _sentences(edge, (evidence,), policy)]
    return WhyOne(
        identifier,
        "" if profile is None else profile.id,
        anchor,
        0 if profile is None else profile.anchor[0],
        evidence.root,
        ties,
        refused,
        policy.version,
        tuple(dict.fromkeys(sentences)),
        tuple(evidence.decisions_about(members)),
        tuple(
            sorted(why_matches(evidence, members, policy), key=lambda one: identifier not in one.identifiers)
        ),
    )


def why_two(first: Evidence, second: Evidence, pair: tuple[str, str], policy: Policy) -> WhyTwo:
    """Explain two identifiers; each evidence is the one that holds its identifier, maybe the same."""
    a, b = pair
    mine, other = first.profiles.get(a), second.profiles.get(b)
    both = (first,) if first.root == second.root else (first, second)
    edges = [edge for evidence in both for edge in evidence.edges]
    about = {
        one.name: one
        for evidence in both
        for one in evidence.decisions_about([*evidence.members(a), *evidence.members(b)])
    }
    decisions, match = tuple(about.values()), why_match(first, second, pair, policy)
    if a == b or (mine is not None and other is not None and mine.id == other.id):
        path = _path(edges, a, b)
        needed = [
            step
            for step in path or ()
            if len(both) == 1 and not united_without(first, step.edge, pair, policy)
        ]
        change = [f"without {_name(step)} they would be two profiles" for step in needed]
        if path and not change:
            change = ["no single link holds them together: other paths would remain"]
        return WhyTwo(
            pair, _ids(mine, other), True, path, (), policy.version, tuple(change), decisions, match
        )
    found = path_between(edges, a, b, across=True)
    path = None if found is None else tuple(found)
    refused = tuple(step.edge for step in path or () if step.edge.reason)
    if path is None:
        change = _would_link(first, second, pair, policy)
    else:
        change = [sentence for edge in refused for sentence in _sentences(edge, both, policy, pair)]
    sentences = tuple(dict.fromkeys(change))
    return WhyTwo(pair, _ids(mine, other), False, path, refused, policy.version, sentences, decisions, match)


def _name(step: Step) -> str:
    decision = step.edge.decision
    if step.edge.weight is not None:
        return f"the match of {step.start} and {step.end}"
    return f"the link between {step.start} and {step.end}" if decision is None else f"decision {decision.id}"


def reason_in_words(reason: str, policy: Policy) -> str:
    """What a reason of a refused link means."""
    rule, _, subject = reason.partition("_")
    if rule == "limit" and subject in policy.rules:
        return _limit_in_words(subject, policy)
    if rule == "unique" and subject in policy.unique_types:
        return f"unique {subject}: {policy.rules[subject].unique}"
    if rule == "trait" and subject in policy.apart_traits:
        return f"cannot_link {subject}: the two have told different values"
    if rule == "decision":
        return f"decision {subject}"
    words = {
        "shared": "one end is shared by too many people",
        FULL: f"a component holds at most {policy.component_identifiers_max} identifiers",
        AWAITED: "the answer of the other end is awaited",
        OUTSIDE: "the other end lies in another component",
        UNLIKE: "the two match, the other records of their profiles do not",
    }
    return words.get(reason, reason)


def _ids(*profiles: Any) -> tuple[str, str]:
    first, second = ("" if profile is None else str(profile.id) for profile in profiles)
    return first, second


def _path(edges: Iterable[Edge], start: str, goal: str) -> tuple[Step, ...] | None:
    found = path_between(edges, start, goal)
    return None if found is None else tuple(found)


def _would_link(first: Evidence, second: Evidence, pair: tuple[str, str], policy: Policy) -> list[str]:
    """Nothing leads from one to the other: what a first link would do."""
    a, b = pair
    for evidence, one in ((first, a), (second, b)):
        if one in evidence.inert:
            return [f"{one} is shared by too many people and links nobody any more"]
    reason = refusal_of_link(first, second, pair, policy)
    if not reason:
        return [f"a link between {a} and {b} would join them"]
    rule, _, subject = reason.partition("_")
    named = f"cannot_link {subject}" if rule == "trait" else reason_in_words(reason, policy)
    sentence = f"{named} would keep them apart even with a link between them"
    members = dict.fromkeys([*first.members(a), *second.members(b)])
    if rule == "trait":
        return [f"{sentence}: they have told different values"]
    count = sum(kind_of(one) == subject for one in members)
    if rule == "limit" and policy.rules[subject].within_ms is None and count > policy.rules[subject].limit:
        return [f"{sentence}: together they have {count}"]
    return [sentence]


def _sentences(
    edge: Edge, both: Sequence[Evidence], policy: Policy, pair: tuple[str, str] | None = None
) -> list[str]:
    """What keeps a refused link from uniting, and what would change that. `pair`: who is asked about."""
    reason, ends = edge.reason, (edge.stronger, edge.weaker)
    rule, _, subject = reason.partition("_")
    if rule in RULES:
        evidence = next(one for one in both if edge in one.edges)
        return [RULES[rule](edge, subject, evidence, policy, pair or ends)]
    if reason == "shared":
        shared = [one for one in ends if any(one in evidence.inert for evidence in both)]
        name = " and ".join(shared) or edge.weaker
        after = policy.rule_of(shared[0] if shared else edge.weaker).shared_after
        more = "" if after is None else f" (shared_after: {after})"
        return [f"{name} was seen with too many people{more}: only a link that leaves it out can join them"]
    if reason == FULL:
        limit = policy.component_identifiers_max
        return [f"component_identifiers_max: {limit} keeps {ends[0]} and {ends[1]} apart"]
    if reason == AWAITED:
        return [f"the link between {ends[0]} and {ends[1]} is being decided: ask again in a moment"]
    if reason == UNLIKE:
        return [f"{ends[0]} and {ends[1]} match, but all records of their profiles together do not"]
    if reason == OUTSIDE:
        return [f"the link between {ends[0]} and {ends[1]} is kept without effect"]
    return [f"the rule {reason} of the identity policy keeps {ends[0]} and {ends[1]} apart"]


def _limit_in_words(kind: str, policy: Policy, limit: int = 0) -> str:
    """A limit as it is, or as it would be with another number."""
    rule = policy.rules[kind]
    within = "" if rule.within_ms is None else f" within {format_duration(rule.within_ms)}"
    return f"limit {kind}: {limit or rule.limit}{within}"


def _limit_sentence(edge: Edge, kind: str, evidence: Evidence, policy: Policy, pair: tuple[str, str]) -> str:
    rule = policy.rules[kind]
    held = {
        one for end in (edge.stronger, edge.weaker) for one in evidence.members(end) if kind_of(one) == kind
    }
    needed = len(held) if rule.within_ms is None else at_once(evidence, held, rule.within_ms)
    sentence = f"{_limit_in_words(kind, policy)} keeps {edge.stronger} and {edge.weaker} apart"
    if needed > rule.limit and united_with_limit(evidence, kind, needed, pair, policy):
        return f"{sentence}: with {_limit_in_words(kind, policy, needed)} they would be one profile"
    return f"{sentence}: their profiles have {' and '.join(sorted(held))}"


def _unique_sentence(edge: Edge, kind: str, evidence: Evidence, policy: Policy, pair: tuple[str, str]) -> str:
    owner = next(one.stronger for one in evidence.edges if one.weaker == edge.weaker and not one.reason)
    sentence = (
        f"unique {kind}: {policy.rules[kind].unique} keeps {edge.stronger} and {edge.weaker} apart: "
        f"{edge.weaker} belongs to one profile only, that of {owner}"
    )
    if united_without_unique(evidence, kind, pair, policy):
        return f"{sentence}; if the type were not unique they would be one profile"
    return sentence


def _trait_sentence(edge: Edge, trait: str, evidence: Evidence, policy: Policy, pair: tuple[str, str]) -> str:
    """Names who has told, not what."""
    ends = edge.stronger, edge.weaker
    tellers = [
        next((one for one in evidence.members(end) if trait in evidence.told.get(one, {})), end)
        for end in ends
    ]
    sentence = (
        f"cannot_link {trait} keeps {ends[0]} and {ends[1]} apart: "
        f"{tellers[0]} and {tellers[1]} have told different values of it"
    )
    if united_without_trait(evidence, trait, pair, policy):
        return f"{sentence}; with one value they would be one profile"
    return sentence


def _decision_sentence(
    edge: Edge, decision_id: str, evidence: Evidence, policy: Policy, pair: tuple[str, str]
) -> str:
    decision = next(one for one in evidence.decisions_about(evidence.identifiers) if one.id == decision_id)
    head, _, why = decision.in_words().partition(": ")
    sentence = f"{head} keeps {edge.stronger} and {edge.weaker} apart" + (f": {why}" if why else "")
    if united_without_decision(evidence, decision.name, pair, policy):
        return f"{sentence}; if it were undone they would be one profile"
    return sentence


RULES: Final[Mapping[str, Callable[[Edge, str, Evidence, Policy, tuple[str, str]], str]]] = MappingProxyType(
    {
        "limit": _limit_sentence,
        "unique": _unique_sentence,
        "trait": _trait_sentence,
        "decision": _decision_sentence,
    }
)
"""What is said of a link that a rule of the policy refuses; reasons are `rule_subject`."""
