"""Who shares a block with whom: the flat arrays against the obvious dictionary, and who is too many."""

from __future__ import annotations

import random

import pytest

from pipeline.core.matching.blocking import BLOCK_MAX, Blocks, keys_of
from pipeline.core.matching.cluster import parts_of
from pipeline.core.matching.compare import terms_of
from pipeline.core.matching.frequencies import count_terms
from pipeline.core.matching.record import CHARS_MAX, Record
from tests.support.people import make_people


@pytest.mark.parametrize("seed", range(5))
def test_blocks_hold_what_a_dictionary_of_keys_holds(seed: int) -> None:
    rng = random.Random(seed)
    keys = [rng.sample(range(1 << 63, (1 << 63) + 40), k=rng.randrange(6)) for _ in range(300)]
    holders: dict[int, list[int]] = {}
    for position, own in enumerate(keys):
        for key in own:
            holders.setdefault(key, []).append(position)
    blocks = Blocks(keys)
    for position, own in enumerate(keys):
        open_ones = [holders[key] for key in own if len(holders[key]) <= BLOCK_MAX]
        others = {other for block in open_ones for other in block} - {position}
        assert blocks.others(position) == sorted(others)
        assert all(
            blocks.meet(position, other) == (other in others)
            for other in range(0, 300, 7)
            if other != position
        )


@pytest.mark.parametrize(("holders", "met"), [(BLOCK_MAX, BLOCK_MAX - 1), (BLOCK_MAX + 1, 0)])
def test_a_block_with_too_many_records_finds_nobody(holders: int, met: int) -> None:
    assert len(Blocks([[7]] * holders).others(0)) == met


def test_no_record_has_a_key_twice() -> None:
    for person in make_people(3, 30):
        keys = keys_of(Record(person.record_id, person.fields))
        assert len(set(keys)) == len(keys) > 0


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"national_id": "132-42-8906"}, {"national_id": "132-24-8906"}),
        ({"national_id": "390.533.447-05"}, {"national_id": "390.534.347-05"}),
        ({"national_id": "390.533.447-05"}, {"national_id": "39053344705"[:3] + "33447-05"}),
        ({"national_id": "390.533.447-05"}, {"national_id": "390.533.4470-05"}),
        ({"phone": "503-800-3259"}, {"phone": "800-3259"}),
        (
            {"full_name": "Rui Lima", "phone": "503-801-3259"},
            {"full_name": "Rui Sá", "phone": "503-800-3259"},
        ),
        ({"org_name": "Padaria Lima Central"}, {"org_name": "Padaria Lima Centrao"}),
    ],
)
def test_numbers_with_a_slip_and_organisations_with_another_word_meet(
    a: dict[str, str], b: dict[str, str]
) -> None:
    assert not set(keys_of(Record("a", a))).isdisjoint(keys_of(Record("b", b)))


@pytest.mark.parametrize("digits", ["39053344705", "132428906"])
def test_a_number_meets_itself_with_any_digit_changed_lost_or_turned_round(digits: str) -> None:
    places = range(len(digits))
    slips = {digits[:at] + "7" + digits[at + 1 :] for at in places}
    slips |= {digits[:at] + digits[at + 1 :] for at in places}
    turned = {digits[:at] + digits[at : at + 2][::-1] + digits[at + 2 :] for at in places}
    keys = set(keys_of(Record("a", {"national_id": digits})))
    for other in slips | turned:
        assert not keys.isdisjoint(keys_of(Record("b", {"national_id": other}))), other


def test_values_of_two_records_and_more_are_counted() -> None:
    records = [Record(person.record_id, person.fields) for person in make_people(3, 60)]
    counts: dict[str, int] = {}
    for record in records:
        for term in terms_of(record):
            counts[term] = counts.get(term, 0) + 1
    assert count_terms(records) == {term: count for term, count in counts.items() if count > 1}


def test_edges_fall_into_connected_parts() -> None:
    edges = [(0, 1, 1.0), (5, 6, 1.0), (2, 1, 1.0), (7, 5, 1.0), (3, 4, 1.0), (4, 2, 1.0)]
    assert parts_of(8, edges) == [[0, 2, 4, 5], [1, 3]]


def test_a_huge_value_is_cut() -> None:
    record = Record("a", {"full_name": "x" * 10**6, "city": "y" * 10**6, "email": "z" * 10**6})
    assert record.name is not None
    assert len(record.name.first) == len(record.emails[0]) == CHARS_MAX
