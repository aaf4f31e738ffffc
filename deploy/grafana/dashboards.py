"""The Grafana dashboards, as code: `make docs` writes them as JSON beside this file.

Every query is for the jobs and the data source that are chosen above the panels. Tests read each query and
hold its metrics and labels against what Elo declares.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import DashboardLink, DatasourceVariable, QueryVariable
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    GridPos,
    VariableRefresh,
)

FOLDER: Final = Path(__file__).resolve().parent
SOURCE: Final = DataSourceRef(type_val="prometheus", uid="$datasource")
GRID_COLUMNS: Final = 24  # Grafana's own
PANEL_ROWS: Final = {"stat": 5, "lines": 8}


@dataclass(frozen=True)
class Panel:
    """One panel. `queries`: legend → expression, in which `{}` and `{,` stand for the chosen jobs.

    `exemplars`: single observations are shown too, with their traces.
    """

    title: str
    says: str
    unit: str
    queries: dict[str, str]
    kind: str = "lines"
    columns: int = 8
    exemplars: bool = False


def quantiles(metric: str, by: str = "") -> dict[str, str]:
    """The median and the 99th percentile of a histogram, for each `by` if one is named."""
    labels = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    pace = f"sum by ({labels}) (rate({metric}_bucket{{}}[$__rate_interval]))"
    return {
        f"{legend}{name}": f"histogram_quantile({q}, {pace})" for name, q in (("p50", "0.5"), ("p99", "0.99"))
    }


def rate(metric: str, by: str, where: str = "") -> dict[str, str]:
    """Per second, for each `by`; `where` is one more matcher."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return {legend: f"sum by ({by}) (rate({metric}{{{',' + where if where else ''}}}[$__rate_interval]))"}


def total(metric: str, legend: str) -> dict[str, str]:
    """Per second, of all together."""
    return {legend: f"sum(rate({metric}{{}}[$__rate_interval]))"}


OVERVIEW: Final = (
    Panel("Partitions served", "Restored, and may commit. All of them, unless a worker is missing.", "none",
          {"served": "sum(elo:partitions_served:count{})"}, "stat", 4),
    Panel("Furthest behind", "Age of the last handled record of the slowest partition, 0 at rest.", "s",
          {"behind": "max(elo_partition_lag_seconds{})"}, "stat", 4),
    Panel("Touch to change, p99", "From the touch to the committed membership change, 5 minutes.", "s",
          {"p99": "histogram_quantile(0.99, sum by (le) (rate(elo_touch_to_change_seconds_bucket{}[5m])))"},
          "stat", 4),
    Panel("Late changes, 3 days", "Share that took longer than 5 s. Promised: at most 1 %.", "percentunit",
          {"{{job}}": "elo:freshness_errors:ratio_rate3d{}"}, "stat", 3),
    Panel("Missing touchpoints, 1 hour", "Read, and nothing came of them. Must be 0.", "none",
          {"missing": 'sum(increase(elo_reconcile_touchpoints_total{,outcome="missing"}[1h]))'}, "stat", 3),
    Panel("Failed touchpoints, 3 days", "Share on which Elo failed. Promised: at most 1 of 10,000.",
          "percentunit", {"{{job}}": "elo:loss_errors:ratio_rate3d{}"}, "stat", 3),
    Panel("Refused requests, 3 days", "Share that was answered with a 5xx. Promised: at most 0.1 %.",
          "percentunit", {"{{job}}": "elo:collect_errors:ratio_rate3d{}"}, "stat", 3),
    Panel("Touchpoints", "Read by the intake, by source.", "cps", rate("elo_touchpoints_total", "source")),
    Panel("Membership changes", "Committed, by kind.", "cps", rate("elo_membership_changes_total", "change")),
    Panel("Rejected", "By reason. A jump: a producer has changed.", "cps",
          rate("elo_rejected_total", "reason")),
    Panel("Behind", "Age of the last handled record while records wait.", "s",
          {"{{partition}}": "max by (partition) (elo_partition_lag_seconds{})"}),
    Panel("Touch to change", "From the broker's timestamp of the touch to the committed change.", "s",
          quantiles("elo_touch_to_change_seconds"), exemplars=True),
    Panel("Delivery: oldest change", "Age of the oldest change that is not settled, by destination.", "s",
          {"{{destination}}": "max by (destination) (elo_deliver_oldest_seconds{})"}),
)  # fmt: skip

PIPELINE: Final = (
    Panel("In and out", "Touchpoints read, touches applied, duplicates dropped, touchpoints rejected.", "cps",
          total("elo_touchpoints_total", "read") | total("elo_touches_applied_total", "applied")
          | total("elo_duplicates_total", "duplicates") | total("elo_rejected_total", "rejected")),
    Panel("Reconciliation, by minute", "Touchpoints by source, and what was found of them.", "none",
          {"{{source}} {{outcome}}":
           "sum by (source, outcome) (increase(elo_reconcile_touchpoints_total{}[1m]))"}),
    Panel("Missing", "Read, and nothing came of them: the first offset, by partition of an input.", "none",
          {"{{topic}} {{partition}}": "min by (topic, partition) (elo_reconcile_first_missing_offset{})"}),
    Panel("Between the stages", "Touches that the intake sends; messages of the resolver.", "cps",
          total("elo_touches_sent_total", "touches") | total("elo_mail_total", "messages sent")
          | total("elo_mail_handled_total", "messages that came through Kafka")),
    Panel("Records that wait", "Not yet handled, by topic.", "none",
          {"{{topic}}": "sum by (topic) (elo_partition_lag_records{})"}),
    Panel("Behind", "Age of the last handled record while records wait.", "s",
          {"{{topic}} {{partition}}": "max by (topic, partition) (elo_partition_lag_seconds{})"}),
    Panel("Timers", "Fired, overtaken ones included.", "cps", total("elo_timers_fired_total", "fired")),
    Panel("Timers: late", "From the due instant to the commit.", "s", quantiles("elo_timer_late_seconds")),
    Panel("Timers that are due", "Above 0 while nothing waits: exits come late.", "none",
          {"{{partition}}": "sum by (partition) (elo_timers_due{})"}),
    Panel("Partitions", "Of each worker, by state.", "none",
          {"{{instance}} {{state}}": "sum by (instance, state) (elo_partitions{})"}),
    Panel("Versions", "Workers by version of Elo.", "none",
          {"{{version}}": "count by (version) (elo_build_info{})"}),
    Panel("Reconciliation: age", "Since its last complete look.", "s",
          {"{{instance}}": "time() - max by (instance) (elo_reconcile_looked_timestamp_seconds{})"}),
)  # fmt: skip

STATE: Final = (
    Panel("Transactions", "By outcome. Aborted ones: rebalances, or a broker with trouble.", "cps",
          rate("elo_transactions_total", "outcome")),
    Panel("Commit", "Duration of a transaction's commit. Above 0.5 s the broker is slow.", "s",
          quantiles("elo_commit_seconds")),
    Panel("Rewinds", "Batches read again because one was missing in between.", "cps",
          rate("elo_rewinds_total", "instance")),
    Panel("Batches", "From the begin of computing one to the begin of its commit.", "s",
          quantiles("elo_batch_seconds")),
    Panel("Size of batches", "Records.", "none", quantiles("elo_batch_records")),
    Panel("Writes to the disk", "Duration of one.", "s", quantiles("elo_flush_seconds")),
    Panel("Restore", "Records still to be replayed, by partition.", "none",
          {"{{partition}}": "sum by (partition) (elo_restore_remaining_records{})"}),
    Panel("Restore: time left", "At the pace so far, by partition.", "s",
          {"{{partition}}": "max by (partition) (elo_restore_remaining_seconds{})"}),
    Panel("Stand-by copies", "Records that a worker's copy of another's partition lacks.", "none",
          {"{{instance}} {{partition}}": "sum by (instance, partition) (elo_standby_lag_records{})"}),
    Panel("Restore: pace", "Changelog and history records replayed.", "cps",
          rate("elo_restore_records_total", "instance")),
    Panel("State on disk", "By worker.", "bytes", {"{{instance}}": "sum by (instance) (elo_state_bytes{})"}),
    Panel("Room on the disk", "By worker. None ends it with code 3.", "bytes",
          {"{{instance}}": "min by (instance) (elo_disk_free_bytes{})"}),
    Panel("RocksDB: memory", "Memtables and block cache, by worker.", "bytes",
          {"{{instance}} memtables": "sum by (instance) (elo_rocksdb_memtable_bytes{})",
           "{{instance}} blocks": "sum by (instance) (elo_rocksdb_block_cache_bytes{})"}),
    Panel("RocksDB: to be merged", "Files of level 0, by partition. At 20 writes are slowed down.", "none",
          {"{{partition}}": "max by (partition) (elo_rocksdb_level0_files{})"}),
    Panel("RocksDB: compaction behind", "What has still to be rewritten, by worker.", "bytes",
          {"{{instance}}": "sum by (instance) (elo_rocksdb_pending_compaction_bytes{})"}),
    Panel("RocksDB: writes stopped", "Partitions on which compaction is so far behind, by worker.", "none",
          {"{{instance}}": "sum by (instance) (elo_rocksdb_write_stopped{})"}),
)  # fmt: skip

IDENTITY: Final = (
    Panel("Joins", "Components joined to another, and profile ids that became an alias.", "cps",
          total("elo_joins_total", "joins") | total("elo_profile_aliases_total", "aliases")),
    Panel("Refused links", "By reason. `component_full`: an identifier that many people share.", "cps",
          rate("elo_refused_links_total", "reason")),
    Panel("Identifiers left out", "Of accepted touchpoints, by reason.", "cps",
          rate("elo_identifiers_left_out_total", "why")),
    Panel("Size of components", "Identifiers of a component after a join.", "none",
          quantiles("elo_component_identifiers")),
    Panel("Messages between partitions", "By kind.", "cps", rate("elo_mail_total", "kind")),
    Panel("Decisions", "Of stewards and sources, by action.", "cps",
          rate("elo_decisions_total", "source, action")),
    Panel("Matching", "Pairs of records compared, and blocking keys that came to be on too many.", "cps",
          total("elo_comparisons_total", "compared") | total("elo_blocks_closed_total", "keys closed")),
    Panel("For stewards", "Findings on identity.review, by kind.", "cps", rate("elo_reviews_total", "kind")),
    Panel("Profiles published", "Snapshots, tombstones included.", "cps",
          total("elo_profiles_published_total", "published")),
    Panel("Identity policy", "Version in force, by partition.", "none",
          {"{{partition}}": "max by (partition) (elo_policy_version{})"}),
    Panel("Change of policy", "Partitions that work it off, and components judged anew a second.", "none",
          {"partitions": "sum(elo_policy_pending{} > bool 0)"}
          | total("elo_policy_components_total", "judged")),
)  # fmt: skip

SEGMENTS: Final = (
    Panel("Profiles inside", "By segment.", "none",
          {"{{segment}}": "sum by (segment) (elo_segment_profiles{})"}, columns=12),
    Panel("Churn", "Entered and exited, by segment.", "cps",
          rate("elo_membership_changes_total", "segment, change"), columns=12),
    Panel("Causes", "Why memberships change.", "cps", rate("elo_membership_changes_total", "cause")),
    Panel("Touch to change", "From the broker's timestamp of the touch to the committed change.", "s",
          quantiles("elo_touch_to_change_seconds"), exemplars=True),
    Panel("Timers", "Fired, and due without having fired.", "none",
          total("elo_timers_fired_total", "fired a second") | {"due": "sum(elo_timers_due{})"}),
    Panel("New definitions", "Partitions that work a change of definitions off.", "none",
          {"partitions": "sum(elo_definitions_pending{} > bool 0)"}),
    Panel("Back-fill: left", "Touches still to be read again.", "none",
          {"{{partition}}": "sum by (partition) (elo_backfill_remaining_touches{})"}),
    Panel("Back-fill: pace", "Touches read again, and components evaluated.", "cps",
          total("elo_backfill_touches_total", "touches")
          | total("elo_backfill_components_total", "components")),
)  # fmt: skip

DELIVERY: Final = (
    Panel("State", "Of each destination.", "none",
          {"{{destination}} {{state}}": "max by (destination, state) (elo_deliver_state{}) == 1"}),
    Panel("Oldest change", "Read and not settled.", "s",
          {"{{destination}}": "max by (destination) (elo_deliver_oldest_seconds{})"}),
    Panel("Settled", "Delivered, kept as a letter, not wanted or skipped.", "cps",
          rate("elo_deliver_changes_total", "destination, outcome")),
    Panel("Requests", "By outcome.", "cps", rate("elo_deliver_attempts_total", "destination, outcome")),
    Panel("Duration of requests", "By destination.", "s",
          quantiles("elo_deliver_request_seconds", "destination")),
    Panel("Waiting", "Changes that failed, or wait behind one that did.", "none",
          {"{{destination}}": "sum by (destination) (elo_deliver_waiting{})"}),
    Panel("Letters", "Changes that were given up and are kept.", "none",
          {"{{destination}}": "sum by (destination) (elo_deliver_letters{})"}),
    Panel("Not read yet", "Records of segments.membership.", "none",
          {"{{destination}}": "sum by (destination) (elo_deliver_lag_records{})"}),
    Panel("Partitions", "Of each process.", "none",
          {"{{instance}} {{destination}}": "sum by (instance, destination) (elo_deliver_partitions{})"}),
)  # fmt: skip

COLLECTOR: Final = (
    Panel("Requests", "By API and status.", "reqps", rate("elo_collect_requests_total", "api, status")),
    Panel("Duration of requests", "Until the answer, which the broker or the disk comes before.", "s",
          quantiles("elo_collect_request_seconds"), exemplars=True),
    Panel("Requests turned away", "Answered by a 5xx.", "reqps",
          rate("elo_collect_requests_total", "status", 'status=~"5.."')),
    Panel("Events accepted", "By source and API.", "cps", rate("elo_collect_events_total", "source, api")),
    Panel("Events refused", "By reason; they are kept.", "cps", rate("elo_collect_rejected_total", "reason")),
    Panel("Not acknowledged", "Records that the broker has not acknowledged yet.", "none",
          {"{{instance}}": "sum by (instance) (elo_collect_waiting_records{})"}),
    Panel("Spool", "Above 0 for long: the broker is away, or refuses records.", "bytes",
          {"{{instance}}": "sum by (instance) (elo_collect_spool_bytes{})"}),
    Panel("Over the disk", "Records that went through the spool.", "cps",
          total("elo_collect_spooled_total", "records")),
)  # fmt: skip

DASHBOARDS: Final = {
    "overview": OVERVIEW,
    "pipeline": PIPELINE,
    "state": STATE,
    "identity": IDENTITY,
    "segments": SEGMENTS,
    "delivery": DELIVERY,
    "collector": COLLECTOR,
}


TITLES: Final = {"state": "Kafka and state"}


def expression(query: str) -> str:
    """A query with the chosen jobs in each selector."""
    return query.replace("{,", '{job=~"$job",').replace("{}", '{job=~"$job"}')


def _panel(panel: Panel, place: GridPos) -> Any:
    built: Any
    if panel.kind == "stat":
        built = stat.Panel()
    else:
        legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
        built = timeseries.Panel().legend(legend.show_legend(True)).min(0)
    built.title(panel.title).description(panel.says).unit(panel.unit).datasource(SOURCE).grid_pos(place)
    for number, (legend, query) in enumerate(panel.queries.items()):
        target = prometheus.Dataquery().expr(expression(query)).legend_format(legend).ref_id(chr(65 + number))
        target = target.instant() if panel.kind == "stat" else target.range()
        built.with_target(target.exemplar(True) if panel.exemplars else target)
    return built


def places(panels: tuple[Panel, ...]) -> list[GridPos]:
    """Where the panels stand, from the left, row by row."""
    found, x, y, rows = list[GridPos](), 0, 0, 0
    for panel in panels:
        if x + panel.columns > GRID_COLUMNS:
            x, y, rows = 0, y + rows, 0
        height = PANEL_ROWS[panel.kind]
        found.append(GridPos(x=x, y=y, w=panel.columns, h=height))
        x, rows = x + panel.columns, max(rows, height)
    return found


def render(name: str) -> str:
    """The JSON of one dashboard."""
    board = (
        dashboard.Dashboard(f"Elo: {TITLES.get(name, name)}").uid(f"elo-{name}").tags(["elo"]).refresh("30s")
    )
    board.time("now-6h", "now").timezone("browser").tooltip(DashboardCursorSync.CROSSHAIR).editable()
    others = DashboardLink("Elo").type(DashboardLinkType.DASHBOARDS).tags(["elo"])
    board.link(others.keep_time(True).include_vars(True))
    board.with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    jobs = QueryVariable("job").label("Jobs").query('label_values(up{job=~"elo.*"}, job)').datasource(SOURCE)
    board.with_variable(
        jobs.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True).include_all(True).all_value(".*")
    )
    panels = DASHBOARDS[name]
    for number, (panel, place) in enumerate(zip(panels, places(panels), strict=True), start=1):
        board.with_panel(_panel(panel, place).id(number))
    return JSONEncoder(sort_keys=True, indent=1).encode(board.build()) + "\n"


def main() -> None:
    """Write every dashboard."""
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(render(name), "utf-8")
        sys.stdout.write(f"deploy/grafana/{name}.json\n")


if __name__ == "__main__":
    main()
