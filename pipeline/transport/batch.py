"""What an agent receives: all records that one poll brought for one partition, as one Faust message.

Faust costs about 100 us per message whatever is in it, so the message is the batch and its value are the
records as librdkafka delivered them. Nothing is decoded here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import faust
from confluent_kafka import Message


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one partition, and the stretch of the log that they cover.

    The batches of one partition form a chain: `position_start` equals the `position_end` of the batch before
    it. Offsets between the two that carry no record are transaction markers, aborted records or compacted
    ones. A consumer that sees a `position_start` above the position it has reached has missed a batch and
    must rewind; one below it means that the reader went back, and records below the own position must be
    skipped.
    """

    topic: str
    partition: int
    records: list[Message]
    """Offsets strictly increasing, gaps allowed.

    Empty only when `ended_ms` is set: the end was reached later.
    """
    position_start: int
    """Where reading began for this batch (inclusive)."""
    position_end: int
    """The next offset to read after this batch (exclusive end)."""
    ended_ms: int | None
    """Wall clock (ms) when the end of the partition was seen right after these records; None if not seen."""
    received_ms: int
    """Wall clock (ms) when the oldest of these records was read, or the end if there is none."""
    epoch: int
    """How often this partition was rewound before this batch was read. See `Chain`."""

    @property
    def end_of_partition(self) -> bool:
        """True if nothing was left to read behind this batch when it was made."""
        return self.ended_ms is not None


class Link(Enum):
    """What a batch is to the reader of a partition."""

    FITS = "fits"
    """It continues the chain.

    Records below the reader's position, if any, were processed before: skip them.
    """
    STALE = "stale"
    """It was read before the last rewind: ignore it."""
    GAP = "gap"
    """A batch before it is missing: rewind to the reader's position."""


class Chain:
    """The reader's end of one partition's chain: the position it has reached.

    ```
    match chain.check(batch):
        case Link.FITS: process(batch.records from chain.position on); chain.position = batch.position_end
        case Link.GAP: chain.epoch = consumer.rewind(tp, chain.position)
    ```
    The position moves to `position_end` also when a batch holds no record.
    """

    __slots__ = ("epoch", "position")

    def __init__(self, position: int, epoch: int = 0) -> None:
        """Begin at `position`, the committed offset; `epoch`: what the last `rewind` returned."""
        self.position = position
        self.epoch = epoch

    def check(self, batch: Batch) -> Link:
        """Say what `batch` is to this reader. Changes nothing."""
        if batch.epoch < self.epoch:
            return Link.STALE
        return Link.GAP if batch.position_start > self.position else Link.FITS


class BatchSchema(faust.Schema[Any, Any]):
    """Faust schema that passes a `Batch` through untouched: `app.topic(name, schema=BatchSchema())`."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """A batch has no key of its own."""
        return None

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """Return the `Batch` as it is."""
        return message.value
