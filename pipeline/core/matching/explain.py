"""Why two records are one person, or not: the weights of all comparisons, from the prior to the total."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from math import exp2, log, log2
from typing import Any, Final

from . import levels as c
from .model import Model, Sums

_WORDS: Final = ("exact", "another form", "initial", "close", "similar", "elsewhere in the name", "different")
_PLAIN: Final = ("same", "almost", "different", "same mailbox name")
LEVEL_NAMES: Final = {
    c.GIVEN: _WORDS,
    c.FAMILY: _WORDS,
    c.MIDDLE: ("all", "some", "initials", "none", "close"),
    c.ORDER: ("in order", "turned round"),
    c.BIRTH: ("exact", "day and month swapped", "one slip", "two parts", "two slips", "near", "different"),
    c.ADDRESS: ("dwelling", "next door", "street", "postcode", "postcode almost", "city", "elsewhere"),
    c.MOTHER: ("same", "compatible", "different", "partly"),
}
"""Names of the levels; comparisons that are not listed have plain ones."""


@dataclass(frozen=True, slots=True)
class Step:
    """One bar of the waterfall. Weights are binary logarithms: a weight of 1 doubles the odds."""

    comparison: str
    level: str
    count: int
    """How many records hold the value that agrees; 0 where its frequency plays no part."""
    weight: float
    """Against strangers."""
    weight_relatives: float
    """What the same finding says for two relatives against strangers."""


@dataclass(frozen=True, slots=True)
class Waterfall:
    """The steps, and what they add up to."""

    prior: float
    steps: tuple[Step, ...]
    relatives: float
    """What is taken off at the end, because relatives would agree as well."""
    total: float

    @property
    def probability(self) -> float:
        """The chance that the two records are one person, by these two records alone."""
        return probability_of(self.total)

    def to_json(self) -> dict[str, Any]:
        """All of it, as `--json` shows it."""
        return {**asdict(self), "probability": self.probability}


def probability_of(weight: float) -> float:
    """The chance that goes with odds of two to the power of `weight`."""
    return 1.0 / (1.0 + exp2(-weight)) if weight > -1000.0 else 0.0


class Verdict(StrEnum):
    """Whether two records are one person, and what settled it."""

    ONE_PERSON = "one_person"
    BELOW_THRESHOLD = "below_threshold"  # their clusters do not go together well enough
    NO_LIKELY_PAIR = "no_likely_pair"  # none of their records met in a block with tolerable odds
    TOO_LARGE = "too_large"  # together they would have more records than a cluster may have
    REVIEW = "review"  # in the stream: alike, but not enough; a steward decides
    KEPT_APART = "kept_apart"  # in the stream: a rule or a decision forbids it


@dataclass(frozen=True, slots=True)
class Explanation:
    """Two records, and the two clusters through which they were united or stay apart."""

    verdict: Verdict
    pair: Waterfall
    clusters: Waterfall
    """The two groups compared as people; the same as `pair` if each holds one record."""
    groups: tuple[tuple[str, ...], ...]
    """The first record's cluster and the second's when they were united, or at the end."""
    threshold: float
    """Above this total two clusters are one person; in the stream from this total on."""

    def to_json(self) -> dict[str, Any]:
        """All of it, as `--json` shows it."""
        return {
            "one_person": self.verdict is Verdict.ONE_PERSON,
            "verdict": self.verdict,
            "threshold": self.threshold,
            "pair": self.pair.to_json(),
            "clusters": {"records": self.groups, **self.clusters.to_json()},
        }


def groups_of(a: int, b: int, merges: list[tuple[int, int]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The clusters of two records just before they were united; their last ones if they never were."""
    members: dict[int, list[int]] = {}
    home = {a: a, b: b}
    for one, other in merges:
        if {home[a], home[b]} == {one, other}:
            break
        members.setdefault(one, [one]).extend(members.pop(other, [other]))
        for record, root in home.items():
            if root == other:
                home[record] = one
    first, second = (tuple(sorted(members.get(home[one], [home[one]]))) for one in (a, b))
    return first, second


def waterfall_of_sums(model: Model, sums: Sums, size: int) -> Waterfall:
    """Every weight behind `model.score_sums(sums, size)`."""
    steps = tuple(
        Step(c.NAMES[number], f"{sums[number][0]:.0f} pairs", 0, match / log(2), kin / log(2))
        for number, match, kin in model.weigh_sums(sums, size)
    )
    prior, total = log2(model.match_prior), model.score_sums(sums, size) / log(2)
    return Waterfall(prior, steps, total - prior - sum(step.weight for step in steps), total)


def waterfall(model: Model, findings: tuple[int, ...]) -> Waterfall:
    """Every weight behind `model.score(findings)`: prior, weights and what is taken off make the total."""
    steps = []
    for found in findings:
        number, level, count = c.parts_of(found)
        match, kin = model.weight(found)
        name = LEVEL_NAMES.get(number, _PLAIN)[level]
        steps.append(Step(c.NAMES[number], name, count, match / log(2), kin / log(2)))
    prior, total = log2(model.match_prior), model.score(findings) / log(2)
    against_strangers = prior + sum(step.weight for step in steps)
    return Waterfall(prior, tuple(steps), total - against_strangers, total)
