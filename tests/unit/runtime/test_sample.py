"""Who is in the sample: one in SLICES, whatever the names look like; pages go with their component."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest
from rocksdict import Cache

from pipeline.core.node import component_key, identifier_key, page_key
from pipeline.runtime.position import Position
from pipeline.runtime.sample import SLICES, Sample, is_sampled, sampled
from pipeline.runtime.store import Store

NAMES = 200_000
ROOTS = [
    pytest.param(lambda number: f"user_id:{number}", id="numbers"),
    pytest.param(lambda number: f"user_id:u{number:08}", id="padded"),
    pytest.param(lambda number: f"email:person.{number}@example.com", id="mails"),
    pytest.param(lambda number: f"phone:+55119{number:08}", id="phones"),
]


@pytest.mark.parametrize("root_of", ROOTS)
def test_one_in_so_many_is_chosen_on_every_partition_and_of_every_kind(
    root_of: Callable[[int], str],
) -> None:
    """Among even and odd numbers, and on each of four partitions, within four standard deviations."""
    chosen = [number for number in range(NAMES) if is_sampled(root_of(number).encode())]
    groups = [(chosen, NAMES), *(([one for one in chosen if one % 2 == odd], NAMES / 2) for odd in (0, 1))]
    for partition in range(4):
        there = [one for one in chosen if crc32(root_of(one).encode()) % 4 == partition]
        groups.append((there, NAMES / 4))
    for found, among in groups:
        expected = among / SLICES
        assert abs(len(found) - expected) < 4 * expected**0.5


def roots(wanted: bool, count: int) -> list[str]:
    """Roots that belong to the sample, or do not."""
    names = (f"user_id:{number}" for number in range(10_000))
    return [one for one in names if is_sampled(one.encode()) is wanted][:count]


def test_a_component_is_copied_with_its_pages_and_its_tombstone_and_nothing_else() -> None:
    (inside,), (outside,) = roots(True, 1), roots(False, 1)
    records: dict[bytes, bytes | None] = {}
    for root in (inside, outside):
        records |= {component_key(root): b"c", page_key(root, 1): b"f", page_key(root, 300): None}
        records |= {identifier_key(root): b"i", b"s" + root.encode(): b"d"}
    assert dict(sampled(records.items())) == {
        component_key(inside): b"c", page_key(inside, 1): b"f", page_key(inside, 300): None
    }  # fmt: skip


def test_a_partition_copies_all_of_it_first_unless_the_last_owner_did(tmp_path: Path) -> None:
    store = Store(tmp_path / "p", Cache(1_000_000), 1_000_000)
    inside, outside = roots(True, 3), roots(False, 3)
    stored = {component_key(root): root.encode().rjust(16) for root in (*inside, *outside)}
    stored |= {page_key(inside[0], 1): b"page"}
    store.restore(stored.items(), Position("topic"))
    expected = {key: value for key, value in stored.items() if any(one.encode() in key for one in inside)}
    changed: dict[bytes, bytes | None] = {component_key(inside[1]): None}

    known = Sample(store, "topic-2", "topic-2")
    assert known.copies(changed) == changed
    for noted in (None, "topic-1"):
        fresh = Sample(store, "topic-2", noted)
        assert fresh.copies({}) == expected
        assert fresh.copies(changed) == {**expected, **changed}  # As often as the batch is void.
        fresh.copied()
        assert fresh.copies(changed) == changed
    store.close()
