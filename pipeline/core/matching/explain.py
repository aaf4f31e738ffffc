"""Why two records are one person, or not: the weights of all comparisons, from the prior to the total."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp2, log, log2
from typing import Final

from . import levels as c
from .model import Model

_WORDS: Final = ("exact", "another form", "initial", "close", "similar", "elsewhere in the name", "different")
_PLAIN: Final = ("same", "almost", "different", "same mailbox name")
LEVEL_NAMES: Final = {
    c.GIVEN: _WORDS,
    c.FAMILY: _WORDS,
    c.MIDDLE: ("all", "some", "initials", "none"),
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
        return 1.0 / (1.0 + exp2(-self.total))


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
