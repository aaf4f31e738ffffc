"""What two models make of the same records: pairs that one finds to be one person and the other does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Final

EXAMPLES_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class Difference:
    """Pairs of records that only one of two clusterings has: how many, and the first of them by their ids."""

    count: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Contrast:
    """Two clusterings of the same records."""

    clusters: tuple[int, int]
    pairs: tuple[int, int]
    """Pairs of records that are one person: before and after."""
    gained: Difference
    lost: Difference


def contrast(before: Mapping[str, str], after: Mapping[str, str]) -> Contrast:
    """`before` and `after`: record id → cluster, of the same records."""
    both = _pairs(Counter((cluster, after[record]) for record, cluster in before.items()))
    old, new = Counter(before.values()), Counter(after.values())
    pairs = _pairs(old), _pairs(new)
    return Contrast(
        (len(old), len(new)),
        pairs,
        Difference(pairs[1] - both, tuple(islice(_only(after, before), EXAMPLES_MAX))),
        Difference(pairs[0] - both, tuple(islice(_only(before, after), EXAMPLES_MAX))),
    )


def _pairs(sizes: Counter[str] | Counter[tuple[str, str]]) -> int:
    return sum(n * (n - 1) // 2 for n in sizes.values())


def _only(here: Mapping[str, str], there: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Pairs that are together here and apart there, clusters in the order of their names."""
    groups: dict[str, list[str]] = {}
    for record in sorted(here):
        groups.setdefault(here[record], []).append(record)
    for _, group in sorted(groups.items()):
        if len({there[record] for record in group}) > 1:
            yield from (pair for pair in combinations(group, 2) if there[pair[0]] != there[pair[1]])
