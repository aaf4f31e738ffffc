"""What the Kafka Streams job must answer. It is the simpler job of the two, and its oracle is too.

It has no merges: a profile is what came with one strongest identifier. Its windows count whole hours back
from the profile's newest event, and only the next event can end a membership. Identifiers and repeats are as
in Elo.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from .generator import Record
from .oracle import clean_identifiers

HOUR_MS: Final = 3_600_000
SEGMENTS: Final = ("A", "B", "C")
SHOES: Final = "product_viewed/running shoes"


@dataclass(slots=True)
class _Profile:
    hours: dict[str, list[int]] = field(default_factory=dict)
    city: tuple[int, str] = (0, "")
    has_email: bool = False
    last_seen: int = 0

    def add(self, kind: str, occurred_at: int) -> None:
        self.hours.setdefault(kind, []).append(occurred_at // HOUR_MS)

    def count(self, kind: str, window_hours: int) -> int:
        since = self.last_seen // HOUR_MS - window_hours
        return sum(hour > since for hour in self.hours.get(kind, ()))

    def memberships(self) -> list[str]:
        in_madrid = self.city[1] == "Madrid"
        holds = (
            in_madrid and self.count(SHOES, 168) > 0 and not self.count("order_completed", 168),
            self.count("product_viewed", 24) >= 3,
            self.has_email and not self.count("order_completed", 720),
        )
        return [segment for segment, inside in zip(SEGMENTS, holds, strict=True) if inside]


class StreamsOracle:
    """Takes every touchpoint that is sent, in any order."""

    def __init__(self) -> None:
        self.rejected = self.duplicates = 0
        self._seen: set[str] = set()
        self._profiles: dict[str, _Profile] = {}

    def add(self, record: Record) -> None:
        """Count one touchpoint as sent once."""
        identifiers = clean_identifiers(record)
        if not identifiers:
            self.rejected += 1
            return
        if record["event_id"] in self._seen:
            self.duplicates += 1
            return
        self._seen.add(record["event_id"])
        profile = self._profiles.setdefault(identifiers[0], _Profile())
        occurred_at, kind = record["occurred_at"], record["type"]
        profile.last_seen = max(profile.last_seen, occurred_at)
        profile.has_email = profile.has_email or any(text.startswith("email:") for text in identifiers)
        city = json.loads(record["traits"]).get("city")
        if city is not None:
            profile.city = max(profile.city, (occurred_at, city))
        if kind in ("product_viewed", "order_completed"):
            profile.add(kind, occurred_at)
        if kind == "product_viewed" and json.loads(record["properties"])["category"] == "running shoes":
            profile.add(SHOES, occurred_at)

    def members(self) -> dict[str, int]:
        """How many profiles are inside each segment in the end; empty segments are left out."""
        return dict(
            Counter(segment for profile in self._profiles.values() for segment in profile.memberships())
        )
