"""One running deployment that several tests share: each brings its own people and segments.

Everything that was sent is remembered, so that the whole can be held against the oracle at the end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .comparison import assert_equal_to_oracle
from .crowd import Touchpoint, settle
from .fleet import Fleet, wait_for

DECIDED_MS_MAX = 5_000  # a due change is decided within a second; the machine may be busy with other things


class Site:
    """A fleet with one worker, `a`, and the memory of what was sent and defined."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.worker = fleet.worker("a")
        self.sent: list[Touchpoint] = []
        self.definitions: dict[str, Mapping[str, Any]] = {}

    def define(self, segment_id: str, where: Mapping[str, Any], **more: Any) -> None:
        """Publish a new or edited segment."""
        self.definitions[segment_id] = {"id": segment_id, "where": where, **more}
        self.fleet.apply(self.definitions[segment_id])

    def undefine(self, segment_id: str) -> None:
        """Delete a segment."""
        del self.definitions[segment_id]
        self.fleet.elo("segments", "delete", segment_id)

    def touch(self, kind: str, *identifiers: str, **fields: Any) -> Touchpoint:
        """Make a touchpoint of now, and remember that it was sent. `identifiers`: `type:value`."""
        pairs = (identifier.split(":", 1) for identifier in identifiers)
        touchpoint = {
            "event_id": f"s{len(self.sent)}",
            "source": "web",
            "type": kind,
            "occurred_at": time.time_ns() // 1_000_000,
            "identifiers": [{"type": name, "value": value} for name, value in pairs],
            **fields,
        }
        self.sent.append(touchpoint)
        return touchpoint

    def send(self, *touchpoints: Touchpoint) -> None:
        """Send, and wait until all of it has had its effect."""
        self.fleet.send(touchpoints)
        self.fleet.wait_idle()

    def changes(self, segment_id: str) -> list[dict[str, Any]]:
        """What was told about a segment."""
        records = self.fleet.records("segments.membership")
        return [record for record in records if record["segment_id"] == segment_id]

    def await_changes(self, segment_id: str, count: int) -> list[dict[str, Any]]:
        """Wait until so many changes were told, in the order of their decision."""
        wait_for(lambda: len(self.changes(segment_id)) >= count, f"{count} changes of {segment_id}", 30)
        return sorted(self.changes(segment_id), key=lambda change: (change["decided_at"], change["sequence"]))

    def profile(self, identifier: str) -> dict[str, Any]:
        """The line of the state dump with an identifier."""
        kind, value = identifier.split(":", 1)
        wanted = {"type": kind, "value": value}
        return next(line for line in self.fleet.dump() if wanted in line["identifiers"])

    def stop(self) -> None:
        """End the worker with SIGTERM, which is a clean end."""
        assert self.worker.terminate() == 0

    def start(self, **variables: object) -> None:
        """Start the worker again."""
        self.worker.start(**variables).wait_ready()

    def check(self) -> None:
        """State and outputs are what they must be for everything that was ever sent."""
        settle(self.fleet)
        assert_equal_to_oracle(self.fleet, self.sent, tuple(self.definitions.values()))


@contextmanager
def open_site(bootstrap: str, name: str, directory: Path, partitions: int = 2) -> Iterator[Site]:
    """A site with topics of its own, for one file of tests; its worker is not started yet."""
    fleet = Fleet(bootstrap, f"{name}{time.time_ns()}.", directory, profile_interval_ms=200)
    site = Site(fleet.create_topics(partitions))
    try:
        yield site
    finally:
        site.stop()
        fleet.close()
        fleet.delete_topics()
