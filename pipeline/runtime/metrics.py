"""The metrics of a worker, declared once: docs/reference/metrics.md must say the same.

No label holds a profile or an event id. Children are resolved once and kept, for a look-up per event costs
more than the increment. Series of a partition that was given up are removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.metrics import MetricWrapperBase

REGISTRY: Final = CollectorRegistry()

_LATENCY_S: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_COMMIT_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES: Final = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(name, meaning, labels, registry=REGISTRY)


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    return Gauge(name, meaning, labels, registry=REGISTRY)


TOUCHPOINTS: Final = _counter("elo_touchpoints_total", "Touchpoints read by the intake.", "source")
DECISIONS: Final = _counter(
    "elo_decisions_total", "Decisions on identity read by the intake, good ones.", "source", "action"
)
REJECTED: Final = _counter("elo_rejected_total", "Touchpoints rejected, by reason.", "reason")
LEFT_OUT: Final = _counter(
    "elo_identifiers_left_out_total", "Identifiers left out of accepted touchpoints.", "why"
)
APPLIED: Final = _counter("elo_touches_applied_total", "Touches folded into a component.")
DUPLICATES: Final = _counter(
    "elo_duplicates_total", "Touches dropped because their event id was in the history."
)
MAIL: Final = _counter("elo_mail_total", "Messages sent to nodes on another partition, by kind.", "kind")
JOINS: Final = _counter("elo_joins_total", "Components joined to another.")
REFUSED_LINKS: Final = _counter(
    "elo_refused_links_total", "Links that the identity policy refused.", "reason"
)
CHANGES: Final = _counter(
    "elo_membership_changes_total", "Membership changes committed.", "segment", "change", "cause"
)
ALIASES: Final = _counter("elo_profile_aliases_total", "Profile ids that became an alias.")
PROFILES: Final = _counter(
    "elo_profiles_published_total", "Profile snapshots published, tombstones included."
)
TIMERS: Final = _counter("elo_timers_fired_total", "Timers that fired, overtaken ones included.")
TRANSACTIONS: Final = _counter("elo_transactions_total", "Transactions, by outcome.", "outcome")
REWINDS: Final = _counter("elo_rewinds_total", "Batches read again because one was missing in between.")
COMMIT_SECONDS: Final = Histogram(
    "elo_commit_seconds", "Duration of a transaction's commit.", buckets=_COMMIT_S, registry=REGISTRY
)
TOUCH_TO_CHANGE: Final = Histogram(
    "elo_touch_to_change_seconds",
    "From the broker timestamp of the touchpoint's touch to the committed membership change.",
    buckets=_LATENCY_S,
    registry=REGISTRY,
)
COMPONENT_IDENTIFIERS: Final = Histogram(
    "elo_component_identifiers", "Identifiers of a component after a join.", buckets=_SIZES, registry=REGISTRY
)
LAG_RECORDS: Final = _gauge("elo_partition_lag_records", "Records not yet handled.", "topic", "partition")
LAG_SECONDS: Final = _gauge(
    "elo_partition_lag_seconds",
    "Age of the last handled record while records wait, else 0.",
    "topic",
    "partition",
)
RESTORE_RECORDS: Final = _counter("elo_restore_records_total", "Changelog and history records replayed.")
RESTORE_REMAINING: Final = _gauge(
    "elo_restore_remaining_records", "Records still to be replayed.", "partition"
)
TIMERS_DUE: Final = _gauge(
    "elo_timers_due", "Timers that are due and have not fired; in a wave, those in memory.", "partition"
)
STATE_BYTES: Final = _gauge("elo_state_bytes", "Size of the local state on disk.", "partition")
SEGMENT_PROFILES: Final = _gauge("elo_segment_profiles", "Profiles inside a segment.", "segment")
POLICY_VERSION: Final = _gauge(
    "elo_policy_version", "Version of the identity policy in force on a partition.", "partition"
)
POLICY_PENDING: Final = _gauge(
    "elo_policy_pending", "1 while a change of the identity policy is being worked off.", "partition"
)
POLICY_COMPONENTS: Final = _counter(
    "elo_policy_components_total", "Components judged anew because the identity policy has changed."
)
DEFINITIONS_PENDING: Final = _gauge(
    "elo_definitions_pending", "1 while a change of segment definitions is being worked off.", "partition"
)
BACKFILL_REMAINING: Final = _gauge(
    "elo_backfill_remaining_touches", "Touches still to be read again for changed definitions.", "partition"
)
BACKFILL_TOUCHES: Final = _counter(
    "elo_backfill_touches_total", "Touches of the history read again for changed definitions."
)
BACKFILL_COMPONENTS: Final = _counter(
    "elo_backfill_components_total", "Components evaluated for changed definitions."
)
STANDBY_LAG: Final = _gauge(
    "elo_standby_lag_records",
    "Changelog records that a copy of another worker's partition lacks.",
    "partition",
)
PARTITIONS: Final = _gauge("elo_partitions", "Partitions of this worker, by state.", "state")
BUILD: Final = Info("elo_build", "Version of Elo and of the identity policy.", registry=REGISTRY)


def declared_metrics() -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Every metric as it is scraped: name → (kind, labels, help)."""
    return declared_in(globals())


def declared_in(module: Mapping[str, object]) -> dict[str, tuple[str, tuple[str, ...], str]]:
    """The metrics among the names of a module."""
    declared = {}
    for metric in list(module.values()):
        if isinstance(metric, MetricWrapperBase):
            kind, name = metric._type, metric._name
            suffix = {"counter": "_total", "info": "_info"}.get(kind, "")
            declared[name + suffix] = (kind, tuple(metric._labelnames), metric._documentation)
    return declared
