"""The metrics of `elo reconcile --follow`, declared once: docs/reference/metrics.md must say the same."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

TOUCHPOINTS: Final = Counter(
    "elo_reconcile_touchpoints_total",
    "Touchpoints that the group has read, by what was found of them: taken, rejected, missing.",
    ("source", "outcome"),
    registry=REGISTRY,
)
FIRST_MISSING: Final = Gauge(
    "elo_reconcile_first_missing_offset",
    "Offset of the first missing touchpoint that was found since the process began.",
    ("topic", "partition"),
    registry=REGISTRY,
)
LOOKED_AT: Final = Gauge(
    "elo_reconcile_looked_timestamp_seconds",
    "When the last look was complete, seconds since 1970.",
    registry=REGISTRY,
)
