"""Blocking keys: what two records must share for being compared at all.

Many keys, each narrow: a pair needs only one. A block that holds more than `BLOCK_MAX` records finds nobody
any more, so the work for each record is bounded whatever the number of records.
"""

from __future__ import annotations

from array import array
from itertools import chain
from typing import Final
from zlib import adler32, crc32

from .dates import write_date
from .record import Record
from .text import sound

BLOCK_MAX: Final = 60


def open_blocks(keys: list[array[int]]) -> dict[int, list[int]]:
    """The blocks of two to `BLOCK_MAX` records, by key; members are positions in `keys`, in order.

    Most keys are met once and are left out by sorting: a dictionary of all takes three times the memory.
    """
    blocks: dict[int, list[int]] = {}
    held = 0
    last = -1
    for key in sorted(chain.from_iterable(keys)):
        if key != last:
            last, held = key, 1
            continue
        held += 1
        if held == 2:
            blocks[key] = []
        elif held == BLOCK_MAX + 1:
            del blocks[key]
    for position, own in enumerate(keys):
        for key in own:
            block = blocks.get(key)
            if block is not None:
                block.append(position)
    return blocks


def keys_of(record: Record) -> array[int]:
    """The blocking keys of a record in 64 bits each. Two that fall together only cost a comparison."""
    keys: set[str] = set()
    for value in record.national_ids:
        keys.add("n" + value)
        half = len(value) // 2
        keys.add(f"nh{value[:half]}")
        keys.add(f"nt{value[half:]}")
    keys.update("i" + value for value in record.other_ids)
    keys.update("p" + value for value in record.phones)
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
    anchors.extend("p" + value for value in record.phones)
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
