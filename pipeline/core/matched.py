"""Why the records of two identifiers make one person of them, or do not: each pair with all of its weights.

It weighs by the model of the policy that it is given, by the functions that decide identity. It must not know
where evidence was read or how an explanation is shown.
Source: docs/decisions/0026-matching-in-the-stream.md
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .alike import UNLIKE
from .evidence import AWAITED, FULL, OUTSIDE, Evidence, refusal_of_link
from .likeness import Judge, common_blocks, judge_of
from .matching.explain import Explanation, Verdict
from .policy import Policy


@dataclass(frozen=True, slots=True)
class WhyMatch:
    """Two identifiers, the stronger first, whose records were compared, or would have been.

    `told`: the weight that the state holds; None: it holds no match of the two. `found`: every weight; None
    where the record of one of them lies in another component. `reason`: what keeps them apart, as of refused
    links. `meet`: whether the records share a blocking key.
    """

    identifiers: tuple[str, str]
    verdict: Verdict
    told: float | None
    found: Explanation | None
    reason: str
    merge_above: float
    review_above: float
    model_version: str
    meet: bool = True

    @property
    def weight(self) -> float:
        """That of the two records: the one that the state holds, else the one found now."""
        if self.told is not None or self.found is None:
            return self.told or 0.0
        return self.found.pair.total

    @property
    def is_current(self) -> bool:
        """Whether the weight that the state holds is that of the model and of the records as they are now.

        It is not for a moment, while a correction or another policy is worked off.
        """
        if self.told is None or self.found is None:
            return True
        return self.told == Judge.rounded(self.found.pair.total)

    def to_json(self) -> dict[str, Any]:
        """The shape of a match in `elo why --json`; weights as in `elo identity explain --json`."""
        body = {"pair": None, "clusters": None} if self.found is None else self.found.to_json()
        return {
            "identifiers": list(self.identifiers),
            "match_weight": self.told,
            **body,
            "one_person": self.verdict is Verdict.ONE_PERSON,
            "verdict": self.verdict,
            "refused": self.reason or None,
            "threshold": self.merge_above,
            "review_above": self.review_above,
            "model_version": self.model_version,
            "current": self.is_current,
        }


def why_matches(evidence: Evidence, identifiers: Iterable[str], policy: Policy) -> tuple[WhyMatch, ...]:
    """Every match that a component was told of and that touches one of these identifiers."""
    around = set(identifiers)
    if judge_of(policy) is None:
        return ()
    found = [_why((evidence,), ends, policy) for ends in evidence.matched if not around.isdisjoint(ends)]
    return tuple(one for one in found if one is not None)


def why_match(first: Evidence, second: Evidence, pair: tuple[str, str], policy: Policy) -> WhyMatch | None:
    """The records of two identifiers; each evidence is the one that holds its identifier, maybe the same.

    None if nobody is compared, or one of the two has no record.
    """
    both = (first,) if first.root == second.root else (first, second)
    a, b = policy.ordered(*pair)
    if a == b or not all(any(end in one.records for one in both) for end in (a, b)):
        return None
    return _why(both, (a, b), policy)


def _why(both: tuple[Evidence, ...], ends: tuple[str, str], policy: Policy) -> WhyMatch | None:
    judge = judge_of(policy)
    if judge is None:
        return None
    rule = judge.matching
    records = {one: record for evidence in both for one, record in evidence.records.items()}
    told = next((one.matched[ends] for one in both if ends in one.matched), None)
    is_known = all(end in records for end in ends)
    pair = judge.explain(*(records[end] for end in ends)) if is_known else None
    weight = judge.rounded(pair.total) if told is None and pair is not None else told or 0.0
    one_person = any(ends[1] in evidence.members(ends[0]) for evidence in both)
    reason = "" if one_person else _reason(both, ends, policy, weight >= rule.merge_above)
    if one_person:
        verdict = Verdict.ONE_PERSON
    elif weight < rule.review_above or reason == UNLIKE:
        verdict = Verdict.BELOW_THRESHOLD
    elif told is None:
        verdict = Verdict.NO_LIKELY_PAIR
    else:
        verdict = Verdict.KEPT_APART if reason else Verdict.REVIEW
    found, meet = None, True
    if pair is not None:
        groups = _groups(both, ends, records, united=one_person)
        some, others = ([records[one] for one in group] for group in groups)
        clusters = judge.explain_groups(some, others) if max(map(len, groups)) > 1 else pair
        found = Explanation(verdict, pair, clusters, groups, rule.merge_above)
        meet = bool(common_blocks(*(records[end] for end in ends)))
    limits = rule.merge_above, rule.review_above
    return WhyMatch(ends, verdict, told, found, reason, *limits, judge.version, meet)


def _reason(both: tuple[Evidence, ...], ends: tuple[str, str], policy: Policy, is_evidence: bool) -> str:
    """What forbids that two are one person; empty if nothing is known.

    `is_evidence`: they match well enough. If not, a decision is all that counts: a steward is not asked.
    """
    if not is_evidence:
        reason = refusal_of_link(both[0], both[-1], ends, policy) if _holds(both, ends) else ""
        return reason if reason.startswith("decision_") else ""
    for evidence in both:
        for edge in evidence.edges:
            if edge.weight is not None and (edge.stronger, edge.weaker) == ends:
                return edge.reason
    for evidence in both:
        for end in ends:
            if end in evidence.inert:
                return "shared"
            if end in evidence.awaited:
                return AWAITED
            if end in evidence.closed:
                return FULL if evidence.closed[end] == "full" else evidence.closed[end]
    return OUTSIDE


def _holds(both: tuple[Evidence, ...], ends: tuple[str, str]) -> bool:
    return all(any(end in evidence.identifiers for evidence in both) for end in ends)


def _groups(
    both: tuple[Evidence, ...], ends: tuple[str, str], records: Mapping[str, str], *, united: bool
) -> tuple[tuple[str, ...], ...]:
    """The two groups that were weighed as people: as they were when a match united them, else as they are.

    Of two whom links or a decision made one person, just the two.
    """
    if united:
        for some, others in (union for evidence in both for union in evidence.unions):
            if _parted(ends, some, others):
                return (some, others) if ends[0] in some else (others, some)
        return (ends[0],), (ends[1],)
    members = [next((one.members(end) for one in both if end in one.profiles), [end]) for end in ends]
    return tuple(tuple(one for one in group if one in records) for group in members)


def _parted(ends: tuple[str, str], some: Collection[str], others: Collection[str]) -> bool:
    a, b = ends
    return (a in some and b in others) or (b in some and a in others)
