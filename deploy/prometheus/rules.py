"""The recording and alert rules, as code: `make docs` writes them as `elo.rules.yml` beside this file.

Drills use the same rules with every duration divided by one number, so that an alert fires within seconds.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).resolve().parent / "elo.rules.yml"
HEAD: Final = """\
# Recording and alert rules over what Elo exposes (docs/reference/metrics.md). Each alert has a page in
# docs/runbooks. Printed by `make docs` from rules.py beside this file: change that, or a copy of this one.
# severity: page = somebody must look now, ticket = within a working day.
# Objectives over 30 days: 99 % of changes are committed within 5 s of their touch; Elo fails on at most 1
# touchpoint of 10,000; 99.9 % of the requests to the collector are not answered by a 5xx.
"""
UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
WINDOWS: Final = ("5m", "30m", "1h", "6h", "3d")
_RANGE: Final = re.compile(r"\[(\d+)([smhd])\]")
_AGE: Final = re.compile(r"@(\d+)([smhd])")
"""A threshold that is a duration: `@30s` in a rule here is 30 where it is printed."""


@dataclass(frozen=True)
class Record:
    """What is recorded under `name`. `why`: a comment."""

    name: str
    expr: str
    why: str = ""


@dataclass(frozen=True)
class Alert:
    """An alert that fires when `expr` has held for `hold`. `severity`: page or ticket."""

    name: str
    severity: str
    summary: str
    expr: str
    hold: str = ""


Rule = Record | Alert


@dataclass(frozen=True)
class Objective:
    """What is promised over 30 days: the share `bad`, of which `{w}` is the window, is at most `budget`.

    `page`, `ticket`: what the alerts say.
    """

    name: str
    bad: str
    budget: str
    alert: str
    page: str
    ticket: str

    def records(self) -> Iterator[Record]:
        """The share that broke it, over each window."""
        for window in WINDOWS:
            yield Record(f"elo:{self.name}:ratio_rate{window}", self.bad.replace("{w}", window))

    def alerts(self) -> Iterator[Alert]:
        """Two windows each, so that an alert ends soon after its cause: a pair for a month that is gone in 2
        days, one for 5 days, and one for a budget that is just used up.
        """
        share, budget = f"elo:{self.name}:ratio_rate", self.budget
        fast, slow = (
            f"({share}{long} > {pace} * {budget} and {share}{short} > {pace} * {budget})"
            for long, short, pace in (("1h", "5m", "14.4"), ("6h", "30m", "6"))
        )
        yield Alert(self.alert, "page", self.page, f"{fast}\nor {slow}")
        yield Alert(self.alert, "ticket", self.ticket, f"{share}3d > {budget} and {share}6h > {budget}")


OBJECTIVES: Final = (
    Objective(
        "freshness_errors",
        '1 - sum by (job) (rate(elo_touch_to_change_seconds_bucket{le="5.0"}[{w}]))\n'
        "  / sum by (job) (rate(elo_touch_to_change_seconds_count[{w}]))",
        "0.01",
        "EloFreshnessBudget",
        "Changes come late: the budget of the month is gone in days",
        "Changes come late more often than was promised",
    ),
    Objective(
        "loss_errors",
        'sum by (job) (rate(elo_rejected_total{reason="internal_error"}[{w}]))\n'
        "  / sum by (job) (rate(elo_touchpoints_total[{w}]))",
        "0.0001",
        "EloLossBudget",
        "Elo fails on touchpoints: the budget of the month is gone in days",
        "Elo fails on more touchpoints than was promised",
    ),
    Objective(
        "collect_errors",
        '(\n  sum by (job) (rate(elo_collect_requests_total{status=~"5.."}[{w}]))\n'
        "  or 0 * sum by (job) (rate(elo_collect_requests_total[{w}]))\n"
        ") / sum by (job) (rate(elo_collect_requests_total[{w}]))",
        "0.001",
        "EloCollectBudget",
        "The collector turns requests away: the budget of the month is gone in days",
        "The collector turns away more requests than was promised",
    ),
)
SERVED: Final = Record(
    "elo:partitions_served:count",
    "count by (job) (count by (job, partition) (elo_timers_due))",
    "A partition that moves may be told by two workers for one scrape: it counts once.",
)
SYMPTOMS: Final = (
    Alert("EloTouchpointsMissing", "page",
          "{{ $labels.source }}: about {{ $value | humanize }} touchpoints are missing",
          'sum by (job, source) (increase(elo_reconcile_touchpoints_total{outcome="missing"}[1h])) > 0'),
    Alert("EloPartitionStale", "page",
          "Partition {{ $labels.partition }} is {{ $value | humanizeDuration }} behind",
          "max by (job, partition) (elo_partition_lag_seconds) > @30s", "5m"),
    Alert("EloPartitionUnserved", "page", "Not all of {{ $value }} partitions are served",
          "max_over_time(elo:partitions_served:count[1d])\n"
          "unless elo:partitions_served:count >= max_over_time(elo:partitions_served:count[1d])", "5m"),
    Alert("EloTargetDown", "ticket", "{{ $labels.job }} {{ $labels.instance }} does not answer",
          'up{job=~"elo.*"} == 0', "5m"),
    Alert("EloExitsLate", "page", "Exits of partition {{ $labels.partition }} come late",
          "elo_timers_due > 0 unless on (job, instance, partition) elo_partition_lag_seconds > 0", "5m"),
    Alert("EloRejectedMany", "ticket", "{{ $value | humanizePercentage }} of the touchpoints are rejected",
          "sum by (job) (rate(elo_rejected_total[15m]))\n"
          "  / sum by (job) (rate(elo_touchpoints_total[15m])) > 0.05", "15m"),
    Alert("EloChangeStuck", "ticket",
          "New definitions or a new identity policy are not in force after an hour",
          "max by (job) (elo_definitions_pending) > 0 or max by (job) (elo_policy_pending) > 0", "1h"),
    Alert("EloSpoolFilled", "page",
          "{{ $labels.instance }} keeps {{ $value | humanize1024 }}B of events on its disk",
          "elo_collect_spool_bytes > 0", "10m"),
    Alert("EloDeliveryLate", "ticket",
          "{{ $labels.destination }} waits for a change of {{ $value | humanizeDuration }} ago",
          "max by (job, destination) (elo_deliver_oldest_seconds) > @900s", "5m"),
    Alert("EloDeliveryDisabled", "ticket", "Nothing is sent to {{ $labels.destination }}: it is disabled",
          'max by (job, destination) (elo_deliver_state{state="disabled"}) == 1'),
    Alert("EloDeliveryLetters", "ticket",
          "{{ $labels.destination }} refuses changes: they are kept as letters",
          'sum by (job, destination) (increase(elo_deliver_changes_total{outcome="letter"}[1h])) > 0'),
)  # fmt: skip

GROUPS: Final[dict[str, tuple[Rule, ...]]] = {
    "elo-objectives": tuple(record for one in OBJECTIVES for record in one.records()),
    "elo-recorded": (SERVED,),
    "elo-budgets": tuple(alert for one in OBJECTIVES for alert in one.alerts()),
    "elo-symptoms": SYMPTOMS,
}


def render(times_faster: int = 1) -> str:
    """The file of rules. `times_faster`: what every duration in it is divided by."""
    lines = [f"{HEAD}groups:"]
    for number, (name, rules) in enumerate(GROUPS.items()):
        lines += [""] * bool(number) + [f"  - name: {name}", "    rules:"]
        for rule in rules:
            lines += _lines_of(rule, times_faster)
    return "\n".join(lines) + "\n"


def _lines_of(rule: Rule, faster: int) -> Iterator[str]:
    expr = _RANGE.sub(lambda found: f"[{_duration(found, faster)}]", rule.expr)
    expr = _AGE.sub(lambda found: f"{int(found[1]) * UNITS_MS[found[2]] / 1000 / faster:g}", expr)
    if isinstance(rule, Record):
        if rule.why:
            yield f"      # {rule.why}"
        yield f"      - record: {rule.name}"
    else:
        yield f"      - alert: {rule.name}"
    if "\n" in expr:
        yield "        expr: |"
        yield from (f"          {line}" for line in expr.splitlines())
    else:
        yield f"        expr: {expr}"
    if isinstance(rule, Alert):
        if rule.hold:
            hold = re.fullmatch(r"(\d+)([smhd])", rule.hold)
            assert hold is not None
            yield f"        for: {_duration(hold, faster)}"
        yield f"        labels: {{severity: {rule.severity}}}"
        yield "        annotations:"
        yield f'          summary: "{rule.summary}"'
        yield f"          runbook_url: docs/runbooks/{rule.name}.md"


def _duration(found: re.Match[str], faster: int) -> str:
    return found[1] + found[2] if faster == 1 else f"{int(found[1]) * UNITS_MS[found[2]] // faster}ms"


def main() -> None:
    """Write the rules."""
    FILE.write_text(render(), "utf-8")
    sys.stdout.write("deploy/prometheus/elo.rules.yml\n")


if __name__ == "__main__":
    main()
