"""A batch under way: what it consumed, what it decided, and how a touch that cannot be handled is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from ..core.errors import InvariantViolation, PipelineError, Reason
from ..core.outbox import Outbox
from ..core.touch import decode_touch
from . import metrics
from .changes import State

SKEW_MS: Final = 500
"""A touch that was logged so long before stream time has waited unseen; else the two are the same."""

Owner = TypeVar("Owner")
Rejected = tuple[bytes, bytes, list[tuple[str, str | bytes | None]]]
"""Value, key and headers of a touch that raised."""


@dataclass(slots=True)
class Work:
    """One partition's part of a batch. `size`: records taken in. `fired`, `armed`: timers as (due ms, root).

    `touches`: those of its records that are touches, `duplicates` repetitions among them.
    `caught_up`: nothing was left behind it. `records`: of the changelog; `copies`: of the sample; `changed`:
    there is something to commit. `note`: what is kept beside the committed offset of touches. `members`:
    profiles in each segment after it. `before`, `members_before`: definitions and members to go back to.
    """

    next_offsets: dict[str, int]
    outbox: Outbox
    fired: list[tuple[int, str]]
    armed: list[tuple[int, str]]
    size: int
    before: State
    members_before: dict[str, int]
    members: dict[str, int] = field(default_factory=dict)
    records: dict[bytes, bytes | None] = field(default_factory=dict)
    copies: dict[bytes, bytes | None] = field(default_factory=dict)
    changed: bool = False
    touches: int = 0
    duplicates: int = 0
    caught_up: bool = False
    note: str = ""

    def check(self, partition: int, new: int) -> None:
        """Raises InvariantViolation unless each touch is one of so many new ones, or a repetition."""
        if self.touches != new + self.duplicates:
            raise InvariantViolation(
                "touches are unaccounted for", partition=partition, behind=self.next_offsets,
                handled=self.touches, new=new, repeated=self.duplicates,
            )  # fmt: skip


def next_offsets(records: list[Any], before: Mapping[str, int]) -> dict[str, int]:
    """Topic → next offset after `records`, which are in the order of the log for each topic."""
    offsets = dict(before)
    missing = set(offsets)
    for record in reversed(records):
        if (topic := record.topic()) in missing:
            offsets[topic] = record.offset() + 1
            missing.discard(topic)
            if not missing:
                break
    return offsets


def halve(batch: dict[Owner, list[Any]]) -> list[dict[Owner, list[Any]]]:
    """Two batches with half of the records each; one if there is no more than one record."""
    pairs = [(owner, record) for owner, records in batch.items() for record in records]
    middle = (len(pairs) + 1) // 2
    halves: list[dict[Owner, list[Any]]] = []
    for part in (pairs[:middle], pairs[middle:]):
        half: dict[Owner, list[Any]] = {}
        for owner, record in part:
            half.setdefault(owner, []).append(record)
        if half:
            halves.append(half)
    return halves


def trace_of(value: bytes) -> dict[str, str]:
    """What a log line says of the touch that it is about: `event_id`, and `trace_id` if it has one.

    A touch that cannot be read says nothing.
    """
    try:
        touch = decode_touch(value)
    except PipelineError:
        return {}
    parts = touch.traceparent.split("-")  # W3C: version, trace, parent, flags
    return {"event_id": touch.event_id, **({"trace_id": parts[1]} if len(parts) > 1 else {})}


def reject(record: Any, error: Exception) -> Rejected:
    """The dead letter of a touch on which the core raised. The bytes are those of `elo.touches`."""
    headers: list[tuple[str, str | bytes | None]] = [
        ("elo.reason", Reason.INTERNAL_ERROR),
        ("elo.field", ""),
        ("elo.detail", type(error).__name__),
        ("elo.topic", record.topic()),
        ("elo.partition", str(record.partition())),
        ("elo.offset", str(record.offset())),
    ]
    metrics.REJECTED.labels(Reason.INTERNAL_ERROR).inc()
    return record.value(), record.key(), headers
