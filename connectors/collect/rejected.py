"""An event that the collector refuses, as a record of `touchpoints.rejected`: kept, with its reason."""

from __future__ import annotations

from collections.abc import Mapping

from .body import BODY_BYTES_MAX
from .event import Refused, written
from .spool import Record

NOWHERE = "-1"
"""In place of partition and offset: the event was never on a topic."""


def rejected_record(refused: Refused, rejected_topic: str, topic: str, headers: Mapping[str, str]) -> Record:
    """`topic`: where its touchpoint would have gone. The value is the event as JSON, as it was sent."""
    # A number may be written longer than it came, and Kafka would refuse for ever what is too large for it.
    value = written(refused.item)[:BODY_BYTES_MAX]
    told = (
        ("elo.reason", refused.reason.value),
        ("elo.field", refused.field),
        ("elo.detail", refused.detail),
        ("elo.topic", topic),
        ("elo.partition", NOWHERE),
        ("elo.offset", NOWHERE),
        ("elo.producer", headers.get("user_agent", "")),
    )
    return Record(rejected_topic, None, value, told)
