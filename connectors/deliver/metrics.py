"""The metrics of delivery, declared once: docs/reference/delivery.md must say the same."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from pipeline.runtime.metrics import declared_in

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

ATTEMPTS: Final = Counter(
    "elo_deliver_attempts_total", "Requests, by outcome.", ("destination", "outcome"), registry=REGISTRY
)
CHANGES: Final = Counter(
    "elo_deliver_changes_total",
    "Changes that were settled: delivered, kept as a letter, not wanted, or skipped as back-fill.",
    ("destination", "outcome"),
    registry=REGISTRY,
)
SECONDS: Final = Histogram(
    "elo_deliver_request_seconds", "Duration of a request.", ("destination",), buckets=_SECONDS,
    registry=REGISTRY,
)  # fmt: skip
WAITING: Final = Gauge(
    "elo_deliver_waiting", "Changes that failed, or wait behind one that did.", ("destination",),
    registry=REGISTRY,
)  # fmt: skip
LETTERS: Final = Gauge(
    "elo_deliver_letters", "Letters that are kept on the partitions of this process.", ("destination",),
    registry=REGISTRY,
)  # fmt: skip
OLDEST: Final = Gauge(
    "elo_deliver_oldest_seconds", "Age of the oldest change that was read and not settled.",
    ("destination",), registry=REGISTRY,
)  # fmt: skip
LAG: Final = Gauge(
    "elo_deliver_lag_records", "Records of segments.membership not read yet.", ("destination",),
    registry=REGISTRY,
)  # fmt: skip
STATE: Final = Gauge(
    "elo_deliver_state", "1 for the state that the destination is in.", ("destination", "state"),
    registry=REGISTRY,
)  # fmt: skip
PARTITIONS: Final = Gauge(
    "elo_deliver_partitions", "Partitions of this process.", ("destination",), registry=REGISTRY
)


def declared_metrics() -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Every metric as it is scraped: name → (kind, labels, help)."""
    return declared_in(globals())
