"""Blocking keys: what two records must share for being compared at all.

Many keys, each narrow: a pair needs only one. A block that holds more than `BLOCK_MAX` records finds nobody
any more, so the work for each record is bounded whatever the number of records.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import accumulate
from typing import Final
from zlib import adler32, crc32

from .dates import write_date
from .record import Record
from .text import sound

BLOCK_MAX: Final = 60
PARTS: Final = 64  # by the first six bits of a key
LOCAL_DIGITS: Final = 7  # of a phone number without its area, where numbers are the shortest
ID_END: Final = 5  # characters; a slip touches one end only, also if it makes the number longer or shorter
ORG_WORDS_MAX: Final = 6
PHONE_END: Final = 4  # enough beside a word of the name; a slip before it does not matter


class Blocks:
    """Which records share an open block: one of two to `most` records. Records go by their positions.

    Everything lies in flat arrays, a few hundred bytes a record, and only a part of the keys is looked at at
    a time while they are made: dictionaries and lists of all would take ten times the memory.
    """

    __slots__ = ("_first", "_members", "_own", "_starts")

    def __init__(self, keys: Iterable[Iterable[int]], most: int = BLOCK_MAX) -> None:
        """`keys`: the keys of each record, none twice."""
        parts = [(array("Q"), array("I")) for _ in range(PARTS)]
        sizes = array("I")
        for position, own in enumerate(keys):
            sizes.append(0)
            for key in own:
                part = parts[key >> 58]
                part[0].append(key)
                part[1].append(position)
        members, starts = array("I"), array("I", (0,))
        while parts:
            met: dict[int, list[int]] = {}
            for key, position in zip(*parts.pop(), strict=True):
                block = met.get(key)
                if block is None:
                    met[key] = [position]
                else:
                    block.append(position)
            for block in met.values():
                if 1 < len(block) <= most:
                    members.extend(block)
                    starts.append(len(members))
        self._members, self._starts = members, starts
        for position in members:
            sizes[position] += 1
        self._first = array("I", accumulate(sizes, initial=0))
        """Where the blocks of a record begin in `_own`, and in the next place where they end."""
        self._own = array("I", bytes(4 * len(members)))
        free = array("I", self._first)
        for block_id in range(len(starts) - 1):
            for position in members[starts[block_id] : starts[block_id + 1]]:
                self._own[free[position]] = block_id
                free[position] += 1

    def others(self, position: int) -> list[int]:
        """Who shares an open block with a record, in order."""
        members, starts = self._members, self._starts
        found: set[int] = set()
        for block_id in self._blocks_of(position):
            found.update(members[starts[block_id] : starts[block_id + 1]])
        found.discard(position)
        return sorted(found)

    def meet(self, a: int, b: int) -> bool:
        """Whether two records share an open block."""
        return not set(self._blocks_of(a)).isdisjoint(self._blocks_of(b))

    def _blocks_of(self, position: int) -> array[int]:
        return self._own[self._first[position] : self._first[position + 1]]


def keys_of(record: Record) -> array[int]:
    """The blocking keys of a record in 64 bits each. Two that fall together only cost a comparison."""
    keys: set[str] = set()
    for value in record.national_ids:
        keys.add("n" + value)
        end = min(len(value) // 2, ID_END)
        keys.add(f"nh{value[:end]}")
        keys.add(f"nt{value[-end:]}")
    keys.update("i" + value for value in record.other_ids)
    keys.update("p" + value[-LOCAL_DIGITS:] for value in record.phones)
    for value in record.emails:
        keys.add("e" + value)
        local = value.partition("@")[0]
        keys.add("el" + local)
    keys.update("g" + value for value in record.orgs)
    _add_names(record, keys)
    return array("Q", sorted(_number(key) for key in keys))


def _number(key: str) -> int:
    text = key.encode()
    return crc32(text) << 32 | adler32(text)


def _add_names(record: Record, keys: set[str]) -> None:
    name, address = record.name, record.address
    words: list[str] = []
    if name is not None:
        words = [word for word in (name.first, *name.middle, name.last) if len(word) > 1]
    elif record.orgs:
        words = [word for word in record.orgs[0].split() if len(word) > 1][:ORG_WORDS_MAX]
    words = sorted({sound(word) for word in words} - {""})
    for i, word in enumerate(words):
        for other in words[i + 1 :]:
            keys.add(f"w{word} {other}")
    anchors: list[str] = []
    if record.birth is not None:
        year, month, day = record.birth
        written = write_date(record.birth)
        keys.add("d" + written)
        anchors.append(f"y{year}")
        if day:
            anchors.append(f"m{min(month, day):02}{max(month, day):02}")
    if address is not None:
        if address.postcode:
            anchors.append("z" + address.postcode)
        if address.street:
            anchors.append("s" + sound(address.street.replace(" ", "")))
            if address.number:
                anchors.append(f"h{address.street[:4]}{address.number}")
                keys.add(f"h{address.street} {address.number}")
        if address.city:
            anchors.append("c" + sound(address.city.replace(" ", "")))
    if record.place:
        anchors.append("b" + record.place)
    if record.occupation:
        anchors.append("o" + record.occupation)
    anchors.extend("p" + value[-PHONE_END:] for value in record.phones)
    anchors.extend("e" + value.partition("@")[0][:6] for value in record.emails)
    if record.mother is not None:
        anchors.append(f"m{sound(record.mother.first)} {sound(record.mother.last)}")
    if record.birth is not None:
        keys.update(f"d{write_date(record.birth)} {word}" for word in words)
    for anchor in anchors:
        for word in words:
            keys.add(f"{anchor} {word}")
    for i, anchor in enumerate(anchors):
        for other in anchors[i + 1 :]:
            keys.add(f"{anchor}+{other}")
