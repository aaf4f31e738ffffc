"""The model: how much a finding speaks for two records being one person. Fellegi's and Sunter's weights, with
three kinds of pairs.

Two records are of one person (a *match*), of two people who share what families share (*relatives*), or of
strangers. For each comparison and level, `m` is the chance among matches, `h` among relatives, `u` among
strangers. Where a value agrees, `u` is its frequency: a rare name proves more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from math import exp, log, log1p
from typing import Any, Final

import orjson

from . import levels as c
from .defaults import DEFAULTS

FORMAT: Final = "elo-matching-1"
FIRMNESS: Final = 0.75
"""What differs between two clusters of n records each counts n ** FIRMNESS times: n records err together less
often than one, yet not independently."""


Sums = dict[int, list[float]]
"""By comparison: number of pairs, sums of log m/u and log h/u, sums of m/u and h/u."""
MANY: Final = frozenset(
    (c.NATIONAL_ID, c.OTHER_ID, c.PHONE, c.EMAIL, c.ADDRESS, c.PLACE, c.OCCUPATION, c.ORG)
)
"""Comparisons of what one person may have several of."""


@dataclass(slots=True)
class Model:
    """Parameters of one version, frozen once published."""

    records: int
    """So many records the frequencies are counted in."""
    match_prior: float
    """The chance that two records taken at random are one person."""
    relative_prior: float
    copies: float = 1.5
    """How many records there are of one person: so often a value is seen without being common."""
    chances: dict[int, tuple[float, ...]] = field(
        default_factory=lambda: {k: v.m for k, v in DEFAULTS.items()}
    )
    shared: dict[int, tuple[float, ...]] = field(
        default_factory=lambda: {k: v.h for k, v in DEFAULTS.items()}
    )
    frequencies: Mapping[str, int] = field(default_factory=dict)
    """How many of `records` hold a value, by `compare.terms_of`; what is missing is held by none."""
    _weights: dict[int, tuple[float, float]] = field(default_factory=dict, compare=False, repr=False)

    def document(self) -> dict[str, Any]:
        """The model as plain JSON values; `document.read_model` reads it.

        `version` is a hash of all else, so equal models have equal versions.
        """
        content = {
            "format": FORMAT,
            "records": self.records,
            "match_prior": self.match_prior,
            "relative_prior": self.relative_prior,
            "copies": self.copies,
            "matches": _by_name(self.chances),
            "relatives": _by_name(self.shared),
            "frequencies": dict(sorted(self.frequencies.items())),
        }
        return {"version": version_of(content), **content}

    def weight(self, found: int) -> tuple[float, float]:
        """Natural logarithms of m/u and h/u of a finding."""
        known = self._weights.get(found)
        if known is None:
            known = self._weights[found] = self._weigh(found)
        return known

    def _weigh(self, found: int) -> tuple[float, float]:
        number, level, count = c.parts_of(found)
        shipped = DEFAULTS[number]
        times = shipped.frequency[level]
        u = shipped.u[level]
        if times:
            u = times * (max(count - self.copies, 0.0) + 0.5) / self.records + shipped.unseen
            if times > 1:
                u = max(u, shipped.u[level])
            u = min(u, 0.9)
        h = self.shared[number][level]
        h = max(h, u) if number in (c.GIVEN, c.INITIAL) else h
        m = max(self.chances[number][level], u) if level == 0 else self.chances[number][level]
        return log(max(m, 1e-6) / max(u, 1e-9)), log(max(h, 1e-6) / max(u, 1e-9))

    def score(self, findings: tuple[int, ...]) -> float:
        """The logarithm of the odds that two records are one person."""
        match, kin = log(self.match_prior), log(self.relative_prior)
        for found in findings:
            one = self.weight(found)
            match += one[0]
            kin += one[1]
        return match - (kin + log1p(exp(-kin)) if kin > 0 else log1p(exp(kin)))

    def add(self, sums: Sums, findings: tuple[int, ...]) -> None:
        """Add one pair to the sums of two clusters."""
        for found in findings:
            m, h = self.weight(found)
            entry = sums.get(found & 31)
            if entry is None:
                sums[found & 31] = [1.0, m, h, exp(m), exp(h)]
            else:
                entry[0] += 1.0
                entry[1] += m
                entry[2] += h
                entry[3] += exp(m)
                entry[4] += exp(h)

    def total(self, a: Sums, b: Sums) -> Sums:
        """The sums of both, in a new object."""
        both = {k: list(v) for k, v in a.items()}
        for k, v in b.items():
            if k in both:
                both[k] = [x + y for x, y in zip(both[k], v, strict=True)]
            else:
                both[k] = list(v)
        return both

    def weigh_sums(self, sums: Sums, size: int) -> list[tuple[int, float, float]]:
        """What each comparison of two clusters is worth: its number, log m/u and log h/u, in order.

        `size`: the number of records of the smaller cluster.
        """
        weights = []
        for number in sorted(sums):
            n, m, h, m_ratio, h_ratio = sums[number]
            if number in MANY:
                weights.append((number, log(m_ratio / n), log(h_ratio / n)))
            else:
                many = min(n, size) ** FIRMNESS if m < 0 else 1.0
                weights.append((number, m / n * many, h / n * many))
        return weights

    def score_sums(self, sums: Sums, size: int) -> float:
        """The logarithm of the odds that two clusters are one person."""
        match, kin = log(self.match_prior), log(self.relative_prior)
        for _, m, h in self.weigh_sums(sums, size):
            match += m
            kin += h
        return match - (kin + log1p(exp(-kin)) if kin > 0 else log1p(exp(kin)))


def _by_name(chances: Mapping[int, tuple[float, ...]]) -> dict[str, list[float]]:
    return {c.NAMES[number]: [float(one) for one in among] for number, among in chances.items()}


def version_of(content: Mapping[str, Any]) -> str:
    """What names a model: twelve digits of a hash of its document without the version."""
    return sha256(orjson.dumps(content)).hexdigest()[:12]


def first_model(records: int, further: int = 0) -> Model:
    """The model before learning: shipped chances, and one further record of each person.

    `further`: so many records more the frequencies are counted in.
    """
    n = max(records, 2)
    return Model(n + further, 1.0 / n, 1.0 / n)
