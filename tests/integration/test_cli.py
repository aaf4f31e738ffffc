"""The commands of `elo` on a real Kafka: what they write, what they print, how they end."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline.cli.app import app
from pipeline.cli.options import run_app
from pipeline.wire.avro import decode_record, encode_record
from tests.support.kafka import Kafka

ROOT: Final = Path(__file__).resolve().parents[2]
ANA: Final = {"type": "email", "value": "ana@example.com"}
IN_MADRID: Final = "id: in-madrid\nname: In Madrid\nwhere: {trait: city, is: Madrid}\n"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Deployment:
    """One prefix on the broker: `elo` with it, and Kafka from outside."""

    def __init__(self, bootstrap: str, prefix: str, capture: pytest.CaptureFixture[str]) -> None:
        self.bootstrap, self.prefix, self.capture = bootstrap, prefix, capture
        self.options = ("--bootstrap", bootstrap, "--topic-prefix", prefix)
        self.producer = Producer({"bootstrap.servers": bootstrap})

    def elo(self, *arguments: object, stdin: bytes | None = None) -> Done:
        """Run a command in this process."""
        self.capture.readouterr()
        before = sys.stdin
        if stdin is not None:
            sys.stdin = io.TextIOWrapper(io.BytesIO(stdin))
        try:
            code = run_app(app, [*self.options, *(str(argument) for argument in arguments)])
        finally:
            sys.stdin = before
        return Done(code, *self.capture.readouterr())

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in a process of its own."""
        called = [sys.executable, "-m", "pipeline", *arguments, *self.options]
        pipes: dict[str, Any] = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        return subprocess.Popen(called, cwd=ROOT, text=True, **pipes)

    def send(self, topic: str, value: bytes | None, key: str = "k", partition: int = 0, **more: Any) -> None:
        """Put a record on a topic, outside any transaction."""
        self.producer.produce(self.prefix + topic, value, key.encode(), partition, **more)
        assert self.producer.flush(10) == 0

    def read(self, topic: str) -> list[Message]:
        """Everything committed on a topic, partition by partition."""
        consumer = Consumer({
            "bootstrap.servers": self.bootstrap, "group.id": "test", "enable.partition.eof": True,
            "auto.offset.reset": "earliest", "enable.auto.commit": False,
        })  # fmt: skip
        name = self.prefix + topic
        numbers = consumer.list_topics(name, 10).topics[name].partitions
        found: list[Message] = []
        for number in numbers:
            consumer.assign([TopicPartition(name, number, 0)])
            while (message := consumer.poll(10)) is not None and message.error() is None:
                found.append(message)
            assert message is not None
            assert message.error().code() == KafkaError._PARTITION_EOF
        consumer.close()
        return found


@pytest.fixture
def bare(kafka: Kafka, topic_prefix: str, capsys: pytest.CaptureFixture[str]) -> Deployment:
    """A deployment without topics."""
    return Deployment(kafka.bootstrap, topic_prefix, capsys)


@pytest.fixture
def deployment(bare: Deployment) -> Deployment:
    """A deployment with its topics, two partitions each."""
    assert bare.elo("topics", "create", "--partitions", 2).code == 0
    return bare


def touchpoint(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}", "source": "web", "type": "page_viewed", "occurred_at": 1_760_000_000_000,
        "identifiers": [ANA], **fields,
    }  # fmt: skip


def lines(*documents: object) -> bytes:
    return b"".join(
        document + b"\n" if isinstance(document, bytes) else json.dumps(document).encode() + b"\n"
        for document in documents
    )


# -- topics -------------------------------------------------------------------------------------------------


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
        ("touchpoints.crm", {}, "expected max.message.bytes of at least 8388608, found 1048588"),
    ],
)
def test_a_topic_made_otherwise_is_refused_and_nothing_is_created(
    bare: Deployment, topic: str, config: dict[str, str], sentence: str
) -> None:
    admin = AdminClient({"bootstrap.servers": bare.bootstrap})
    for made in admin.create_topics([NewTopic(bare.prefix + topic, 2, 1, config=config)]).values():
        made.result(10)
    done = bare.elo("topics", "create", "--partitions", 2)
    assert done.code == 1
    assert f"topic {bare.prefix}{topic}: {sentence}" in done.err
    assert bare.prefix + "touchpoints.web" not in admin.list_topics(timeout=10).topics


# -- produce ------------------------------------------------------------------------------------------------


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
        touchpoint(4, identifiers=[{"type": "email"}]), touchpoint(5, consent={"marketing": 1}), touchpoint(6),
        touchpoint(7, context={"page": 1}), b'{"event_id":"\\ud800"}',
    ))  # fmt: skip
    done = deployment.elo("produce", file, "--json")
    assert (done.code, done.document) == (1, {"produced": 2, "refused": 8})
    said = done.err.splitlines()
    assert [line.split(":")[2] for line in said[:-1]] == ["2", "3", "4", "5", "6", "7", "9", "10"]
    assert said[2].endswith(":4: occurred_at must be given as int")
    assert said[3].endswith(":5: source is missing")
    assert len(deployment.read("touchpoints.web")) == 2


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
    assert 0.45 < time.monotonic() - started < 5
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


# -- segments -----------------------------------------------------------------------------------------------


def test_a_definition_is_published_when_it_is_new_or_changed(deployment: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "segments.yaml"
    file.write_text(IN_MADRID)
    assert deployment.elo("segments", "list").out.startswith("no segments yet")
    created = deployment.elo("segments", "apply", file, "--json").document
    assert created == {"segments": [{"id": "in-madrid", "version": 1, "change": "created"}]}
    assert deployment.elo("segments", "apply", file).out == "in-madrid: unchanged, version 1\n"
    file.write_text(IN_MADRID.replace("is: Madrid", "is: Lisboa"))
    assert deployment.elo("segments", "apply", file).out == "in-madrid: updated, version 2\n"
    first, second = deployment.read("segments.definitions")
    assert first.key() == second.key() == b"in-madrid"
    assert json.loads(first.value()) == {
        "id": "in-madrid", "name": "In Madrid", "version": 1, "where": {"trait": "city", "is": "Madrid"},
    }  # fmt: skip
    (listed,) = deployment.elo("segments", "list", "--json").documents
    assert listed == {**json.loads(second.value()), "applied_at": second.timestamp()[1]}
    assert "in-madrid  2        In Madrid" in deployment.elo("segments", "list").out


def test_nothing_is_applied_when_one_file_is_bad(deployment: Deployment, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(IN_MADRID)
    bad.write_text("id: other\nwhere:\n  all:\n    - {trait: city, iss: Madrid}\n")
    done = deployment.elo("segments", "apply", good, bad)
    assert done.code == 1
    assert done.err.startswith(f"elo: {bad}:4:21: ")
    assert done.err.count("\n") == 1
    twice = deployment.elo("segments", "apply", good, good)
    assert f"segment in-madrid stands in {good} as well" in twice.err
    assert deployment.read("segments.definitions") == []


def test_a_deleted_segment_is_gone_and_its_id_is_not_taken_again(deployment: Deployment) -> None:
    deployment.elo("segments", "apply", "-", stdin=IN_MADRID.encode())
    unknown = deployment.elo("segments", "delete", "in-madrid", "in-lisboa")
    assert (unknown.code, "there is no segment in-lisboa, nothing was deleted" in unknown.err) == (1, True)
    assert deployment.elo("segments", "delete", "in-madrid", "--json").document == {"deleted": ["in-madrid"]}
    assert deployment.elo("segments", "list", "--json").out == ""
    assert deployment.elo("segments", "delete", "in-madrid").code == 1
    again = deployment.elo("segments", "apply", "-", stdin=IN_MADRID.encode())
    assert "segment in-madrid was deleted and ids are never reused" in again.err


# -- tail and profile ---------------------------------------------------------------------------------------


def profile(profile_id: str, *identifiers: dict[str, str]) -> bytes:
    return encode_record("profile", {
        "profile_id": profile_id, "identifiers": list(identifiers), "traits": '{"city":"Madrid"}',
        "counters": {"page_viewed": 2}, "consent": {"marketing": True}, "aliases": ["p0"], "first_seen": 1,
        "memberships": {"in-madrid": {"sequence": 1, "since": 5}}, "last_seen": 2, "updated_at": 3,
        "policy_version": 1,
    })  # fmt: skip


def test_tail_prints_only_what_is_committed(deployment: Deployment) -> None:
    kafka = Producer({
        "bootstrap.servers": deployment.bootstrap, "transactional.id": deployment.prefix + "writer",
    })  # fmt: skip
    kafka.init_transactions(10)
    topic = deployment.prefix + "profiles.unified"
    for profile_id, commit in (("p1", True), ("p2", False), ("p3", True)):
        kafka.begin_transaction()
        kafka.produce(topic, profile(profile_id, ANA), profile_id, 1)
        (kafka.commit_transaction if commit else kafka.abort_transaction)(10)
    deployment.send("profiles.unified", None, "p1", 1)
    tail = ("tail", "profiles", "--from-beginning", "--exit-at-end")
    found = deployment.elo(*tail, "--json").documents
    assert [record["profile_id"] for record in found] == ["p1", "p3", "p1"]
    assert found[0]["traits"] == {"city": "Madrid"}
    assert found[2] == {"profile_id": "p1", "tombstone": True}
    assert len(deployment.elo(*tail, "--limit", 2).out.splitlines()) == 2
    assert deployment.elo("tail", "profiles", "--exit-at-end").out == ""


def test_tail_follows_what_comes_and_ends_at_ctrl_c(deployment: Deployment) -> None:
    process = deployment.start("tail", "rejected", "--json")
    headers = [("elo.reason", b"malformed_json"), ("elo.partition", b"1"), ("elo.offset", b"4")]
    try:
        time.sleep(1.5)  # it starts at the end, so it must have found the end before something comes
        deadline = time.monotonic() + 10
        deployment.send("touchpoints.rejected", b"{", headers=headers)
        assert process.stdout is not None
        record = json.loads(process.stdout.readline())
        assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert (record["reason"], record["offset"], b64decode(record["value_base64"])) == (
        "malformed_json",
        4,
        b"{",
    )
    assert (process.returncode, said) == (130, "")


def test_tail_ends_quietly_when_nobody_reads_on(deployment: Deployment) -> None:
    for number in range(3000):
        deployment.producer.produce(
            deployment.prefix + "profiles.unified", profile(f"p{number}", ANA), b"k", 0
        )
    deployment.producer.flush(10)
    process = deployment.start("tail", "profiles", "--from-beginning", "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(15) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


def test_a_profile_is_found_by_any_spelling_of_its_identifiers(deployment: Deployment) -> None:
    phone = {"type": "phone", "value": "+5511987654321"}
    deployment.send("profiles.unified", profile("p1", ANA, phone), "p1", 0)
    deployment.send("profiles.unified", profile("p2", {"type": "email", "value": "old@example.com"}), "p2", 1)
    deployment.send("profiles.unified", profile("p2", {"type": "email", "value": "new@example.com"}), "p2", 1)
    deployment.send(
        "profiles.unified", profile("p3", {"type": "email", "value": "gone@example.com"}), "p3", 1
    )
    deployment.send("profiles.unified", None, "p3", 1)
    for identifier in ("email: ANA@example.com ", "phone:(11) 98765-4321"):
        found = deployment.elo("profile", "show", identifier, "--json").document
        assert (found["profile_id"], found["counters"]) == ("p1", {"page_viewed": 2})
    shown = deployment.elo("profile", "show", "email:new@example.com").out
    assert "p2" in shown
    assert "city: Madrid" in shown
    for identifier, sentence in (
        ("email:old@example.com", "no profile holds email:old@example.com"),
        ("email:gone@example.com", "no profile holds email:gone@example.com"),
        ("email:nobody", "cannot identify anybody as email"),
        ("ana@example.com", "write the identifier as type:value with one of the types user_id, cpf"),
    ):
        done = deployment.elo("profile", "show", identifier)
        assert (done.code, done.out) == (1, "")
        assert sentence in done.err


# -- wait ---------------------------------------------------------------------------------------------------


class Worker:
    """Commits as a worker does: offsets, a note and records in one transaction."""

    def __init__(self, deployment: Deployment) -> None:
        self.prefix = deployment.prefix
        servers = {"bootstrap.servers": deployment.bootstrap}
        self.group = Consumer({**servers, "group.id": f"{self.prefix}elo"})
        self.producer = Producer({**servers, "transactional.id": f"{self.prefix}worker"})
        self.producer.init_transactions(10)

    def begin(self, offsets: dict[str, int], note: dict[str, Any] | None = None, mail: bool = False) -> None:
        self.producer.begin_transaction()
        if mail:
            self.producer.produce(self.prefix + "elo.mail", b"mail", b"k", 0)
            self.producer.flush(10)
        positions = [
            TopicPartition(self.prefix + topic, 0, offset, json.dumps(note or {}))
            for topic, offset in offsets.items()
        ]
        self.producer.send_offsets_to_transaction(positions, self.group.consumer_group_metadata())

    def commit(self, offsets: dict[str, int], note: dict[str, Any] | None = None, mail: bool = False) -> None:
        self.begin(offsets, note, mail)
        self.producer.commit_transaction(10)

    def close(self) -> None:
        self.group.close()


@pytest.fixture
def worker(deployment: Deployment) -> Worker:
    return Worker(deployment)


def test_wait_returns_when_all_is_consumed_and_names_what_is_not(
    deployment: Deployment, worker: Worker
) -> None:
    def behind(timeout: float = 0) -> list[dict[str, Any]]:
        done = deployment.elo("wait", "--timeout", timeout, "--json")
        assert done.code == (1 if done.document["behind"] else 0)
        assert done.document["idle"] is (not done.document["behind"])
        assert done.err.count("\n") == len(done.document["behind"][:1])
        return [{**entry, "topic": entry["topic"].removeprefix(deployment.prefix)}
                for entry in done.document["behind"]]  # fmt: skip

    assert behind() == []
    deployment.send("touchpoints.web", b"{}")
    assert behind() == [{"topic": "touchpoints.web", "partition": 0, "records": 1}]
    deployment.send("elo.touches", b"touch")
    worker.commit({"touchpoints.web": 1})
    assert behind() == [{"topic": "elo.touches", "partition": 0, "records": 1}]
    worker.begin({"elo.touches": 1}, {"due": None, "open": 0, "defs": 0}, mail=True)
    assert {"topic": "elo.mail", "partition": 0, "transaction": True} in behind()
    worker.producer.commit_transaction(10)
    assert behind() == [{"topic": "elo.mail", "partition": 0, "records": 2}]  # the record and its marker
    worker.commit({"elo.mail": 1})
    assert behind() == []  # behind by the marker only
    worker.commit({"elo.touches": 1}, {"due": None, "open": 2, "defs": 0})
    assert behind() == [{"topic": "elo.touches", "partition": 0, "open": 2}]
    due_ms = time.time_ns() // 1_000_000 + 600_000
    worker.commit({"elo.touches": 1}, {"due": due_ms, "open": 0, "defs": 0})
    assert behind() == []
    worker.commit({"elo.touches": 1}, {"due": due_ms - 600_000, "open": 0, "defs": 0})
    assert [entry["due_ms"] for entry in behind()] == [due_ms - 600_000]
    worker.commit({"elo.touches": 1}, {"due": None, "open": 0, "defs": 0})
    deployment.elo("segments", "apply", "-", stdin=IN_MADRID.encode())
    assert behind() == [{"topic": "elo.touches", "partition": 0, "definitions": 1}]
    worker.commit({"elo.touches": 1}, {"due": None, "open": 0, "defs": 1})
    assert behind() == []
    worker.close()


def test_wait_waits_until_the_workers_are_done(deployment: Deployment, worker: Worker) -> None:
    deployment.send("touchpoints.web", b"{}")
    process = deployment.start("wait", "--timeout", "30")
    time.sleep(1.5)
    assert process.poll() is None
    worker.commit({"touchpoints.web": 1})
    _, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (0, "")
    worker.close()


def test_wait_says_in_one_sentence_what_is_behind(deployment: Deployment) -> None:
    deployment.send("touchpoints.web", b"{}")
    done = deployment.elo("wait", "--timeout", 0.3)
    assert (done.code, done.out) == (1, "")
    assert f"still behind after 0.3 s: {deployment.prefix}touchpoints.web[0] by 1 record; " in done.err


# -- without a broker, without topics -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("topics", "create"), ("produce", "-"), ("segments", "list"), ("tail", "current", "--exit-at-end"),
        ("wait", "--timeout", "5"), ("profile", "show", "email:ana@example.com"),
    ],
)  # fmt: skip
def test_without_a_broker_every_command_says_so_soon(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    code = run_app(app, ["--bootstrap", "127.0.0.1:1", *command])
    assert time.monotonic() - started < 5
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
    found = subprocess.run(called, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
