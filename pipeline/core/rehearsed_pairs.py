"""Which of the records that are known would match under another section `matching`, pair by pair, and which
would not any more. Nothing is changed, and nobody is grouped: who becomes one person is seen when it is
published.

A function of the set of records. It must not know where they were read.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from .likeness import Judge, judge_of, read_record
from .matching.blocking import Blocks, keys_of
from .matching.record import Record
from .policy import Policy
from .rehearsal_examples import Examples

RECORDS_MAX: Final = 100_000
"""So many records are compared, in some minutes and about 500 MB; of more only their number is told. 20,000
with all fields took 48 s and 206 MB in plain Python."""


class Known(NamedTuple):
    """A comparison record: the profile that it belongs to, and whether its identifier is shared."""

    text: str
    profile_id: str
    is_shared: bool


@dataclass(slots=True)
class PairsFound:
    """Pairs of records by both policies. `matches` weigh `merge_above` or more, `reviews` `review_above`.

    `joining`: of the matches gained, those of two profiles that are apart now; `parting`: of those that are
    lost, those within one.
    """

    matches: list[int] = field(default_factory=lambda: [0, 0])
    reviews: list[int] = field(default_factory=lambda: [0, 0])
    gained: Examples = field(default_factory=Examples)
    lost: Examples = field(default_factory=Examples)
    joining: int = 0
    parting: int = 0

    def to_json(self) -> dict[str, Any]:
        """A part of `elo identity rehearse --json`."""
        return {
            "matches": dict(zip(("before", "after"), self.matches, strict=True)),
            "reviews": dict(zip(("before", "after"), self.reviews, strict=True)),
            "gained": {**self.gained.to_json(), "between_profiles": self.joining},
            "lost": {**self.lost.to_json(), "within_a_profile": self.parting},
        }


def contrast_pairs(records: Mapping[str, Known], before: Policy, after: Policy) -> PairsFound:
    """Compare all records as both policies say. What is shared fills blocks as well, and matches nobody."""
    names = sorted(records, key=lambda name: (records[name].text, name))
    read = [read_record(records[name].text) for name in names]
    found = PairsFound()
    keys = [keys_of(one) for one in read]
    sides = [_Side.of(before, read, keys), _Side.of(after, read, keys)]
    for at, one in enumerate(names):
        if records[one].is_shared:
            continue
        for other in _candidates(sides, at):
            if not records[names[other]].is_shared:
                weights = [None if side is None else side.weigh(at, other) for side in sides]
                _count(found, sides, (one, names[other]), weights, records)
    return found


class _Side:
    """The records as one policy compares them."""

    def __init__(self, judge: Judge, read: list[Record], keys: list[array[int]]) -> None:
        self.judge = judge
        self._read = read
        self._blocks = Blocks(keys, judge.matching.block_records_max)
        self._at = -1
        self._near: frozenset[int] = frozenset()

    @classmethod
    def of(cls, policy: Policy, read: list[Record], keys: list[array[int]]) -> _Side | None:
        """None if the policy compares nobody."""
        judge = judge_of(policy)
        return None if judge is None else cls(judge, read, keys)

    def near(self, at: int) -> frozenset[int]:
        """Who shares an open block with a record. Asked for one record after the other."""
        if at != self._at:
            self._at, self._near = at, frozenset(self._blocks.others(at))
        return self._near

    def weigh(self, at: int, other: int) -> float | None:
        """The weight of two records, the lesser position first; None if they are not compared."""
        if other not in self.near(at):
            return None
        return self.judge.weigh_read(self._read[at], self._read[other])

    def matches(self, weight: float | None) -> bool:
        """Whether a pair of this weight is evidence."""
        return weight is not None and weight >= self.judge.matching.merge_above

    def reviews(self, weight: float | None) -> bool:
        """Whether a pair of this weight is shown to a steward."""
        return weight is not None and not self.matches(weight) and weight >= self.judge.matching.review_above


def _candidates(sides: list[_Side | None], at: int) -> Iterator[int]:
    """Who comes after a record and is compared with it by one of the policies."""
    near = frozenset[int]().union(*(side.near(at) for side in sides if side is not None))
    return (other for other in sorted(near) if other > at)


def _count(
    found: PairsFound,
    sides: list[_Side | None],
    pair: tuple[str, str],
    weights: list[float | None],
    records: Mapping[str, Known],
) -> None:
    matched = [False, False]
    for number, (side, weight) in enumerate(zip(sides, weights, strict=True)):
        if side is not None:
            matched[number] = side.matches(weight)
            found.matches[number] += matched[number]
            found.reviews[number] += side.reviews(weight)
    if matched[0] == matched[1]:
        return
    ends = sorted(pair)
    is_one = records[ends[0]].profile_id == records[ends[1]].profile_id
    example = {"identifiers": ends, "weight": dict(zip(("before", "after"), weights, strict=True)),
               "one_profile": is_one}  # fmt: skip
    if matched[1]:
        found.joining += not is_one
        found.gained.add(f"{is_one:d} {ends}", lambda: example)
    else:
        found.parting += is_one
        found.lost.add(f"{not is_one:d} {ends}", lambda: example)
