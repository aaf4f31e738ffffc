"""One partition's books: the chain of batches, what Faust has, what may be committed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest
from faust.types.tuples import TP

from pipeline.transport.batch import Batch, Chain, Link
from pipeline.transport.partition import RECORD_BYTES, STALE, Partition

LATER = 10**15  # an end of any age is old enough


@dataclass
class Record:
    """Stands for a record of the client: an offset, and the length of its value."""

    number: int
    length: int = 10

    def offset(self) -> int:
        return self.number

    def __len__(self) -> int:
        return self.length


@dataclass
class Handed:
    """Stands for Faust's message."""

    value: Batch
    tracked: bool = False
    acked: bool = False
    generation_id: int = 1


def records(*offsets: int) -> list[Any]:
    return [Record(offset) for offset in offsets]


def offsets(batch: Batch | None) -> list[int]:
    assert batch is not None
    return [record.offset() for record in batch.records]


def assigned() -> Partition:
    return Partition(TP("touches", 3), begun=True)


def hand_over(partition: Partition, records_max: int = 100) -> Handed:
    batch = partition.take(records_max, LATER)
    assert batch is not None
    message = Handed(batch)
    partition.unacked.append(message)
    return message


def test_the_first_batch_begins_at_its_first_record_when_the_start_is_not_known() -> None:
    partition = assigned()
    three = records(7, 8, 11)
    partition.add(three, now_ms=5)
    assert partition.take(100, LATER) == Batch("touches", 3, three, 7, 12, None, 5, 0)


def test_a_gap_of_markers_belongs_to_the_batch_behind_it() -> None:
    partition = assigned()
    partition.start_at(4)
    partition.add(records(4, 5), now_ms=1)
    first = partition.take(100, LATER)
    partition.add(records(9), now_ms=2)
    second = partition.take(100, LATER)
    assert first is not None
    assert second is not None
    assert (first.position_start, first.position_end) == (4, 6)
    assert (second.position_start, second.position_end) == (6, 10)


def test_a_long_backlog_is_handed_over_in_pieces_and_only_the_last_knows_of_the_end() -> None:
    partition = assigned()
    partition.add(records(0, 1, 2, 3, 4), now_ms=1)
    partition.end(6, now_ms=2)
    pieces = [partition.take(2, LATER) for _ in range(3)]
    assert [offsets(piece) for piece in pieces] == [[0, 1], [2, 3], [4]]
    ends = [(piece.position_start, piece.position_end, piece.ended_ms) for piece in pieces if piece]
    assert ends == [(0, 2, None), (2, 4, None), (4, 6, 2)]
    assert partition.take(2, LATER) is None
    assert partition.backlog_records == partition.backlog_bytes == 0


def test_an_end_behind_the_last_records_is_told_once_and_only_when_it_is_old_enough() -> None:
    partition = assigned()
    partition.add(records(0), now_ms=1)
    assert offsets(partition.take(100, LATER)) == [0]
    partition.end(3, now_ms=50)
    assert partition.has_news
    assert partition.take(100, end_before_ms=49) is None
    batch = partition.take(100, end_before_ms=50)
    assert offsets(batch) == []
    assert batch is not None
    assert batch.end_of_partition
    assert (batch.position_start, batch.position_end) == (1, 3)
    assert not partition.has_news
    partition.end(5, now_ms=60)
    assert partition.take(100, LATER) is None, "more markers are no news"
    partition.add(records(8), now_ms=70)
    batch = partition.take(100, LATER)
    assert batch is not None
    assert (batch.position_start, batch.position_end, batch.end_of_partition) == (3, 9, False)


def test_the_end_of_an_empty_partition_is_told() -> None:
    partition = assigned()
    partition.end(12, now_ms=1)
    batch = partition.take(100, LATER)
    assert batch is not None
    assert (batch.records, batch.position_start, batch.position_end) == ([], 12, 12)


def test_what_no_agent_has_taken_is_put_back_in_order_before_what_came_later() -> None:
    partition = assigned()
    partition.add(records(0, 1), now_ms=1)
    taken = hand_over(partition)
    partition.add(records(2, 3), now_ms=2)
    dropped = hand_over(partition)
    partition.add(records(4), now_ms=3)
    taken.tracked = True
    assert partition.put_back() == (1, 2)
    assert dropped.generation_id == STALE
    assert taken.generation_id == 1
    again = partition.take(100, LATER)
    assert offsets(again) == [2, 3, 4]
    assert again is not None
    assert (again.position_start, again.received_ms) == (2, 2)
    assert partition.put_back() == (0, 0)


def test_an_end_that_was_dropped_is_told_again() -> None:
    partition = assigned()
    partition.end(5, now_ms=1)
    hand_over(partition)
    assert partition.put_back() == (1, 0)
    assert hand_over(partition).value.end_of_partition


def test_only_an_unbroken_row_of_acknowledged_batches_moves_the_acknowledged_position() -> None:
    partition = assigned()
    messages = []
    for start in (0, 10, 20):
        partition.add(records(start, start + 9), now_ms=1)
        messages.append(hand_over(partition))
    messages[1].acked = True
    assert partition.settle() == 3
    assert partition.acked == -1
    messages[0].acked = True
    assert partition.settle() == 1
    assert partition.acked == 20


def test_after_a_rewind_old_batches_are_stale_and_their_acknowledgement_does_not_count() -> None:
    partition = assigned()
    partition.add(records(0, 1), now_ms=1)
    old = hand_over(partition)
    partition.add(records(2, 3), now_ms=2)
    partition.start_at(1)
    assert old.generation_id == STALE
    old.acked = True
    assert partition.settle() == 0
    assert partition.acked == -1
    assert not partition.has_news
    partition.add(records(1, 2), now_ms=3)
    assert hand_over(partition).value.position_start == 1


def test_a_frozen_partition_counts_what_was_acknowledged_before_and_nothing_after() -> None:
    partition = assigned()
    partition.add(records(0), now_ms=1)
    first = hand_over(partition)
    partition.add(records(1), now_ms=1)
    second = hand_over(partition)
    first.acked = first.tracked = second.tracked = True
    assert partition.busy()
    partition.freeze()
    second.acked = True
    partition.settle()
    assert partition.acked == 1
    assert not partition.busy()


def test_memory_counts_values_and_objects() -> None:
    partition = assigned()
    partition.add([Record(0, 1000), Record(1, 0)], now_ms=1)
    assert partition.backlog_bytes == 1000 + 2 * RECORD_BYTES
    partition.take(1, LATER)
    assert partition.backlog_bytes == RECORD_BYTES


@pytest.mark.parametrize("seed", range(100))
def test_whatever_faust_drops_every_record_is_taken_exactly_once_and_in_order(seed: int) -> None:
    rng = random.Random(seed)
    partition = assigned()
    chain, taken, offset = Chain(0), [], 0
    partition.start_at(0)
    for _ in range(200):
        match rng.randrange(5):
            case 0:
                count = rng.randrange(1, 6)
                offset += rng.randrange(3)  # markers
                partition.add(records(*range(offset, offset + count)), now_ms=1)
                offset += count
            case 1:
                partition.end(offset, now_ms=1)
            case 2 if partition.has_news:
                hand_over(partition, rng.randrange(1, 5))
            case 3:
                partition.put_back()
            case _:
                message = next((m for m in partition.unacked if not m.tracked), None)
                if message is not None:
                    message.tracked = message.acked = True
                    assert chain.check(message.value) is Link.FITS
                    assert message.value.position_start == chain.position
                    chain.position = message.value.position_end
                    taken += offsets(message.value)
                    partition.settle()
                    assert partition.acked == chain.position
    partition.put_back()
    while partition.has_news:
        taken += offsets(partition.take(3, LATER))
    assert taken == sorted(set(taken))
    assert partition.handed == partition.position


def test_a_chain_tells_a_missing_batch_from_one_read_before_the_rewind() -> None:
    def batch(start: int, end: int, epoch: int) -> Batch:
        return Batch("touches", 0, [], start, end, 1, 1, epoch)

    chain = Chain(10)
    assert chain.check(batch(10, 12, 0)) is Link.FITS
    assert chain.check(batch(8, 12, 0)) is Link.FITS
    assert chain.check(batch(12, 14, 0)) is Link.GAP
    chain.epoch = 1
    assert chain.check(batch(14, 15, 0)) is Link.STALE
    assert chain.check(batch(10, 15, 1)) is Link.FITS
    assert chain.check(batch(11, 15, 1)) is Link.GAP
