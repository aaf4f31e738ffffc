"""What comparisons are worth before anything is learned: the shipped model, for Portuguese and English.

The chances are rough, as they are in customer files with hand-typed fields; those among matches, and those of
what relatives share, are learned from the records (train.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .levels import (
    ADDRESS,
    BIRTH,
    BIRTH_YEAR,
    EMAIL,
    ETHNICITY,
    FAMILY,
    GENDER,
    GENERATION,
    GIVEN,
    INITIAL,
    MIDDLE,
    MOTHER,
    NATIONAL_ID,
    OCCUPATION,
    ORDER,
    ORG,
    OTHER_ID,
    PHONE,
    PLACE,
    TYPE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Comparison:
    """Chances by level; those of strangers where they do not follow from the frequency of the value."""

    m: tuple[float, ...]
    h: tuple[float, ...]
    u: tuple[float, ...]
    frequency: tuple[float, ...]
    """By level: how many times its share of records the agreeing value is met by chance; 0 if `u` holds."""
    unseen: float = 0.0
    """The least frequency of a value."""


DEFAULTS: Final[dict[int, Comparison]] = {
    # exact, variant, initial, close, similar, moved, unlike
    GIVEN: Comparison(
        (0.82, 0.03, 0.02, 0.07, 0.025, 0.02, 0.015), (0.02, 0.01, 0.03, 0.02, 0.04, 0.02, 0.86),
        (0.01, 0.003, 0.05, 0.002, 0.012, 0.01, 0.92), (1, 3, 1, 60, 0, 2, 0), 2e-4,
    ),
    FAMILY: Comparison(
        (0.80, 0.001, 0.01, 0.08, 0.02, 0.05, 0.039), (0.60, 0.001, 0.01, 0.06, 0.02, 0.08, 0.229),
        (0.003, 0.001, 0.05, 0.001, 0.01, 0.005, 0.97), (1, 3, 1, 60, 0, 2, 0), 1e-4,
    ),
    # all, some, initials, none, all but some only close; brothers and sisters share the mother's surname
    MIDDLE: Comparison(
        (0.56, 0.09, 0.24, 0.05, 0.06), (0.38, 0.14, 0.10, 0.34, 0.04), (0.02, 0.02, 0.06, 0.899, 0.001),
        (1, 2, 1, 0, 60), 1e-3,
    ),
    ORDER: Comparison((0.98, 0.02), (0.999, 0.001), (1.0, 1.0), (0, 0)),
    # exact, swapped, slip, two parts, two slips, near, different
    BIRTH: Comparison(
        (0.80, 0.01, 0.06, 0.04, 0.04, 0.01, 0.04), (0.03, 0.0005, 0.005, 0.015, 0.03, 0.04, 0.8795),
        (4e-5, 5e-5, 9e-4, 4e-3, 0.02, 0.03, 0.945), (1, 0, 0, 0, 0, 0, 0), 3e-5,
    ),
    GENDER: Comparison((0.97, 0, 0.03), (0.5, 0, 0.5), (0.5, 0, 0.5), (0, 0, 0)),
    NATIONAL_ID: Comparison((0.85, 0.07, 0.08), (0.03, 0.005, 0.965), (1e-6, 1e-5, 0.9999), (1, 0, 0), 1e-7),
    OTHER_ID: Comparison((0.85, 0.05, 0.10), (0.02, 0.005, 0.975), (1e-6, 1e-5, 0.9999), (1, 0, 0), 1e-7),
    PHONE: Comparison((0.70, 0.05, 0.25), (0.40, 0.02, 0.58), (1e-6, 1e-5, 0.9999), (1, 0, 0), 1e-6),
    # the same, almost, another, the same name at another provider
    EMAIL: Comparison(
        (0.68, 0.07, 0.21, 0.04), (0.25, 0.02, 0.72, 0.01), (1e-6, 1e-3, 0.998, 1e-3), (1, 0, 0, 10), 1e-6,
    ),
    # dwelling, next door, street, postcode, postcode almost, city, elsewhere
    ADDRESS: Comparison(
        (0.45, 0.05, 0.10, 0.10, 0.03, 0.12, 0.15), (0.55, 0.05, 0.10, 0.08, 0.02, 0.10, 0.10),
        (1e-5, 1e-5, 1e-3, 1e-3, 1e-3, 0.02, 0.97), (1, 1, 1, 1, 4, 1, 0), 1e-5,
    ),
    PLACE: Comparison((0.70, 0.05, 0.25), (0.60, 0.04, 0.36), (0.01, 0.002, 0.98), (1, 2, 0), 1e-4),
    OCCUPATION: Comparison((0.70, 0.02, 0.28), (0.15, 0.02, 0.83), (0.05, 0.01, 0.94), (1, 2, 0), 1e-3),
    # the same, compatible, not, only in part
    MOTHER: Comparison(
        (0.70, 0.20, 0.03, 0.07), (0.30, 0.08, 0.60, 0.02), (1e-5, 1e-3, 0.98, 0.02), (1, 0, 0, 0), 1e-5,
    ),
    ETHNICITY: Comparison((0.95, 0, 0.05), (0.85, 0, 0.15), (0.5, 0.01, 0.49), (1, 0, 0), 1e-2),
    ORG: Comparison((0.70, 0.20, 0.10), (0.10, 0.10, 0.80), (1e-4, 1e-3, 0.998), (1, 0, 0), 1e-4),
    INITIAL: Comparison((0.95, 0, 0.05), (0.15, 0, 0.85), (0.07, 0, 0.93), (1, 0, 0), 1e-3),
    BIRTH_YEAR: Comparison((0.90, 0, 0.10), (0.05, 0, 0.95), (0.015, 0, 0.985), (0, 0, 0)),
    GENERATION: Comparison((0.97, 0, 0.03), (0.10, 0, 0.90), (0.5, 0, 0.5), (0, 0, 0)),
    TYPE: Comparison((0.999, 0, 0.001), (0.99, 0, 0.01), (0.6, 0, 0.4), (0, 0, 0)),
}  # fmt: skip
"""Shipped: what a comparison is worth before anything is learned."""
