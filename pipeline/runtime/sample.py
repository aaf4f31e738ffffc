"""One in SLICES of all components, kept on `elo.sample` as they are on `elo.state`, pages included.

A component belongs to the sample by a hash of its root alone, so the sample stands for all. What a batch
changes of it is copied in the same transaction: at every moment the sample equals that part of the state. A
partition whose last owner did not copy, because it was an older version or the topic is a new one, copies
everything with its first batch. The note beside the committed offset tells: it names the topic's incarnation.
Source: docs/decisions/0027
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from zlib import crc32

from ..core.node import COMPONENT_KEY, PAGE_KEY
from .store import Store

SLICES: Final = 32
"""A million people are 31,000 in the sample: read and judged in two seconds, and 1 in 32 of the writes."""
NOTED: Final = "sample"
"""Where the note says to which incarnation of the topic its writer copies."""
_PAGE_SUFFIX: Final = -3  # behind the root: a zero byte and the number of the page
_MIX: Final = 0x9E3779B1  # without it roots that differ in few digits would be chosen by those digits
_BELOW: Final = (1 << 32) // SLICES


def is_sampled(root: bytes) -> bool:
    """Whether a component is in the sample. Does not depend on its partition."""
    return (crc32(root) * _MIX & 0xFFFFFFFF) < _BELOW


def sampled(records: Iterable[tuple[bytes, bytes | None]]) -> Iterator[tuple[bytes, bytes | None]]:
    """Those records of a state that belong to the sample."""
    for key, value in records:
        kind = key[:1]
        if kind == COMPONENT_KEY:
            if is_sampled(key[1:]):
                yield key, value
        elif kind == PAGE_KEY and is_sampled(key[1:_PAGE_SUFFIX]):
            yield key, value


class Sample:
    """One partition's part of it, as its owner writes it. `topic_id`: the incarnation of the topic."""

    def __init__(self, store: Store, topic_id: str, noted: object) -> None:
        """`noted`: the incarnation to which the last owner copied. What is on disk is what is committed."""
        self.topic_id = topic_id
        self._missing: dict[bytes, bytes | None] = {}
        if noted != topic_id:
            for kind in (COMPONENT_KEY, PAGE_KEY):
                self._missing.update(sampled(store.scan(kind)))

    def copies(self, records: Mapping[bytes, bytes | None]) -> dict[bytes, bytes | None]:
        """What is to be copied with a batch that writes `records`."""
        return {**self._missing, **dict(sampled(records.items()))}

    def copied(self) -> None:
        """A batch with all its copies is committed."""
        self._missing = {}
