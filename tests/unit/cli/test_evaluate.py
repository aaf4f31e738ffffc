"""`elo identity evaluate` from the user's side: files in, clusters out, sentences for what is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipeline.cli.app import app
from tests.support.people import make_people


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


def test_a_pair_is_explained_weight_by_weight(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(lines_of(truth=False)), "utf-8")
    first, second = make_people(2, 15)[:2]
    result = evaluate(path, "--pair", first.record_id, second.record_id)
    assert result.stdout.startswith("prior")
    assert "given_name" in result.stdout
    assert "probability" in result.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no record"),
        ("no json", ":1 is no record"),
        ('{"record_id": "a", "fields": {"phone": 5}}', ":1 is no record"),
        ('{"record_id": "a", "fields": {}}\n{"record_id": "a", "fields": {}}', ":2 repeats record a"),
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
        ('{"format": "elo-matching-1", "version": "0"}', "its version does not fit its content"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path, model = tmp_path / "set.jsonl", tmp_path / "model.json"
    path.write_text("\n".join(lines_of(truth=False)), "utf-8")
    model.write_text(text, "utf-8")
    result = evaluate(path, "--model", str(model))
    assert said in str(result.exception)
    assert result.exit_code == 1
