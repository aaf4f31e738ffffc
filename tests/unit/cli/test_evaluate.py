"""`elo identity evaluate` from the user's side: files in, clusters out, sentences for what is wrong."""

from __future__ import annotations

import csv
import gzip
import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from pipeline.cli.app import app
from tests.support.people import make_people

ROOT = Path(__file__).resolve().parents[3]


def evaluate(path: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["identity", "evaluate", str(path), *options])


def lines_of(truth: bool) -> list[str]:
    return [
        json.dumps(
            {"record_id": one.record_id, "source": "crm", "fields": dict(one.fields)}
            | ({"entity_id": one.entity_id} if truth else {})
        )
        for one in make_people(2, 15)
    ]


def test_clusters_come_in_the_order_of_the_file_with_metrics_aside(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(lines_of(truth=True)), "utf-8")
    result = evaluate(path)
    assert result.exit_code == 0
    printed = [line.split("\t") for line in result.stdout.splitlines()]
    assert [record for record, _ in printed] == [one.record_id for one in make_people(2, 15)]
    assert "precision" in result.stderr


def test_a_gzipped_file_without_truth_gives_the_same_clusters(tmp_path: Path) -> None:
    plain, zipped = tmp_path / "set.jsonl", tmp_path / "set.jsonl.gz"
    plain.write_text("\n".join(lines_of(truth=True)), "utf-8")
    zipped.write_bytes(gzip.compress("\n".join(reversed(lines_of(truth=False))).encode()))
    one, other = evaluate(plain), evaluate(zipped)
    assert sorted(one.stdout.splitlines()) == sorted(other.stdout.splitlines())
    assert other.stderr == ""


def test_json_holds_clusters_and_metrics(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(lines_of(truth=True)), "utf-8")
    document = json.loads(evaluate(path, "--json").stdout)
    assert len(document["clusters"]) == document["metrics"]["records"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no record"),
        ("no json", ":1 is no record"),
        ('{"record_id": "a", "fields": {"phone": [5]}}', ":1 is no record"),
        ('{"record_id": "a", "fields": {"phone": true}}', ":1 is no record"),
        ('{"record_id": "a", "fields": {"phone": 5.5}}', ":1 is no record"),
        ('{"record_id": "a", "fields": {}}\n{"record_id": "a", "fields": {}}', ":2 repeats record a"),
        ('{"fields": {}}', ":1 is no record"),
        ('{"record_id": "", "fields": {}}', ":1 is no record"),
        ('{"record_id": "a\\tb", "fields": {}}', ":1 is no record"),
        ('{"record_id": "a", "fields": {"city": "\\ud800"}}', ":1 is no record"),
        ('{"record_id": "a", "fields": []}', ":1 is no record"),
        ('{"record_id": "a", "fields": {"city": "' + "x" * (1 << 20) + '"}}', ":1 is no record"),
        ("[" * 100_000, ":1 is no record"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(text, "utf-8")
    result = evaluate(path)
    assert said in str(result.exception)
    assert result.exit_code == 1


def test_a_trained_model_is_used_as_it_is(tmp_path: Path) -> None:
    path, model = tmp_path / "set.jsonl", tmp_path / "model.json"
    path.write_text("\n".join(lines_of(truth=True)), "utf-8")
    trained = CliRunner().invoke(app, ["identity", "train", str(path), "-o", str(model)])
    assert trained.exit_code == 0
    document = json.loads(model.read_bytes())
    assert document["version"] in trained.stdout
    found = json.loads(evaluate(path, "--model", str(model), "--json").stdout)
    assert found["metrics"]["precision"] >= 0.95
    assert found["metrics"]["f1"] >= 0.9


def test_a_model_holds_no_value_of_a_single_person(tmp_path: Path) -> None:
    path, model = tmp_path / "set.jsonl", tmp_path / "model.json"
    path.write_text("\n".join(lines_of(truth=False)), "utf-8")
    CliRunner().invoke(app, ["identity", "train", str(path), "-o", str(model)])
    kept = json.loads(model.read_bytes())["frequencies"]
    assert kept
    assert min(kept.values()) >= 10
    assert not [term for term in kept if term[0] in "dnipexhmg"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "it is no model"),
        ("no json", "cannot be used as a model"),
        ('{"format": "elo-matching-1", "version": "0"}', "besides its version it must hold exactly"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path, model = tmp_path / "set.jsonl", tmp_path / "model.json"
    path.write_text("\n".join(lines_of(truth=False)), "utf-8")
    model.write_text(text, "utf-8")
    result = evaluate(path, "--model", str(model))
    assert said in str(result.exception)
    assert result.exit_code == 1


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["identity", *arguments])


@pytest.fixture
def people_file(tmp_path: Path) -> Path:
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(lines_of(truth=True)), "utf-8")
    return path


@pytest.mark.parametrize(
    "content", [b"\x1f\x8bno gzip", gzip.compress(b"{}" * 99, mtime=0)[:-9], b"\xff\xfe{"]
)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "set.jsonl.gz"
    path.write_bytes(content)
    result = evaluate(path)
    assert result.exit_code == 1
    assert str(result.exception).startswith(str(path))
    assert "\n" not in str(result.exception)


def test_one_record_is_a_set(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"record_id": "a", "entity_id": 7, "fields": {"full_name": "Ana"}}\r\n')
    result = evaluate(path)
    assert result.stdout == "a\ta\n"
    assert "f1 1.0" in result.stderr


def test_a_field_may_be_a_whole_number_or_null_as_in_a_touchpoint(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    written = [
        {"full_name": "Rui Zanella", "national_id": 39053344705, "birth_date": None, "city": ""},
        {"full_name": "Rui Zanella", "national_id": "390.533.447-05"},
    ]
    records = [
        {"record_id": str(at), "entity_id": None, "fields": fields} for at, fields in enumerate(written)
    ]
    path.write_text("\n".join(map(json.dumps, records)), "utf-8")
    result = evaluate(path)
    assert result.stdout == "0\t0\n1\t0\n"
    assert result.stderr == ""  # a null is no truth


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_a_set_may_come_through_a_pipe(people_file: Path, name: str, zipped: bool) -> None:
    content = people_file.read_bytes()
    piped = subprocess.run(
        [sys.executable, "-m", "pipeline", "identity", "evaluate", name],
        input=gzip.compress(content) if zipped else content,
        capture_output=True,
        cwd=ROOT,
        check=True,
    )
    assert piped.stdout.decode() == evaluate(people_file).stdout


def test_a_truth_that_is_known_in_part_is_no_measure(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join([*lines_of(truth=True), '{"record_id": "zz", "fields": {}}']), "utf-8")
    result = evaluate(path)
    assert result.exit_code == 0
    assert f"not measured: 1 of {len(lines_of(truth=True)) + 1} records" in result.stderr


def test_the_report_holds_the_pairs_with_their_weights(people_file: Path, tmp_path: Path) -> None:
    report = tmp_path / "pairs.csv"
    clusters = dict(
        line.split("\t") for line in evaluate(people_file, "--report", str(report)).stdout.splitlines()
    )
    with report.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    truth = {one.record_id: one.entity_id for one in make_people(2, 15)}
    for row in rows:
        a, b = row["record_a"], row["record_b"]
        assert row["one_person"] == str(clusters[a] == clusters[b]).lower()
        assert row["same_entity"] == str(truth[a] == truth[b]).lower()
        assert float(row["probability"]) == pytest.approx(1 / (1 + 2 ** -float(row["weight"])), abs=1e-3)
    true_pairs = {pair for pair in combinations(sorted(truth), 2) if truth[pair[0]] == truth[pair[1]]}
    assert true_pairs <= {(row["record_a"], row["record_b"]) for row in rows}


def test_two_records_are_explained_weight_by_weight(people_file: Path) -> None:
    one, other = sorted(one.record_id for one in make_people(2, 15) if one.entity_id == "p0-0")[:2]
    text = run("explain", str(people_file), one, other).stdout.splitlines()
    assert text[0].startswith(f"{one} and {other} are one person: united at +")
    assert text[2].split()[0] == "prior"
    document = json.loads(run("explain", str(people_file), one, other, "--json").stdout)
    assert document["one_person"] is True
    steps = document["pair"]["steps"]
    assert document["pair"]["total"] == pytest.approx(
        document["pair"]["prior"] + sum(step["weight"] for step in steps) + document["pair"]["relatives"]
    )
    bars = [f"{step['comparison']}: {step['level']}" for step in steps]
    assert [line.split("  ")[1] for line in text[3 : 3 + len(bars)]] == bars


def test_the_picture_has_a_bar_for_each_weight(people_file: Path) -> None:
    one, other = sorted(one.record_id for one in make_people(2, 15) if one.entity_id == "p0-0")[:2]
    document = json.loads(run("explain", str(people_file), one, other, "--json").stdout)
    picture = ElementTree.fromstring(run("explain", str(people_file), one, other, "--svg").stdout)
    parts = [document["pair"]]
    if max(len(group) for group in document["clusters"]["records"]) > 1:
        parts.append(document["clusters"])
    bars = picture.findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == sum(len(part["steps"]) + 3 for part in parts)
    right = float(picture.attrib["width"])
    assert all(
        0 <= float(bar.attrib["x"]) <= float(bar.attrib["x"]) + float(bar.attrib["width"]) <= right
        for bar in bars
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("p0-0-0", "nobody"), "there is no record nobody"),
        (("p0-0-0", "p0-0-0"), "two different records"),
        (("p0-0-0", "p0-0-1", "--svg", "--json"), "exclude each other"),
        (("p0-0-0", "p0-0-1", "--model", "missing.json"), "cannot be used as a model"),
    ],
)
def test_what_cannot_be_explained_is_said_in_one_sentence(
    people_file: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = run("explain", str(people_file), *arguments)
    assert said in str(result.exception)
    assert result.exit_code == 1


def test_two_models_are_compared_pair_by_pair(people_file: Path, tmp_path: Path) -> None:
    model = str(tmp_path / "model.json")
    run("train", str(people_file), "-o", model)
    document = json.loads(run("compare", str(people_file), "--after", model, "--json").stdout)
    before, after = (
        dict(line.split("\t") for line in evaluate(people_file, "--model", name).stdout.splitlines())
        for name in ("shipped", model)
    )
    pairs = list(combinations(sorted(before), 2))
    gained = {(a, b) for a, b in pairs if after[a] == after[b] and before[a] != before[b]}
    lost = {(a, b) for a, b in pairs if before[a] == before[b] and after[a] != after[b]}
    assert (document["gained"]["count"], document["lost"]["count"]) == (len(gained), len(lost))
    assert {tuple(one["records"]) for one in document["gained"]["examples"]} <= gained
    assert document["people"] == {"before": len(set(before.values())), "after": len(set(after.values()))}
    same = run("compare", str(people_file), "--before", model, "--after", model).stdout
    assert "gained: 0" in same
    assert "lost: 0" in same


def test_the_example_of_the_reference_page_is_what_the_command_prints() -> None:
    page = (ROOT / "docs/reference/matching.md").read_text("utf-8")
    examples = re.findall(r"<!-- example: explain (\S+) (\S+) (\S+) -->\n```\n(.*?)```", page, re.DOTALL)
    assert examples
    for path, one, other, shown in examples:
        assert run("explain", str(ROOT / path), one, other).stdout == shown
