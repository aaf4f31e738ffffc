"""How many records hold a value: what makes a common one prove less. It must not know weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from zlib import crc32

from .compare import terms_of
from .record import Record

SLOTS_MIN: Final = 1 << 16
SLOTS_A_RECORD: Final = 32  # about twice as many as a record has values
ONCE: Final = 1
AGAIN: Final = 2


def count_terms(records: Sequence[Record]) -> dict[str, int]:
    """Value → how many of the records hold it, by `terms_of`, of values that at least two hold.

    What one record holds weighs as much as what none does. Most values are of that kind, so they are found
    out first, by a byte for each place of a hash, and never get into a dictionary.
    """
    slots = SLOTS_MIN
    while slots < SLOTS_A_RECORD * len(records):
        slots *= 2
    mask = slots - 1
    met = bytearray(slots)
    for record in records:
        for term in terms_of(record):
            slot = crc32(term.encode()) & mask
            met[slot] = AGAIN if met[slot] else ONCE
    counts: dict[str, int] = {}
    for record in records:
        for term in terms_of(record):
            if met[crc32(term.encode()) & mask] == AGAIN:
                counts[term] = counts.get(term, 0) + 1
    return {term: count for term, count in counts.items() if count > 1}
