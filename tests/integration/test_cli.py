"""`elo topics` and `elo produce` on a real Kafka, and every command without one."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline.cli.app import app
from pipeline.cli.options import run_app
from pipeline.wire.avro import decode_record
from tests.support.deployment import ROOT, Deployment, lines, touchpoint


def test_topics_are_created_once_and_then_found(bare: Deployment) -> None:
    first = bare.elo("topics", "create", "--partitions", 3, "--json").document
    again = bare.elo("topics", "create", "--partitions", 3, "--json").document
    assert first["existing"] == []
    assert bare.prefix + "touchpoints.web" in first["created"]
    assert again == {"created": [], "existing": sorted(first["created"]), "partitions": 3}
    found = AdminClient({"bootstrap.servers": bare.bootstrap}).list_topics(timeout=10).topics
    assert len(found[bare.prefix + "elo.touches"].partitions) == 3
    assert len(found[bare.prefix + "segments.definitions"].partitions) == 1


def test_another_partition_count_is_refused(deployment: Deployment) -> None:
    done = deployment.elo("topics", "create", "--partitions", 5)
    assert done.code == 1
    name = deployment.prefix + "touchpoints.web"
    assert f"topic {name}: expected 5 partitions, found 2" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("topic", "config", "sentence"),
    [
        ("elo.touches", {}, "expected message.timestamp.type=LogAppendTime, found CreateTime"),
        ("elo.state", {}, "expected cleanup.policy=compact, found delete"),
        (
            "touchpoints.crm",
            {"max.message.bytes": "1000000"},
            "expected max.message.bytes of at least 8388608, found 1000000",
        ),
    ],
)
def test_a_topic_made_otherwise_is_refused_and_nothing_is_created(
    bare: Deployment, topic: str, config: dict[str, str], sentence: str
) -> None:
    admin = AdminClient({"bootstrap.servers": bare.bootstrap})
    for made in admin.create_topics([NewTopic(bare.prefix + topic, 2, 1, config=config)]).values():
        made.result(10)
    while bare.prefix + topic not in admin.list_topics(timeout=10).topics:
        time.sleep(0.05)
    done = bare.elo("topics", "create", "--partitions", 2)
    assert done.code == 1
    assert f"topic {bare.prefix}{topic}: {sentence}" in done.err
    assert bare.prefix + "touchpoints.web" not in admin.list_topics(timeout=10).topics


def test_touchpoints_arrive_as_avro_on_the_topic_of_their_source(
    deployment: Deployment, tmp_path: Path
) -> None:
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_bytes(lines(touchpoint(1, traits={"city": "São Paulo"}), b"", touchpoint(2, source="email")))
    packed.write_bytes(gzip.compress(lines(touchpoint(3, source="app", properties='{"a":1}'))))
    done = deployment.elo(
        "produce", plain, packed, "-", "--json", stdin=lines(touchpoint(4, source="crm", identifiers=[]))
    )
    assert (done.code, done.document, done.err) == (0, {"produced": 4, "refused": 0}, "")
    (web,), (app_,), (crm,), (email,) = (
        deployment.read(f"touchpoints.{source}") for source in ("web", "app", "crm", "email")
    )
    assert web.key() == b"email:ana@example.com"
    assert decode_record(web.value()) == {
        **touchpoint(1), "traits": '{"city":"São Paulo"}', "properties": "{}", "consent": {}, "context": {},
    }  # fmt: skip
    assert decode_record(app_.value())["properties"] == '{"a":1}'  # type: ignore[index]
    assert crm.key() is None
    assert decode_record(email.value())["event_id"] == "e2"  # type: ignore[index]


def test_what_is_wrong_by_meaning_only_is_sent_for_the_workers_to_judge(deployment: Deployment) -> None:
    odd = lines(
        touchpoint(1, occurred_at=99_999_999_999_999),
        touchpoint(2, identifiers=[{"type": "email", "value": "nobody"}]),
        touchpoint(3, source="kiosk"),
    )
    assert deployment.elo("produce", "-", "--json", stdin=odd).document == {"produced": 3, "refused": 0}
    (crm,) = deployment.read("touchpoints.crm")
    assert decode_record(crm.value())["source"] == "kiosk"  # type: ignore[index]


def test_lines_that_are_no_touchpoints_are_named_and_the_others_sent(
    deployment: Deployment, tmp_path: Path
) -> None:
    file = tmp_path / "mixed.jsonl"
    file.write_bytes(lines(
        touchpoint(1), b"{broken", [1], touchpoint(2, occurred_at="yesterday"), {"event_id": "e3"},
        touchpoint(4, identifiers=[{"type": "email"}]), touchpoint(5, consent={"marketing": 1}),
        touchpoint(6), touchpoint(7, context={"page": 1}), b'{"event_id":"\\ud800"}',
    ))  # fmt: skip
    done = deployment.elo("produce", file, "--json")
    assert (done.code, done.document) == (1, {"produced": 2, "refused": 8})
    said = done.err.splitlines()
    assert [line.split(":")[2] for line in said[:-1]] == ["2", "3", "4", "5", "6", "7", "9", "10"]
    assert said[2].endswith(":4: occurred_at must be given as int")
    assert said[3].endswith(":5: source is missing")
    assert len(deployment.read("touchpoints.web")) == 2


def test_a_pipe_is_a_file_to_send(deployment: Deployment) -> None:
    """As of `elo produce <(zcat …)` in a shell, or of /dev/stdin."""
    end, beginning = os.pipe()
    os.write(beginning, lines(touchpoint(1), touchpoint(2)))
    os.close(beginning)
    done = deployment.elo("produce", f"/dev/fd/{end}", "--json")
    os.close(end)
    assert (done.code, done.document) == (0, {"produced": 2, "refused": 0})


def test_raw_lines_are_sent_as_they_are(deployment: Deployment) -> None:
    done = deployment.elo(
        "produce", "-", "--raw", "--source", "app", "--json", stdin=lines(b"{broken", b"", b"\x00\x01")
    )
    assert (done.code, done.document) == (0, {"produced": 3, "refused": 0})
    assert {message.value() for message in deployment.read("touchpoints.app")} == {
        b"{broken",
        b"",
        b"\x00\x01",
    }


def test_the_rate_is_kept(deployment: Deployment) -> None:
    started = time.monotonic()
    done = deployment.elo("produce", "-", "--rate", 100, stdin=lines(*(touchpoint(n) for n in range(50))))
    assert done.code == 0
    assert time.monotonic() - started > 0.45
    assert done.out.startswith("produced 50 touchpoints in ")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("nowhere.jsonl",), 1, "nowhere.jsonl: there is no such file"),
        (("-", "--raw"), 2, "--raw and --source go together"),
        (("-", "--raw", "--source", "fax"), 1, "--source fax has no topic, name one of web, app, crm, email"),
    ],
)
def test_produce_says_what_it_cannot_do(
    deployment: Deployment, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    done = deployment.elo("produce", *arguments, stdin=b"")
    assert done.code == code
    assert sentence in done.err


@pytest.mark.parametrize(
    "command",
    [
        ("topics", "create"), ("produce", "-"), ("segments", "list"), ("tail", "current", "--exit-at-end"),
        ("wait", "--timeout", "5"), ("profile", "show", "email:ana@example.com"), ("state", "hash"),
        ("state", "dump"),
    ],
)  # fmt: skip
def test_without_a_broker_every_command_says_so_soon(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    code = run_app(app, ["--bootstrap", "127.0.0.1:1", *command])
    assert time.monotonic() - started < 8
    assert code == 1
    said = capsys.readouterr().err
    assert said.startswith("elo: no Kafka broker answers at 127.0.0.1:1 (")
    assert "`elo broker start`" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "command", [("produce", "-"), ("segments", "list"), ("tail", "merges"), ("wait",)], ids=str
)
def test_without_topics_every_command_says_what_to_do(bare: Deployment, command: tuple[str, ...]) -> None:
    done = bare.elo(*command, stdin=b"")
    assert done.code == 1
    assert done.err.startswith(f"elo: topic {bare.prefix}")
    assert done.err.endswith(" does not exist, run `elo topics create` first\n")


def test_the_environment_names_the_deployment(deployment: Deployment) -> None:
    environment = {
        **os.environ, "ELO_BOOTSTRAP": deployment.bootstrap, "ELO_TOPIC_PREFIX": deployment.prefix,
    }  # fmt: skip
    called = [sys.executable, "-m", "pipeline", "wait", "--timeout", "5"]
    found = subprocess.run(
        called, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
