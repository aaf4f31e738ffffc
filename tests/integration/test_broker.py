"""Promise: `elo broker` is a real Kafka that comes up by itself, is found again, keeps its data, and ends.

Always the embedded broker, also where a Docker engine answers.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline.broker import BrokerError, EmbeddedBroker
from pipeline.broker.process import free_ports
from pipeline.topics import INPUT_BYTES_MAX

WAIT_S = 120  # at most; seconds are usual


def elo_broker(*arguments: str) -> subprocess.Popen[str]:
    """Start one of the commands."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", "broker", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def result(command: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    out, err = command.communicate(timeout=WAIT_S)
    return command.returncode, out, err


def document(command: subprocess.Popen[str]) -> dict[str, Any]:
    """What a command that must succeed prints with `--json`."""
    code, out, err = result(command)
    assert code == 0, err
    parsed: dict[str, Any] = json.loads(out)
    return parsed


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait for a condition that is expected soon."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def write(bootstrap: str, topic: str, *values: bytes) -> None:
    """One Kafka transaction that holds these values."""
    producer = Producer({
        "bootstrap.servers": bootstrap, "transactional.id": "writer", "retry.backoff.ms": 5,
        "message.max.bytes": INPUT_BYTES_MAX, "log_level": 0,
    })  # fmt: skip
    producer.init_transactions(WAIT_S)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value)
    producer.commit_transaction(WAIT_S)


def read(bootstrap: str, topic: str) -> list[bytes]:
    """Every committed value of a topic with one partition, read through a consumer group."""
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "reader", "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "enable.partition.eof": True, "isolation.level": "read_committed",
        "fetch.message.max.bytes": INPUT_BYTES_MAX, "log_level": 0,
    })  # fmt: skip
    consumer.subscribe([topic])
    values: list[bytes] = []
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is None:
            continue
        error = message.error()
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            break
        assert error is None
        values.append(message.value() or b"")
    consumer.close()
    return values


def create(bootstrap: str, topic: str, **config: str) -> None:
    """Create a topic with one partition; `_` in a setting's name stands for a dot."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    settings = {name.replace("_", "."): value for name, value in config.items()}
    admin.create_topics([NewTopic(topic, 1, 1, config=settings)])[topic].result(WAIT_S)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A broker that two commands were asked to start at the same moment; what the one that did so printed."""
    data_dir = tmp_path_factory.mktemp("broker") / "a directory, with ü"
    port = str(free_ports("127.0.0.1", 1)[0])
    arguments = ("--data-dir", str(data_dir), "--json")
    try:
        commands = [elo_broker("start", "--port", port, *arguments) for _ in range(2)]
        documents = sorted((document(command) for command in commands), key=lambda each: each["started"])
        assert [each.pop("started") for each in documents] == [False, True]
        assert documents[0] == documents[1]
        yield documents[1]
    finally:
        result(elo_broker("stop", *arguments))
        shutil.rmtree(data_dir, ignore_errors=True)


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing but live."""
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def test_start_says_where_the_broker_is_and_status_agrees(started: dict[str, Any]) -> None:
    assert started["running"]
    assert started["bootstrap"] == f"127.0.0.1:{started['port']}"
    assert document(elo_broker("status", "--data-dir", started["data_dir"], "--json")) == started


def test_start_again_is_no_error_and_says_that_it_runs(started: dict[str, Any]) -> None:
    code, out, err = result(elo_broker("start", "--data-dir", started["data_dir"]))
    assert (code, err) == (0, "")
    assert f"runs already at {started['bootstrap']}" in out


def test_another_port_for_a_running_broker_is_refused(started: dict[str, Any]) -> None:
    code, out, err = result(elo_broker("start", "--data-dir", started["data_dir"], "--port", "1"))
    assert (code, out) == (1, "")
    assert f"runs already, on port {started['port']}" in err
    assert err.count("\n") == 1


def test_another_directory_on_the_same_port_is_refused_with_the_option_to_change(
    started: dict[str, Any], tmp_path: Path
) -> None:
    arguments = ("--data-dir", str(tmp_path), "--port", str(started["port"]))
    code, out, err = result(elo_broker("start", *arguments))
    assert (code, out) == (1, "")
    assert f"port {started['port']} of 127.0.0.1 is taken" in err
    assert "--port" in err
    assert err.count("\n") == 1


def test_the_broker_has_a_session_of_its_own_and_its_output_in_files(started: dict[str, Any]) -> None:
    pid = started["pid"]
    assert os.getsid(pid) == pid
    assert os.getsid(pid) != os.getsid(0)
    opened = [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)]
    assert opened == ["/dev/null", *[f"{started['data_dir']}/logs/console.log"] * 2]


def test_nothing_listens_outside_this_machine(started: dict[str, Any]) -> None:
    connections = psutil.Process(started["pid"]).net_connections(kind="inet")
    addresses = [each.laddr for each in connections if each.status == psutil.CONN_LISTEN]
    assert {address.ip for address in addresses} <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert len(addresses) == 2


def test_the_largest_touchpoint_passes_in_a_transaction(started: dict[str, Any]) -> None:
    value = os.urandom(INPUT_BYTES_MAX - 1024)
    create(started["bootstrap"], "large", max_message_bytes=str(INPUT_BYTES_MAX))
    write(started["bootstrap"], "large", value)
    assert read(started["bootstrap"], "large") == [value]


def test_a_topic_is_not_made_by_asking_for_it(started: dict[str, Any]) -> None:
    producer = Producer({"bootstrap.servers": started["bootstrap"], "allow.auto.create.topics": True})
    asked = producer.list_topics("never-made", timeout=WAIT_S).topics["never-made"]
    assert asked.error is not None
    assert asked.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert "never-made" not in producer.list_topics(timeout=WAIT_S).topics


def test_what_was_committed_survives_a_stop_and_a_kill_and_a_broker_ends_with_its_owner(
    own_broker: EmbeddedBroker, owner: subprocess.Popen[bytes]
) -> None:
    own_broker.owner_pid = owner.pid
    assert own_broker.start()
    assert not own_broker.start()
    bootstrap, first_pid = own_broker.bootstrap, own_broker.pid
    create(bootstrap, "kept")
    write(bootstrap, "kept", b"before the stop")
    assert own_broker.stop()
    assert own_broker.pid is None
    assert own_broker.start()
    assert own_broker.bootstrap == bootstrap
    assert own_broker.pid != first_pid
    write(bootstrap, "kept", b"before the kill")
    assert own_broker.kill()
    assert own_broker.start()
    assert read(own_broker.bootstrap, "kept") == [b"before the stop", b"before the kill"]
    assert " ERROR " not in (own_broker.data_dir / "logs/server.log").read_text()
    owner.kill()
    owner.wait()
    wait_until(lambda: own_broker.pid is None)


def test_a_broker_that_ends_at_once_is_explained_with_its_last_words(own_broker: EmbeddedBroker) -> None:
    (own_broker.data_dir / "kafka").mkdir(parents=True)
    marker = {"kafka": "4.1.1", "cluster_id": "AAAAAAAAAAAAAAAAAAAAAA"}
    (own_broker.data_dir / "kafka/elo-broker.json").write_text(json.dumps(marker))
    with pytest.raises(
        BrokerError, match=r"Kafka ended while it started \(exit code 1\), see .*server\.log$"
    ) as caught:
        own_broker.start()
    assert any("meta.properties" in line for line in caught.value.log_lines)
    assert own_broker.pid is None
