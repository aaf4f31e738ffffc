"""Matching as a whole: records in, a model learned without labels, clusters out.

What comes out is a function of the set of records: they are put into the order of their ids, so the order in
which they came does not matter. It must not know where records come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from zlib import crc32

from .blocking import keys_of, open_blocks
from .cluster import Clustering
from .compare import Comparer, terms_of
from .document import frequent
from .explain import Waterfall, waterfall
from .model import Model, first_model
from .record import Record
from .train import learn

TRAINING_PAIRS: Final = 60_000
"""So many candidate pairs the model is learned from, at least, where there are so many."""
EDGE_MIN: Final = -2.0
"""Pairs with smaller log odds are not kept; further records of the two people may still unite them."""
THRESHOLD: Final = 0.5
"""Log odds above which two clusters are one person: a chance of 0.62."""


class Matcher:
    """Records, their blocks and what they have in common."""

    __slots__ = ("_blocks", "_comparer", "_keys", "counts", "model", "records")

    def __init__(self, records: Iterable[Record], trained: Model | None = None) -> None:
        """`records`: ids must differ. `trained`: a frozen model, used as it is.

        Without a trained one, frequencies are those of the records, and `train` learns the rest.
        """
        self.records = sorted(records, key=lambda record: record.record_id)
        self.counts: Mapping[str, int] = (
            Counter(term for record in self.records for term in terms_of(record))
            if trained is None
            else trained.frequencies
        )
        self._keys = [keys_of(record) for record in self.records]
        self._blocks = open_blocks(self._keys)
        self.model = first_model(len(self.records)) if trained is None else trained
        self._comparer = Comparer(self.counts)

    def train(self) -> None:
        """Learn the model from the records, without labels."""
        order = sorted(
            range(len(self.records)), key=lambda at: (crc32(self.records[at].record_id.encode()), at)
        )
        patterns: Counter[tuple[int, ...]] = Counter()
        pairs = used = 0
        for position in order:
            others = self._others(position)
            patterns.update(self.compare(position, other) for other in others)
            pairs += len(others)
            used += 1
            if pairs >= TRAINING_PAIRS:
                break
        if pairs:
            # Each pair is met from both of its sides.
            self.model = learn(self.model, patterns, 2.0 * used / len(self.records))
        self.model.frequencies = frequent(self.counts)

    def clusters(self) -> dict[str, str]:
        """Record id → the least id of the records that are the same person."""
        edges = [(a, b, weight) for a, b in self._candidates() if (weight := self.score(a, b)) > EDGE_MIN]
        found = Clustering(self.compare, self.model, THRESHOLD).run(len(self.records), edges)
        return {record.record_id: self.records[found[at]].record_id for at, record in enumerate(self.records)}

    def explain(self, one: str, other: str) -> Waterfall:
        """The weights behind two records, named by their ids. Raises KeyError."""
        positions = {record.record_id: at for at, record in enumerate(self.records)}
        return waterfall(self.model, self.compare(positions[one], positions[other]))

    def compare(self, a: int, b: int) -> tuple[int, ...]:
        """The findings of two records, by position."""
        return self._comparer.compare(self.records[a], self.records[b])

    def score(self, a: int, b: int) -> float:
        """The log odds that two records are one person."""
        return self.model.score(self.compare(a, b))

    def _candidates(self) -> Iterator[tuple[int, int]]:
        """Every pair that shares an open block, once, the smaller position first."""
        for position in range(len(self.records)):
            for other in self._others(position):
                if other > position:
                    yield position, other

    def _others(self, position: int) -> list[int]:
        """Who shares an open block with a record, in order."""
        others: set[int] = set()
        for key in self._keys[position]:
            block = self._blocks.get(key)
            if block is not None:
                others.update(block)
        others.discard(position)
        return sorted(others)
