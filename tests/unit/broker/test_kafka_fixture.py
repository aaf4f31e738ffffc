"""Which broker the integration tests take, and what is said about it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.support import kafka


@pytest.mark.parametrize("engine", [True, False])
def test_a_given_broker_wins_over_everything(monkeypatch: pytest.MonkeyPatch, engine: bool) -> None:
    monkeypatch.setattr(kafka, "engine_answers", lambda _variables: engine)
    assert kafka.choose({"ELO_TEST_BOOTSTRAP": "host:9092"}) == "given"
    monkeypatch.setenv("ELO_TEST_BOOTSTRAP", "host:9092")
    assert kafka.start(1, shared=False) == kafka.Kafka(
        "host:9092", "the broker of ELO_TEST_BOOTSTRAP at host:9092"
    )


def test_a_docker_engine_that_answers_is_taken_and_else_the_embedded_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka, "engine_answers", lambda _variables: True)
    assert kafka.choose({}) == "container"
    assert kafka.choose({"ELO_TEST_BOOTSTRAP": ""}) == "container"
    monkeypatch.setattr(kafka, "engine_answers", lambda _variables: False)
    assert kafka.choose({}) == "embedded"


def test_an_engine_that_is_named_and_absent_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert not kafka.engine_answers({"DOCKER_HOST": "tcp://127.0.0.1:1"})


def test_workers_of_one_run_find_the_broker_that_the_first_of_them_started(tmp_path: Path) -> None:
    assert kafka.read_state(tmp_path) is None
    started = kafka.Kafka("127.0.0.1:1", "embedded", data_dir="/somewhere")
    (tmp_path / kafka.STATE_FILE).write_text(json.dumps(asdict(started)))
    assert kafka.read_state(tmp_path) == started
