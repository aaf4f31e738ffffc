"""The metrics of the collector, declared once: docs/reference/metrics.md must say the same."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REQUESTS: Final = Counter(
    "elo_collect_requests_total", "Requests answered by the collector.", ("api", "status"), registry=REGISTRY
)
EVENTS: Final = Counter(
    "elo_collect_events_total", "Events accepted by the collector.", ("api", "source"), registry=REGISTRY
)
REJECTED: Final = Counter(
    "elo_collect_rejected_total",
    "Events that the collector refused and kept.",
    ("reason",),
    registry=REGISTRY,
)
SECONDS: Final = Histogram(
    "elo_collect_request_seconds",
    "From the head of a request to its answer, which the broker's or the disk's comes before.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
WAITING: Final = Gauge(
    "elo_collect_waiting_records", "Records that are not acknowledged yet.", registry=REGISTRY
)
SPOOL_BYTES: Final = Gauge(
    "elo_collect_spool_bytes",
    "Size of the spool; empty while the broker answers.",
    registry=REGISTRY,
)
SPOOLED: Final = Counter(
    "elo_collect_spooled_total",
    "Records that went over the disk, the broker being away.",
    registry=REGISTRY,
)
