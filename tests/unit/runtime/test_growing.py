"""What belongs where when partitions are split; the growth itself is in tests/faults/test_growth.py."""

from __future__ import annotations

import pytest

from pipeline.core.node import component_key, identifier_key, page_key
from pipeline.runtime import adoption, definitions
from pipeline.runtime.checkpoint import partition_of
from pipeline.runtime.growing import is_of_partition, node_of
from pipeline.runtime.store import MEMBERS_KEY, SPLIT_KEY


@pytest.mark.parametrize("key", ["user_id:u1", "email:ana@example.com", "device_id:a\x00b"])
def test_every_record_of_a_node_goes_with_it(key: str) -> None:
    stored = [identifier_key(key), component_key(key), page_key(key, 1), page_key(key, 300)]
    assert [node_of(one) for one in stored] == [key.encode()] * 4
    assert not any(map(is_of_partition, stored))


def test_what_is_of_the_partition_stays() -> None:
    keys = [
        definitions.WORK_KEY,
        definitions.version_key("vip", 2),
        MEMBERS_KEY,
        SPLIT_KEY,
        adoption.WORK_KEY,
        adoption.model_key("5dba36fac3fd"),
    ]
    assert all(map(is_of_partition, keys))


@pytest.mark.parametrize(("before", "after"), [(1, 3), (4, 16), (3, 6)])
def test_a_node_stays_in_its_partition_or_goes_to_a_new_one_of_its_own(before: int, after: int) -> None:
    for number in range(500):
        old, new = (partition_of(f"user_id:u{number}", count) for count in (before, after))
        assert new % before == old
        assert new == old or new >= before
