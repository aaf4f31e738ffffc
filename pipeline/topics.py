"""The topics of Elo: names, cleanup, timestamps and sizes, declared once. Contract: docs/contract.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

TOUCHPOINT_BYTES_MAX: Final = 256 * 1024
"""A touchpoint above this is rejected as `too_large`; its bytes are kept on `touchpoints.rejected`."""
INPUT_BYTES_MAX: Final = 8 * 1024 * 1024
"""What touchpoint topics accept, so that an oversized touchpoint reaches us and can be kept with its reason.
"""
REJECTED_BYTES_MAX: Final = INPUT_BYTES_MAX + 64 * 1024  # the original bytes, and our headers
INTERNAL_BYTES_MAX: Final = 2 * 1024 * 1024  # messages of the protocol are cut well below, at 512 KiB

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
SAMPLE_SEGMENT_BYTES: Final = 16 * 1024 * 1024
SOURCES: Final = ("web", "app", "crm", "email")


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic: its name without prefix and the settings that differ from the broker's defaults.

    `partitioned` topics all have the same partition count (touches, mail and state must agree on it).
    """

    name: str
    config: Mapping[str, str]
    partitioned: bool = True


def _spec(name: str, partitioned: bool = True, **config: str | int) -> TopicSpec:
    settings = {key.replace("_", "."): str(value) for key, value in config.items()}
    return TopicSpec(name, MappingProxyType(settings), partitioned)


class Topics:
    """Names of all topics of one deployment; `prefix` is put in front as given, e.g. `eu.`."""

    def __init__(self, prefix: str = "", history_ms: int = 30 * DAY_MS) -> None:
        self.prefix = prefix
        self.history_ms = history_ms
        self.touchpoints: tuple[str, ...] = tuple(f"{prefix}touchpoints.{source}" for source in SOURCES)
        self.rejected = prefix + "touchpoints.rejected"
        self.redriven = prefix + "touchpoints.redriven"
        self.definitions = prefix + "segments.definitions"
        self.segment_history = prefix + "segments.history"
        self.policy = prefix + "identity.policy"
        self.decisions = prefix + "identity.decisions"
        self.inputs = (*self.touchpoints, self.decisions)
        """What the intake reads. The places in it are part of the origin of touches: new ones at the end."""
        self.privacy_requests = prefix + "privacy.requests"
        self.membership = prefix + "segments.membership"
        self.current = prefix + "segments.current"
        self.profiles = prefix + "profiles.unified"
        self.merges = prefix + "profiles.merges"
        self.review = prefix + "identity.review"
        self.receipts = prefix + "privacy.receipts"
        self.destinations = prefix + "elo.destinations"
        self.deliveries = prefix + "elo.deliveries"
        self.touches = prefix + "elo.touches"
        self.mail = prefix + "elo.mail"
        self.state = prefix + "elo.state"
        self.sample = prefix + "elo.sample"

    @property
    def of_nodes(self) -> tuple[str, ...]:
        """The compacted topics whose records lie where their node does, `elo.state` first."""
        return (self.state, self.sample)

    @property
    def together(self) -> tuple[str, ...]:
        """The topics whose partition p is read by one worker: all have the same count. That of an output may
        be another once the deployment has grown.
        """
        return (self.touches, self.mail, *self.of_nodes, *self.touchpoints)

    def specs(self) -> tuple[TopicSpec, ...]:
        """Every topic, in the order in which `elo topics create` makes them.

        `elo.touches` is also the history: de-duplication is rebuilt from it, so it is kept as long as the
        history.
        """
        month = 30 * DAY_MS
        inputs = [
            _spec(name, cleanup_policy="delete", max_message_bytes=INPUT_BYTES_MAX)
            for name in self.touchpoints
        ]
        compacted = {"cleanup_policy": "compact", "max_message_bytes": INTERNAL_BYTES_MAX}
        internal = {"max_message_bytes": INTERNAL_BYTES_MAX, "message_timestamp_type": "LogAppendTime"}
        return (
            *inputs,
            _spec(
                self.rejected,
                cleanup_policy="delete",
                retention_ms=month,
                max_message_bytes=REJECTED_BYTES_MAX,
            ),
            _spec(self.redriven, partitioned=False, cleanup_policy="compact,delete", retention_ms=3 * month),
            _spec(self.definitions, partitioned=False, cleanup_policy="compact"),
            _spec(self.segment_history, partitioned=False, cleanup_policy="delete", retention_ms=-1),
            _spec(self.policy, partitioned=False, cleanup_policy="compact"),
            _spec(self.decisions, partitioned=False, cleanup_policy="delete", retention_ms=-1),
            _spec(self.privacy_requests, partitioned=False, cleanup_policy="delete", retention_ms=month),
            _spec(self.membership, cleanup_policy="delete", retention_ms=month),
            _spec(self.current, **compacted),
            _spec(self.profiles, **compacted),
            _spec(self.merges, **compacted),
            _spec(self.review, cleanup_policy="delete", retention_ms=month),
            _spec(self.receipts, cleanup_policy="delete", retention_ms=-1),
            _spec(self.destinations, partitioned=False, cleanup_policy="compact"),
            _spec(
                self.deliveries,
                cleanup_policy="compact,delete",
                retention_ms=3 * month,
                max_message_bytes=INTERNAL_BYTES_MAX,
            ),
            _spec(self.touches, cleanup_policy="delete", retention_ms=self.history_ms, **internal),
            _spec(self.mail, cleanup_policy="delete", retention_ms=7 * DAY_MS, **internal),
            _spec(self.state, delete_retention_ms=7 * DAY_MS, **compacted),
            # Small segments, so that little waits for compaction: who asks reads all of it.
            _spec(self.sample, segment_bytes=SAMPLE_SEGMENT_BYTES, segment_ms=HOUR_MS, **compacted),
        )

    def source_of(self, topic: str) -> str:
        """The source that a touchpoint topic stands for (`touchpoints.web` → `web`)."""
        return topic.rsplit(".", 1)[1]
