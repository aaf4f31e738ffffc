"""The metrics of a worker, declared once: docs/reference/metrics.md must say the same.

No label holds a profile or an event id. Children are resolved once and kept, for a look-up per event costs
more than the increment. Series of a partition that was given up are removed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
UNITS: Final = ("seconds", "bytes", "records")
"""What the name of a metric may end in, before `_total`; anything else is a plain number."""

_LATENCY_S: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_COMMIT_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES: Final = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-")
_RECORDS: Final = (1, 10, 50, 100, 250, 500, 1_000, 2_000, 4_000)


def unit_of(name: str) -> str:
    """The unit that the name of a metric says; empty for a plain number."""
    last = name.removesuffix("_total").rpartition("_")[2]
    return last if last in UNITS else ""


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(name, meaning, labels, unit=unit_of(name), registry=REGISTRY)


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    return Gauge(name, meaning, labels, unit=unit_of(name), registry=REGISTRY)


def _histogram(name: str, meaning: str, buckets: Sequence[float]) -> Histogram:
    return Histogram(name, meaning, buckets=buckets, unit=unit_of(name), registry=REGISTRY)


TOUCHPOINTS: Final = _counter("elo_touchpoints_total", "Touchpoints read by the intake.", "source")
DECISIONS: Final = _counter(
    "elo_decisions_total", "Decisions on identity read by the intake, good ones.", "source", "action"
)
SENT: Final = _counter("elo_touches_sent_total", "Touches sent by the intake, those of decisions included.")
REJECTED: Final = _counter("elo_rejected_total", "Touchpoints rejected, by reason.", "reason")
LEFT_OUT: Final = _counter(
    "elo_identifiers_left_out_total", "Identifiers left out of accepted touchpoints.", "why"
)
APPLIED: Final = _counter("elo_touches_applied_total", "Touches folded into a component.")
DUPLICATES: Final = _counter(
    "elo_duplicates_total", "Touches dropped because their event id was in the history."
)
MAIL: Final = _counter("elo_mail_total", "Messages sent to nodes on another partition, by kind.", "kind")
MAIL_HANDLED: Final = _counter("elo_mail_handled_total", "Messages that came through Kafka and were handled.")
JOINS: Final = _counter("elo_joins_total", "Components joined to another.")
REFUSED_LINKS: Final = _counter(
    "elo_refused_links_total", "Links that the identity policy refused.", "reason"
)
COMPARED: Final = _counter("elo_comparisons_total", "Pairs of comparison records compared.")
CLOSED_BLOCKS: Final = _counter(
    "elo_blocks_closed_total", "Blocking keys that came to be on too many records to find anybody."
)
REVIEWS: Final = _counter("elo_reviews_total", "Findings for a steward on identity.review.", "kind")
for _kind in ("oversized", "pair"):
    REVIEWS.labels(_kind)  # There from the start: a rate needs what was before the first one.
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
BATCH_SECONDS: Final = _histogram(
    "elo_batch_seconds", "From the begin of computing a batch to the begin of its commit.", _COMMIT_S
)
BATCH_RECORDS: Final = _histogram(
    "elo_batch_records", "Records of a batch, all partitions of the worker together.", _RECORDS
)
COMMIT_SECONDS: Final = _histogram("elo_commit_seconds", "Duration of a transaction's commit.", _COMMIT_S)
FLUSH_SECONDS: Final = _histogram(
    "elo_flush_seconds", "Duration of writing what is committed to the local disk.", _COMMIT_S
)
TOUCH_TO_CHANGE: Final = _histogram(
    "elo_touch_to_change_seconds",
    "From the broker timestamp of the touchpoint's touch to the committed membership change.",
    _LATENCY_S,
)
COMPONENT_IDENTIFIERS: Final = _histogram(
    "elo_component_identifiers", "Identifiers of a component after a join.", _SIZES
)
TIMER_LATE: Final = _histogram(
    "elo_timer_late_seconds", "From the instant at which a timer was due to the commit of it.", _LATENCY_S
)
LAG_RECORDS: Final = _gauge("elo_partition_lag_records", "Records not yet handled.", "topic", "partition")
LAG_SECONDS: Final = _gauge(
    "elo_partition_lag_seconds",
    "Age of the last handled record while records wait, else 0; under `elo.touches` with mail.",
    "topic",
    "partition",
)
RESTORE_RECORDS: Final = _counter("elo_restore_records_total", "Changelog and history records replayed.")
RESTORE_REMAINING: Final = _gauge(
    "elo_restore_remaining_records", "Records still to be replayed.", "partition"
)
RESTORE_SECONDS: Final = _gauge(
    "elo_restore_remaining_seconds", "Time left of a restore, at its pace so far.", "partition"
)
TIMERS_DUE: Final = _gauge(
    "elo_timers_due", "Timers that are due and have not fired; in a wave, those in memory.", "partition"
)
STATE_BYTES: Final = _gauge("elo_state_bytes", "Size of the local state on disk.", "partition")
DISK_FREE: Final = _gauge("elo_disk_free_bytes", "Room that is left on the disk of the local state.")
MEMTABLE_BYTES: Final = _gauge(
    "elo_rocksdb_memtable_bytes", "Memory of what RocksDB has not written to files yet.", "partition"
)
BLOCK_CACHE_BYTES: Final = _gauge(
    "elo_rocksdb_block_cache_bytes", "Memory of the blocks that RocksDB keeps, all partitions together."
)
LEVEL0_FILES: Final = _gauge(
    "elo_rocksdb_level0_files", "Files that wait to be merged; at 20 RocksDB slows writes down.", "partition"
)
COMPACTION_BYTES: Final = _gauge(
    "elo_rocksdb_pending_compaction_bytes", "What compaction has still to rewrite.", "partition"
)
WRITE_STOPPED: Final = _gauge(
    "elo_rocksdb_write_stopped", "1 while RocksDB takes no writes because compaction is behind.", "partition"
)
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


PER_PARTITION: Final = (
    RESTORE_REMAINING, RESTORE_SECONDS, TIMERS_DUE, STATE_BYTES, MEMTABLE_BYTES, LEVEL0_FILES,
    COMPACTION_BYTES, WRITE_STOPPED, POLICY_VERSION, POLICY_PENDING, DEFINITIONS_PENDING, BACKFILL_REMAINING,
)  # fmt: skip
"""Gauges of a partition of the resolver: their series go with it."""


class Declared(NamedTuple):
    """A metric as it is scraped."""

    kind: str
    labels: tuple[str, ...]
    help: str
    unit: str


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Body and content type of `/metrics`: OpenMetrics, which has exemplars, for who asks for it."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def exemplar(traceparent: str) -> dict[str, str] | None:
    """The trace that an observation belongs to; None without a W3C `traceparent`."""
    found = _TRACEPARENT.match(traceparent)
    return {"trace_id": found[1]} if found else None


def declared_metrics() -> dict[str, Declared]:
    """Every metric of a worker by its name."""
    return declared_in(globals())


def declared_in(module: Mapping[str, object]) -> dict[str, Declared]:
    """The metrics among the names of a module."""
    declared = {}
    for metric in list(module.values()):
        if isinstance(metric, MetricWrapperBase):
            kind, name = metric._type, metric._name
            suffix = {"counter": "_total", "info": "_info"}.get(kind, "")
            declared[name + suffix] = Declared(
                kind, tuple(metric._labelnames), metric._documentation, unit_of(name + suffix)
            )
    return declared
