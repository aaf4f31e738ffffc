"""The inbox of a task: no hole, no repetition, records of both inputs in the order of broker time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline.runtime.inbox import Inbox


@dataclass
class Record:
    """A record of a log."""

    at: int
    ms: int = 0

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 1, self.ms


@dataclass
class Batch:
    """A batch of the transport, from `position_start` up to `position_end`."""

    topic: str
    position_start: int
    position_end: int
    records: list[Any] = field(default_factory=list)
    epoch: int = 0


def batch(topic: str, start: int, end: int, ms: int = 0, epoch: int = 0) -> Batch:
    return Batch(topic, start, end, [Record(at, ms or at) for at in range(start, end)], epoch)


def taken(inbox: Inbox, most: int = 1_000) -> list[int]:
    return [record.offset() for record in inbox.take(most)]


def test_batches_in_order_are_taken_in_order() -> None:
    inbox = Inbox({"touches": 5})
    assert inbox.offer(batch("touches", 5, 8))
    assert inbox.offer(batch("touches", 8, 10))
    assert len(inbox) == 5
    assert taken(inbox, 3) == [5, 6, 7]
    assert taken(inbox) == [8, 9]
    assert len(inbox) == 0


def test_a_hole_is_refused_and_what_was_there_stays() -> None:
    inbox = Inbox({"touches": 5})
    assert inbox.offer(batch("touches", 5, 8))
    assert not inbox.offer(batch("touches", 9, 12))
    assert taken(inbox) == [5, 6, 7]
    assert inbox.expected == {"touches": 8}


def test_after_a_rewind_what_left_before_it_is_passed_over() -> None:
    inbox = Inbox({"touches": 5})
    assert not inbox.offer(batch("touches", 9, 12))
    inbox.epochs["touches"] = 1
    assert inbox.offer(batch("touches", 12, 15, epoch=0))
    assert inbox.offer(batch("touches", 5, 12, epoch=1))
    assert taken(inbox) == list(range(5, 12))


def test_what_was_committed_before_is_skipped() -> None:
    inbox = Inbox({"touches": 5})
    assert inbox.offer(batch("touches", 0, 3))
    assert inbox.offer(batch("touches", 3, 7))
    assert taken(inbox) == [5, 6]


def test_gaps_of_compaction_and_transaction_markers_are_no_holes() -> None:
    inbox = Inbox({"mail": 0})
    assert inbox.offer(Batch("mail", 0, 10, [Record(2), Record(7)]))
    assert inbox.offer(Batch("mail", 10, 12, []))
    assert inbox.offer(Batch("mail", 12, 14, [Record(13)]))
    assert taken(inbox) == [2, 7, 13]


def test_two_inputs_are_merged_by_broker_time_and_each_keeps_its_order() -> None:
    inbox = Inbox({"touches": 0, "mail": 0})
    inbox.offer(Batch("touches", 0, 3, [Record(0, 10), Record(1, 30), Record(2, 20)]))
    inbox.offer(Batch("mail", 0, 2, [Record(100, 15), Record(101, 40)]))
    assert taken(inbox, 2) == [0, 100]
    assert taken(inbox) == [1, 2, 101]


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_lost_on_the_way_every_record_is_taken_once_and_in_order(seed: int) -> None:
    rng, inbox, epoch, position, got = random.Random(seed), Inbox({"touches": 0}), 0, 0, list[int]()
    delivered: list[Batch] = []
    while len(got) < 100:
        if position < 100:
            end = min(100, position + rng.randrange(1, 9))
            delivered.append(batch("touches", position, end, epoch=epoch))
            position = end
        if rng.random() < 0.2 and delivered:
            delivered.pop(rng.randrange(len(delivered)))
        while delivered and rng.random() < 0.7:
            if not inbox.offer(delivered.pop(0)):
                epoch += 1
                inbox.epochs["touches"] = epoch
                position = inbox.expected["touches"]
        if position == 100 and not delivered and inbox.expected["touches"] < 100:
            position = inbox.expected["touches"]  # Nothing more comes: the last batch was lost.
        got += taken(inbox, rng.randrange(1, 20))
    assert got == list(range(100))


def test_what_belongs_to_another_partition_is_skipped_and_leaves_no_hole() -> None:
    inbox = Inbox({"touches": 0}, lambda record: record.offset() % 2 == 0)
    assert inbox.offer(batch("touches", 0, 5))
    assert inbox.offer(batch("touches", 5, 8))
    assert [record.offset() for record in inbox.take(10)] == [0, 2, 4, 6]
    assert inbox.expected == {"touches": 8}
