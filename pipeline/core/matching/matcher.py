"""Matching as a whole: records in, a model learned without labels, clusters out.

What comes out is a function of the set of records: they are put into the order of their ids, so the order in
which they came does not matter. It must not know where records come from.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from math import log
from typing import Final
from zlib import crc32

from .blocking import Blocks, keys_of
from .cluster import MEMBERS_MAX, Clustering
from .compare import Comparer
from .document import frequent
from .explain import Explanation, Verdict, Waterfall, groups_of, waterfall, waterfall_of_sums
from .frequencies import count_terms
from .model import Model, Sums, first_model
from .record import Record
from .shipped import FURTHER_RECORDS, shipped_frequencies
from .train import learn

TRAINING_PAIRS: Final = 60_000
"""So many candidate pairs the model is learned from, at least, where there are so many."""
EDGE_MIN: Final = -2.0
"""Pairs with smaller log odds are not kept; further records of the two people may still unite them."""
THRESHOLD: Final = 0.5
"""Log odds above which two clusters are one person: a chance of 0.62."""


class Matcher:
    """Records, their blocks and what they have in common."""

    __slots__ = ("_blocks", "_comparer", "counts", "model", "records")

    def __init__(self, records: Iterable[Record], trained: Model | None = None) -> None:
        """`records`: ids must differ. `trained`: a frozen model, used as it is.

        Without a trained one, frequencies are those of the records, and `train` learns the rest.
        """
        self.records = sorted(records, key=lambda record: record.record_id)
        if trained is None:
            self.model = first_model(len(self.records), FURTHER_RECORDS)
            counts = count_terms(self.records)
            for term, count in shipped_frequencies(FURTHER_RECORDS).items():
                counts[term] = counts.get(term, 0) + count
            self.counts: Mapping[str, int] = counts
        else:
            self.model, self.counts = trained, trained.frequencies
        self._blocks = Blocks(map(keys_of, self.records))
        self._comparer = Comparer(self.counts)

    def train(self) -> None:
        """Learn the model from the records, without labels."""
        order = sorted(
            range(len(self.records)), key=lambda at: (crc32(self.records[at].record_id.encode()), at)
        )
        patterns: Counter[tuple[int, ...]] = Counter()
        pairs = used = 0
        for position in order:
            others = self._blocks.others(position)
            patterns.update(self.compare(position, other) for other in others)
            pairs += len(others)
            used += 1
            if pairs >= TRAINING_PAIRS:
                break
        if pairs:
            # Each pair is met from both of its sides.
            self.model = learn(self.model, patterns, 2.0 * used / len(self.records), len(self.records))
        self.model.frequencies = frequent(self.counts)

    def clusters(self) -> dict[str, str]:
        """Record id → the least id of the records that are the same person."""
        found = self._cluster()[0]
        return {record.record_id: self.records[found[at]].record_id for at, record in enumerate(self.records)}

    def edges(self) -> list[tuple[int, int, float]]:
        """The candidate pairs that are kept, by position, with their log odds."""
        return [(a, b, weight) for a, b in self._candidates() if (weight := self.score(a, b)) > EDGE_MIN]

    def pairs(
        self, clusters: Mapping[str, str], truth: Mapping[str, str]
    ) -> Iterator[tuple[str, str, float]]:
        """Pairs worth a look, by their ids and in their order, with the binary logarithm of their odds.

        Those that are kept, those of one cluster and, where the truth is known, those that belong together;
        of more than `MEMBERS_MAX` records that belong together only those that are kept.
        """
        wanted = {(a, b) for a, b, _ in self.edges()}
        for grouping in (clusters, truth):
            groups: dict[str, list[int]] = {}
            for at, record in enumerate(self.records):
                if record.record_id in grouping:
                    groups.setdefault(grouping[record.record_id], []).append(at)
            for group in groups.values():
                if len(group) <= MEMBERS_MAX:
                    wanted.update(combinations(group, 2))
        for a, b in sorted(wanted):
            yield self.records[a].record_id, self.records[b].record_id, self.score(a, b) / log(2)

    def _cluster(self) -> tuple[list[int], list[tuple[int, int]]]:
        clustering = Clustering(self.compare, self.model, THRESHOLD)
        return clustering.run(len(self.records), self.edges()), clustering.merges

    def weigh(self, one: str, other: str) -> Waterfall:
        """The weights behind two records alone, named by their ids. Raises KeyError."""
        return waterfall(self.model, self.compare(self._at(one), self._at(other)))

    def _at(self, record_id: str) -> int:
        at = bisect_left(self.records, record_id, key=lambda record: record.record_id)
        if at == len(self.records) or self.records[at].record_id != record_id:
            raise KeyError(record_id)
        return at

    def explain(self, one: str, other: str) -> Explanation:
        """Why two records, named by their ids, are one person or not. Raises KeyError."""
        a, b = self._at(one), self._at(other)
        found, merges = self._cluster()
        groups = groups_of(a, b, merges)
        sums: Sums = {}
        for x in groups[0]:
            for y in groups[1]:
                self.model.add(sums, self.compare(x, y))
        clusters = waterfall_of_sums(self.model, sums, min(map(len, groups)))
        if found[a] == found[b]:
            verdict = Verdict.ONE_PERSON
        elif any(
            self.score(x, y) > EDGE_MIN and self._blocks.meet(x, y) for x in groups[0] for y in groups[1]
        ):
            verdict = Verdict.TOO_LARGE if clusters.total > THRESHOLD / log(2) else Verdict.BELOW_THRESHOLD
        else:
            verdict = Verdict.NO_LIKELY_PAIR
        return Explanation(
            verdict,
            self.weigh(one, other),
            clusters,
            tuple(tuple(self.records[at].record_id for at in group) for group in groups),
            THRESHOLD / log(2),
        )

    def compare(self, a: int, b: int) -> tuple[int, ...]:
        """The findings of two records, by position."""
        return self._comparer.compare(self.records[a], self.records[b])

    def score(self, a: int, b: int) -> float:
        """The log odds that two records are one person."""
        return self.model.score(self.compare(a, b))

    def _candidates(self) -> Iterator[tuple[int, int]]:
        """Every pair that shares an open block, once, the smaller position first."""
        for position in range(len(self.records)):
            for other in self._blocks.others(position):
                if other > position:
                    yield position, other
