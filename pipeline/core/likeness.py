"""What of a facet can be compared, and how much two of them speak for one person: the comparison record of an
identifier, its blocking keys, and the weight of a pair under a model that does not change.

All of it is a function of what is compared, so nothing depends on what came before. It must not know how
records find each other.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache
from math import log
from typing import Final

import orjson

from .facet import Facet
from .matching.blocking import keys_of
from .matching.compare import Comparer
from .matching.explain import Waterfall, waterfall, waterfall_of_sums
from .matching.model import Model, Sums
from .matching.person import FIELDS, OTHER_NAMES, fields_of
from .matching.record import CHARS_MAX, Record
from .matching.shipped import shipped_model
from .policy import Policy
from .policy_matching import Matching

REMEMBERED_MAX: Final = 40_000
"""Records that are kept in the form in which they are compared, with their blocking keys: 120 MB in a worker
if they have all fields. To read one anew takes longer than to compare two."""
WEIGHT_DIGITS: Final = 2
"""Of a weight: what is written of it is what decides."""
TRAITS: Final[frozenset[str]] = FIELDS.union(OTHER_NAMES)
"""The traits that are compared."""
NEEDED: Final = frozenset(("full_name", "given_name", "surname", "birth_date", "org_name"))
"""A record has at least one of them: a city alone is worth no comparison."""
_OWN: Final = frozenset(("email", "phone", "cpf", "nis"))
"""Normalisers of types whose values are compared too."""


def record_text(identifier: str, facet: Facet, policy: Policy) -> str:
    """The comparison record of an identifier, as canonical JSON of field → text; empty if it has none.

    It is made of the surviving comparison traits of its own facet and of its own value, of nothing else.
    """
    traits = {name: facet.traits[name][0] for name in TRAITS & facet.traits.keys()}
    kind, _, value = identifier.partition(":")
    normalise = policy.rules[kind].normalise
    fields = fields_of(traits, [(normalise, value)] if normalise in _OWN else [])
    if fields.keys().isdisjoint(NEEDED):
        return ""
    short = {name: told[:CHARS_MAX] for name, told in fields.items()}
    return orjson.dumps(short, option=orjson.OPT_SORT_KEYS).decode()


def read_record(text: str) -> Record:
    """A comparison record in the form in which it is compared."""
    return Record("", orjson.loads(text))


_record: Final = lru_cache(maxsize=REMEMBERED_MAX)(read_record)


@lru_cache(maxsize=REMEMBERED_MAX)
def _keys(text: str) -> array[int]:
    """Numbers, because their names take nine times the memory."""
    return keys_of(_record(text)) if text else array("Q")


def _name(key: int) -> str:
    return f":{key:016x}"


def blocks_of(text: str) -> list[str]:
    """The names of the blocks that a record is in, ascending. None is an identifier: their type is empty."""
    return [_name(key) for key in _keys(text)]


def is_in_block(text: str, block: str) -> bool:
    """Whether a record is in a block."""
    return int(block[1:], 16) in _keys(text)


def common_blocks(a: str, b: str) -> list[str]:
    """The names of the blocks that two records are both in, ascending."""
    both = set(_keys(b))
    return [_name(key) for key in _keys(a) if key in both]


class Judge:
    """Weighs pairs under one section `matching`. `mark` names all that decides."""

    def __init__(self, matching: Matching) -> None:
        self.matching = matching
        self.model: Model = matching.trained or shipped_model()
        self.version = str(self.model.document()["version"])
        rule = (self.version, matching.merge_above, matching.review_above, matching.block_records_max)
        self.mark = " ".join(map(str, rule))
        self._comparer = Comparer(self.model.frequencies)

    def _findings(self, a: str, b: str) -> tuple[int, ...]:
        if a > b:  # The one order in which two records are compared, whoever asks.
            a, b = b, a
        return self._comparer.compare(_record(a), _record(b))

    def weigh(self, a: str, b: str) -> float:
        """The weight of two records: the binary logarithm of the odds that they are of one person."""
        return self.rounded(self.model.score(self._findings(a, b)) / log(2))

    def weigh_read(self, a: Record, b: Record) -> float:
        """As `weigh`, of two records that were read; the lesser text comes first."""
        return self.rounded(self.model.score(self._comparer.compare(a, b)) / log(2))

    @staticmethod
    def rounded(weight: float) -> float:
        """A weight as it is written, and decides."""
        return round(weight, WEIGHT_DIGITS)

    def weigh_groups(self, some: Sequence[str], others: Sequence[str]) -> float:
        """The same of two groups of records, each of which is one person."""
        total = self.model.score_sums(self._sums(some, others), min(len(some), len(others)))
        return self.rounded(total / log(2))

    def _sums(self, some: Sequence[str], others: Sequence[str]) -> Sums:
        sums: Sums = {}
        for a in sorted(some):
            for b in sorted(others):
                self.model.add(sums, self._findings(a, b))
        return sums

    def explain(self, a: str, b: str) -> Waterfall:
        """Every weight behind `weigh`."""
        return waterfall(self.model, self._findings(a, b))

    def explain_groups(self, some: Sequence[str], others: Sequence[str]) -> Waterfall:
        """Every weight behind `weigh_groups`."""
        return waterfall_of_sums(self.model, self._sums(some, others), min(len(some), len(others)))


@lru_cache(maxsize=4)
def _judge(matching: Matching) -> Judge:
    return Judge(matching)


def judge_of(policy: Policy) -> Judge | None:
    """What weighs under a policy, one for the whole process; None where nobody is compared."""
    return None if policy.matching is None else _judge(policy.matching)
