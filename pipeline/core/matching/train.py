"""Learning without labels: expectation maximisation over candidate pairs.

The chances among matches, what relatives share, and the two priors are learned; strangers follow from
frequencies. Every sum is taken in a fixed order, so the same records give the same model.
"""

from __future__ import annotations

from collections import Counter
from math import exp, log
from typing import Final

from . import levels as c
from .defaults import DEFAULTS
from .model import Model

ROUNDS: Final = 12
PRIOR_PAIRS: Final = 40.0
PRIOR_SHARE: Final = 0.1
"""So many pairs the shipped chances weigh against those that are seen."""


SHARED: Final = (
    c.FAMILY,
    c.MIDDLE,
    c.NATIONAL_ID,
    c.PHONE,
    c.EMAIL,
    c.ADDRESS,
    c.PLACE,
    c.MOTHER,
    c.ETHNICITY,
)
"""What relatives may share is learned too; that they differ in given name and birth date is what they are."""


def learn(model: Model, patterns: Counter[tuple[int, ...]], share: float, records: int) -> Model:
    """`patterns`: findings of candidate pairs of so many records, counted; this `share` of all candidates."""
    rows = sorted(patterns.items())
    pairs = records * (records - 1) / 2.0
    for _ in range(ROUNDS):
        prior = max(PRIOR_PAIRS, PRIOR_SHARE * model.match_prior * share * pairs)
        seen = {k: [prior * one for one in v.m] for k, v in DEFAULTS.items()}
        kin = {k: [PRIOR_PAIRS * one for one in v.h] for k, v in DEFAULTS.items()}
        matches = relatives = 0.0
        to_match, to_kin = log(model.match_prior), log(model.relative_prior)
        for findings, times in rows:
            m, h = to_match, to_kin
            for found in findings:
                one = model.weight(found)
                m += one[0]
                h += one[1]
            top = max(m, h, 0.0)
            em, eh, eu = exp(m - top), exp(h - top), exp(-top)
            whole = em + eh + eu
            match = times * em / whole
            matches += match
            relatives += times * eh / whole
            if (relative := times * eh / whole) > 1e-3:
                for found in findings:
                    if found & 31 in SHARED:
                        kin[found & 31][(found >> 5) & 7] += relative
            if match > 1e-3:
                for found in findings:
                    seen[found & 31][(found >> 5) & 7] += match
        model = Model(
            model.records,
            min(max(matches / share / pairs, 0.05 / records), 0.2),
            min(max(relatives / share / pairs, 0.005 / records), 0.2),
            1.0 + 2.0 * matches / share / records,
            {k: tuple(one / sum(v) for one in v) for k, v in seen.items()},
            {k: tuple(one / sum(v) for one in v) for k, v in kin.items()},
            model.frequencies,
        )
    return model


def describe(model: Model) -> str:
    """The model as lines of text."""
    priors = f"match_prior {model.match_prior:.2e} relative_prior {model.relative_prior:.2e}"
    lines = [f"records {model.records} copies {model.copies:.2f} {priors}"]
    for number, chances in model.chances.items():
        among = " ".join(f"{one:.3f}" for one in chances)
        lines.append(f"{c.NAMES[number]}: {among} | {' '.join(f'{one:.3f}' for one in model.shared[number])}")
    return "\n".join(lines)
