"""An event that the collector refuses, as a record of `touchpoints.rejected`: kept, with its reason."""

from __future__ import annotations

import json
from collections.abc import Mapping

import orjson

from .event import Refused
from .spool import Record

NOWHERE = "-1"
"""In place of partition and offset: the event was never on a topic."""


def rejected_record(refused: Refused, rejected_topic: str, topic: str, headers: Mapping[str, str]) -> Record:
    """`topic`: where its touchpoint would have gone. The value is the event as JSON, as it was sent."""
    try:
        value = orjson.dumps(refused.item)
    except TypeError:  # deeper than orjson writes
        value = json.dumps(refused.item).encode()
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
