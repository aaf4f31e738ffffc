"""Options, result rows and the table of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.latency import percentile
from tests.bench.options import Options, read_options
from tests.bench.report import append_row, format_table, make_row


def test_without_variables_everything_is_measured() -> None:
    assert read_options({}) == Options()


def test_variables_choose_systems_in_a_fixed_order_and_numbers() -> None:
    options = read_options({"BENCH_N": "1000", "BENCH_SYSTEMS": "elo raw", "BENCH_RATE": "500"})
    assert (options.n, options.systems, options.rate) == (1000, ("raw", "elo"), 500)


@pytest.mark.parametrize("given", [{"BENCH_N": "many"}, {"BENCH_N": "0"}, {"BENCH_SYSTEMS": "elo storm"}])
def test_a_bad_variable_is_refused_by_name(given: dict[str, str]) -> None:
    [name] = given
    with pytest.raises(SystemExit, match=name):
        read_options(given)


def test_fields_that_do_not_apply_are_absent(tmp_path: Path) -> None:
    row = make_row("throughput", "elo", n=10, p50_ms=None, correct=True)
    append_row(row, tmp_path / "build" / "bench.jsonl")
    append_row(row, tmp_path / "build" / "bench.jsonl")
    lines = (tmp_path / "build" / "bench.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [row, row]
    assert sorted(row) == ["correct", "kind", "n", "system", "when"]


def test_the_table_compares_the_systems_and_says_what_is_wrong() -> None:
    figures = {"n": 10, "events_s": 20_000, "cpu_us_event": 50.0, "other_cores": 0.1, "correct": True}
    elo = make_row("throughput", "elo", **figures)
    streams = {**elo, "system": "kafka-streams", "events_s": 40_000, "cpu_us_event": 40.0}
    table = format_table([elo, {**streams, "correct": False, "differences": ["rejected is 1, expected 0"]}])
    assert "0.50 of the touchpoints/s, 1.25 times the CPU" in table
    assert "20,000" in table
    assert "NO" in table
    assert "kafka-streams throughput: rejected is 1, expected 0" in table


def test_a_noisy_measurement_is_marked_and_not_compared() -> None:
    elo = make_row("throughput", "elo", n=10, events_s=20_000, cpu_us_event=50.0, other_cores=0.5)
    table = format_table([elo, {**elo, "system": "kafka-streams", "other_cores": 0.0}])
    assert "0.5 (noisy)" in table
    assert "times the CPU" not in table


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([], 0.5) is None
