"""Rules, dashboards and runbooks name what Elo exposes and agree with each other; rules do what they say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.doc_pages import Page
from tests.support.generated import load
from tests.support.promql import Reader, alerts_of, as_sent, grouped

ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = ROOT / "deploy/prometheus/elo.rules.yml"
RULE_TESTS: Final = ROOT / "deploy/prometheus/elo.rules.test.yml"
GRAFANA: Final = ROOT / "deploy/grafana"
RUNBOOKS: Final = ROOT / "docs/runbooks"
HEADINGS: Final = ["Symptom", "What it means", "What to do first", "How to see it is over"]
PROMTOOL_S: Final = 120


def rules() -> list[dict[str, Any]]:
    """All rules, in order."""
    return list(grouped(yaml.safe_load(RULES.read_text("utf-8"))))


def alerts() -> dict[str, list[dict[str, Any]]]:
    """Name → its rules, one a severity."""
    found = dict[str, list[dict[str, Any]]]()
    for rule in rules():
        if "alert" in rule:
            found.setdefault(rule["alert"], []).append(rule)
    return found


def read_rules() -> Reader:
    """A reader that went through all rules and knows what they record."""
    reader = Reader()
    for rule in rules():
        labels = reader.labels_of(rule["expr"])
        if "record" in rule:
            reader.series[rule["record"]] = labels
        for text in rule.get("annotations", {}).values():
            reader.expect(labels, text)
    return reader


def targets(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Expression and legend of each query of a dashboard, as Grafana would send it."""
    for panel in board["panels"]:
        for target in panel["targets"]:
            text = as_sent(target["expr"])
            assert "$" not in text
            yield text, target["legendFormat"]


def run_tool(tool: str, package: str, *arguments: object) -> None:
    """Run a tool of Prometheus on a file of ours; skip where it is not installed."""
    command = shutil.which(tool)
    if command is None:
        pytest.skip(f"{tool} is not on the PATH: apt-get install {package}, or see prometheus.io")
    done = subprocess.run(
        [command, *map(str, arguments)], capture_output=True, text=True, timeout=PROMTOOL_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def promtool(*arguments: object) -> None:
    """Run promtool."""
    run_tool("promtool", "prometheus", *arguments)


def test_the_committed_rules_are_those_of_the_generator() -> None:
    assert RULES.read_text("utf-8") == load("deploy/prometheus/rules.py").render(), "run make docs"


def test_faster_rules_differ_in_their_durations_only(tmp_path: Path) -> None:
    faster = load("deploy/prometheus/rules.py").render(180)
    file = tmp_path / "faster.yml"
    file.write_text(faster)
    promtool("check", "rules", "--lint-fatal", file)
    durations = re.compile(r"\[\w+\]|for: \w+|_seconds\) > [\d.]+")
    plain = RULES.read_text("utf-8")
    assert durations.sub("", faster) == durations.sub("", plain)
    assert "elo_partition_lag_seconds) > 0.166667" in faster
    assert "for: 1666ms" in faster
    assert "[480000ms]" in faster


def test_the_routes_lead_where_the_severity_says() -> None:
    file = RULES.parent / "alertmanager.yml"
    run_tool("amtool", "prometheus-alertmanager", "check-config", file)
    for severity in ("page", "ticket"):
        run_tool("amtool", "prometheus-alertmanager", "config", "routes", "test", f"--config.file={file}",
                 f"--verify.receivers={severity}", f"severity={severity}", "alertname=EloAny")  # fmt: skip


def test_grafana_is_told_of_the_data_source_and_the_dashboards() -> None:
    found = {
        path.stem: yaml.safe_load(path.read_text("utf-8")) for path in GRAFANA.glob("provisioning/*/*.yaml")
    }
    (source,) = found["prometheus"]["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (provider,) = found["elo"]["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)


def test_each_alert_is_beside_a_metric_on_the_reference_page() -> None:
    found = alerts_of(yaml.safe_load(RULES.read_text("utf-8")))
    assert {one for names in found.values() for one in names} == set(alerts())
    assert found["elo_touch_to_change_seconds"] == ["EloFreshnessBudget"]  # over what is recorded


def test_the_rules_are_well_formed() -> None:
    promtool("check", "rules", "--lint-fatal", RULES)


def test_the_scrape_configuration_is_well_formed() -> None:
    promtool("check", "config", RULES.parent / "prometheus.yml")


def test_each_alert_fires_and_resolves_as_its_cases_say() -> None:
    promtool("test", "rules", RULE_TESTS)


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires, rests = set(), set()
    for case in yaml.safe_load(RULE_TESTS.read_text("utf-8"))["tests"]:
        for check in case["alert_rule_test"]:
            if not check["exp_alerts"]:
                rests.add(check["alertname"])
            fires |= {(check["alertname"], told["exp_labels"]["severity"]) for told in check["exp_alerts"]}
    assert fires == {(name, rule["labels"]["severity"]) for name, same in alerts().items() for rule in same}
    assert rests == set(alerts())


def test_rules_name_only_metrics_labels_and_buckets_that_elo_has() -> None:
    assert read_rules().wrong == []


def test_dashboards_name_only_metrics_labels_and_buckets_that_elo_has() -> None:
    reader = read_rules()
    for path in GRAFANA.glob("*.json"):
        for text, legend in targets(json.loads(path.read_text("utf-8"))):
            reader.expect(reader.labels_of(text), legend)
    assert reader.wrong == []


def test_each_metric_is_on_a_dashboard() -> None:
    reader = Reader()
    declared = {re.sub(r"_(bucket|sum|count)$", "", name) for name in reader.series} - {"up"}
    reader.series = read_rules().series
    for path in GRAFANA.glob("*.json"):
        for text, _ in targets(json.loads(path.read_text("utf-8"))):
            reader.labels_of(text)
    assert declared - {re.sub(r"_bucket$", "", name) for name in reader.used} == set()


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("rate(elo_no_such_total[5m])", "elo_no_such_total is not declared"),
        ('sum(elo_partitions{status="ready"})', "elo_partitions has no label status"),
        ("sum by (segment) (elo_joins_total)", "segment is grouped by, but not there"),
        ('elo_commit_seconds_bucket{le="1"}', "elo_commit_seconds_bucket has no bucket 1"),
        ("elo_timers_due and on (topic) elo_partition_lag_seconds", "topic is grouped by, but not there"),
        ("1 - sum without (kind) (elo_joins_total)", "kind is grouped by, but not there"),
    ],
)
def test_a_wrong_name_is_found(expression: str, wrong: str) -> None:
    reader = Reader()
    reader.labels_of(expression)
    assert reader.wrong == [wrong]


def test_a_legend_that_the_result_does_not_have_is_found() -> None:
    reader = Reader()
    reader.expect(reader.labels_of("sum by (job) (elo_state_bytes)"), "{{job}} {{partition}}")
    assert reader.wrong == ["{{job}} {{partition}}: the result has no label partition"]


def test_the_committed_dashboards_are_those_of_the_generator() -> None:
    generator = load("deploy/grafana/dashboards.py")
    committed = {path.stem: path.read_text("utf-8") for path in GRAFANA.glob("*.json")}
    assert committed == {name: generator.render(name) for name in generator.DASHBOARDS}, "run make docs"


def test_panels_stand_inside_the_grid_and_cover_no_other() -> None:
    for path in GRAFANA.glob("*.json"):
        taken = set[tuple[int, int]]()
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            place = panel["gridPos"]
            columns = range(place["x"], place["x"] + place["w"])
            cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
            assert columns.stop <= 24
            assert not cells & taken, f"{path.name}: {panel['title']}"
            taken |= cells


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(alerts())
    for name, same in alerts().items():
        assert {rule["annotations"]["runbook_url"] for rule in same} == {f"docs/runbooks/{name}.md"}
        assert {rule["labels"]["severity"] for rule in same} <= {"page", "ticket"}
        page = Page("", (RUNBOOKS / f"{name}.md").read_text("utf-8"))
        assert page.headings(1) == [name]
        assert page.headings(2) == HEADINGS


def test_the_expressions_of_a_runbook_name_only_what_elo_has() -> None:
    reader = read_rules()
    for path in RUNBOOKS.glob("*.md"):
        for block in re.findall(r"```promql\n(.*?)```", path.read_text("utf-8"), re.DOTALL):
            for line in block.strip().splitlines():
                reader.labels_of(line)
    assert reader.wrong == []


def test_the_page_for_operators_lists_each_alert() -> None:
    page = Page("", (ROOT / "docs/operating.md").read_text("utf-8"))
    listed = [re.findall(r"\[`(\w+)`\]", row[0]) for row in page.rows("alert")]
    assert [name for row in listed for name in row] == list(alerts())
