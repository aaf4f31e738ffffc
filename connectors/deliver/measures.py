"""The series of one destination, resolved once."""

from __future__ import annotations

import time
from collections.abc import Mapping

from . import metrics
from .commands import State
from .partition import Partition
from .records import decode_change
from .verdict import Kind


class Measures:
    """What is counted for one destination."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._holds: set[tuple[str, int]] = set()
        self.attempts = {kind: metrics.ATTEMPTS.labels(name, kind.value) for kind in Kind}
        self.seconds = metrics.SECONDS.labels(name)
        self.delivered, self.letter, self.unwanted, self.skipped = (
            metrics.CHANGES.labels(name, outcome)
            for outcome in ("delivered", "letter", "unwanted", "skipped")
        )

    def first_hold(self, segment_id: str, version: int) -> bool:
        """Whether this back-fill was not met before: it is worth one line in the log."""
        is_first = (segment_id, version) not in self._holds
        self._holds.add((segment_id, version))
        return is_first

    def set(self, partitions: Mapping[int, Partition], state: State, lag: int) -> None:
        """Set the gauges."""
        ours = list(partitions.values())
        metrics.PARTITIONS.labels(self._name).set(len(ours))
        metrics.LAG.labels(self._name).set(lag)
        metrics.WAITING.labels(self._name).set(sum(one.lane.stored for one in ours))
        metrics.LETTERS.labels(self._name).set(sum(len(one.letters) for one in ours))
        decided = [pending.change["decided_at"] for one in ours for pending in one.lane.all()]
        # Behind a back-fill that waits for somebody's word nothing is in the lane.
        first = [one.backlog[0].value() for one in ours if one.backlog]
        decided += [decode_change(value)["decided_at"] for value in first if value is not None]
        oldest_s = time.time() - min(decided) / 1000 if decided else 0.0
        metrics.OLDEST.labels(self._name).set(max(oldest_s, 0.0))
        for one in State:
            metrics.STATE.labels(self._name, one.value).set(one is state)
