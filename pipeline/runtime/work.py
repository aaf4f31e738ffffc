"""A batch under way: what it consumed, what it decided, and how a touch that cannot be handled is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import Reason
from ..core.outbox import Outbox
from . import metrics
from .changes import State

Rejected = tuple[bytes, bytes, list[tuple[str, str | bytes | None]]]
"""Value, key and headers of a touch that raised."""


@dataclass(slots=True)
class Work:
    """One partition's part of a batch. `size`: records taken in. `fired`, `armed`: timers as (due ms, root).

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
    duplicates: int = 0
    caught_up: bool = False
    note: str = ""


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
