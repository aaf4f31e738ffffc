"""A Kafka that asks who you are: each role works with its least grants, and a refusal is one sentence."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from confluent_kafka.admin import NewTopic

from pipeline.access import Grant, Kind, Operation, Role, grants_of
from pipeline.cli.app import app
from pipeline.cli.options import run_app
from pipeline.core.errors import AccessDenied
from pipeline.runtime.connect import check_access, connect
from pipeline.settings import load_settings
from pipeline.topics import Topics
from tests.support.delivering import QUICK
from tests.support.deployment import ROOT, Done, lines, touchpoint
from tests.support.fleet import _free_port, wait_for
from tests.support.receiver import Receiver
from tests.support.secured import PLAIN_USER, SOMETIMES, SecuredBroker, add_roles, password_of, user_of

PREFIX: Final = "sec."
TOPICS: Final = Topics(PREFIX)
TABLE: Final = "crm.public.contacts"
MAPPING: Final = "identifiers: {user_id: id}\ntraits: {city: city}\n"
FATAL: Final = 3


class Secured:
    """The broker, and `elo` as each role."""

    def __init__(self, broker: SecuredBroker, directory: Path) -> None:
        self.broker, self.directory = broker, directory
        self.running: list[tuple[subprocess.Popen[bytes], Path]] = []

    def config(self, role: Role, name: str = "", **changed: str | None) -> Path:
        """The settings file of a role, the password in a file of its own."""
        own: dict[str, Any] = {**self.broker.settings(user_of(role)), "topic_prefix": PREFIX, **changed}
        file = self.directory / f"{name or role}.yaml"
        if password := own.pop("kafka_sasl_password", None):
            secret = self.directory / f"{name or role}.password"
            secret.write_text(f"{password}\n")
            own["kafka_sasl_password_file"] = str(secret)
        file.write_text(yaml.safe_dump({key: value for key, value in own.items() if value is not None}))
        return file

    def elo(self, config: Path | Role, *arguments: object, stdin: bytes = b"") -> Done:
        """Run a command in this process."""
        file = self.config(config) if isinstance(config, Role) else config
        out, err = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(os, "environ", self.environment(file))
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            code = run_app(app, [str(argument) for argument in arguments])
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read())
        return Done(code, *texts)

    def run(self, config: Path | Role, *arguments: object) -> Done:
        """Run a command in a process of its own: what librdkafka writes by itself is seen too."""
        file = self.config(config) if isinstance(config, Role) else config
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *map(str, arguments)], cwd=ROOT, stdin=subprocess.DEVNULL,
            env=self.environment(file), capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def environment(self, config: Path) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("ELO_")}
        return {
            **plain, "ELO_CONFIG": str(config), "ELO_DATA_DIR": str(self.directory / "data"),
            "ELO_COMPILED": os.environ.get("ELO_COMPILED", "1"),
        }  # fmt: skip

    def start(self, config: Path | Role, *arguments: object) -> tuple[subprocess.Popen[bytes], Path]:
        """Start a process that dies with the test."""
        file = self.config(config) if isinstance(config, Role) else config
        log = self.directory / f"{len(self.running)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.launch", *map(str, arguments)], cwd=ROOT,
                env=self.environment(file), stdout=output, stderr=output,
            )  # fmt: skip
        self.running.append((process, log))
        return process, log

    def close(self) -> None:
        for process, log in self.running:
            if process.poll() is None:
                process.kill()
                process.wait()
            print(f"--- {process.args}\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The broker with a user for each role, and the topics, made by `elo topics create` as the admin."""
    broker = SecuredBroker(tmp_path_factory.mktemp("secured") / "kafka").start()
    found = Secured(broker, tmp_path_factory.mktemp("elo"))
    try:
        add_roles(broker, TOPICS)
        done = found.elo(Role.ADMIN, "topics", "create", "--partitions", 2)
        assert (done.code, done.err) == (0, ""), done
        yield found
    finally:
        found.close()
        broker.stop()


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


LOOKS: Final = (
    ("state", "hash"), ("profile", "show", "user_id:u1"), ("why", "user_id:u1", "madrid"),
    ("segments", "list"), ("identity", "show"), ("rejected", "list"), ("deliver", "letters"),
    ("export", "user_id:u1"), ("identity", "decisions"), ("segments", "history"),
)  # fmt: skip
DECIDES: Final = (
    ("identity", "merge", "user_id:u1", "user_id:t1", "--by", "ana", "--reason", "same"),
    ("segments", "pause", "madrid"),
)  # fmt: skip


def start_all(secured: Secured, directory: Path, destinations: Path) -> int:
    """Worker, collector and delivery, each with its own login, ready. Returns the port of the collector."""
    ports = {name: _free_port() for name in ("worker", "collect", "deliver")}
    secured.start(Role.WORKER, "worker", "--data-dir", directory / "worker", "--web-port", ports["worker"])
    secured.start(
        Role.COLLECT, "collect", "--write-key", "k=web", "--port", ports["collect"],
        "--data-dir", directory / "collect",
    )  # fmt: skip
    secured.start(
        Role.DELIVER, "deliver", "run", "--destinations", destinations, "--web-port", ports["deliver"]
    )
    for name, port in ports.items():
        wait_for(lambda port=port: ready(port), f"{name} is ready", 60)  # type: ignore[misc]
    return ports["collect"]


def test_every_role_does_its_work_with_its_least_grants(secured: Secured, tmp_path: Path) -> None:
    receiver = Receiver().start()
    segments = tmp_path / "segments.yaml"
    segments.write_text("id: madrid\nname: Madrid\nwhere: {trait: city, is: Madrid}\n")
    applied = secured.run(Role.OPERATE, "segments", "apply", segments)
    assert (applied.code, applied.err) == (0, ""), applied
    destinations = tmp_path / "destinations.yaml"
    hook = {"name": "hook", "url": receiver.url("hook"), **QUICK}
    destinations.write_text(json.dumps({"destinations": [hook]}))
    collector = start_all(secured, tmp_path, destinations)

    event = {"userId": "u1", "messageId": "m1", "traits": {"city": "Madrid"}, "writeKey": "k"}
    call = urllib.request.Request(f"http://127.0.0.1:{collector}/v1/identify", json.dumps(event).encode())
    with urllib.request.urlopen(call, timeout=20) as answer:
        assert answer.status == 200
    call.data = b'{"writeKey": "k", "event": ""}'
    call.full_url = f"http://127.0.0.1:{collector}/v1/track"
    with urllib.request.urlopen(call, timeout=20) as answer:
        assert b"missing_field" in answer.read()
    people = lines(touchpoint(1, traits={"city": "Madrid"}), touchpoint(2, identifiers=[]))
    assert secured.elo(Role.FEED, "produce", "-", stdin=people).code == 0
    assert follow_a_table(secured, tmp_path) == {"sent": 1, "refused": 0}
    assert secured.elo(Role.VIEW, "wait", "--timeout", 60).code == 0
    told = secured.elo(Role.VIEW, "tail", "membership", "--from-beginning", "--exit-at-end", "--json")
    assert [one["cause"] for one in told.documents] == ["event"] * 3
    wait_for(lambda: len(receiver.accepted) == 3, "delivered", 30)

    named = ("--destinations", destinations)
    for look in (*LOOKS, ("deliver", "status", *named)):
        done = secured.elo(Role.VIEW, *look)
        assert (done.code, done.err) == (0, ""), (look, done)
    fix = tmp_path / "fix.yaml"
    fix.write_text("steps: [{set: identifiers, value: [{type: user_id, value: u2}]}]")
    groups = secured.elo(Role.VIEW, "rejected", "list", "--json").documents
    assert {one["reason"] for one in groups} == {"no_usable_identifier", "missing_field"}
    letters = next(one for one in groups if one["reason"] == "no_usable_identifier")
    again = ("rejected", "redrive", letters["group"], "--fix", fix, "--by", "ana", "--reason", "mended")
    for decision in (*DECIDES, again, ("deliver", "pause", "hook", "--by", "ana", "--reason", "x", *named)):
        done = secured.elo(Role.OPERATE, *decision)
        assert done.code == 0, (decision, done)
    assert secured.elo(Role.VIEW, "segments", "resume", "madrid").code == FATAL
    assert secured.elo(Role.VIEW, "wait", "--timeout", 60).code == 0
    for process, log in secured.running:
        process.terminate()
        assert process.wait(60) == 0, log.read_text()
    receiver.stop()
    before = secured.elo(Role.VIEW, "state", "hash").out
    grown = secured.elo(Role.GROW, "topics", "grow", "--partitions", 4)
    assert (grown.code, grown.err) == (0, ""), grown
    assert secured.elo(Role.VIEW, "state", "hash").out == before
    examined = secured.elo(Role.ADMIN, "doctor", "--json").document
    verdicts = {one["check"]: one["verdict"] for one in examined["findings"]}
    assert {"access": "ok", "topics": "ok", "clock": "ok", "stored": "ok"}.items() <= verdicts.items(), (
        examined
    )
    for role, sometimes in SOMETIMES.items():
        unused = secured.broker.unused(user_of(role), grants_of(role, TOPICS))
        known = {f"{one} topic {PREFIX}{name}" for one, names in sometimes.items() for name in names}
        assert set(unused) <= known, role


def follow_a_table(secured: Secured, directory: Path) -> Any:
    """A change of a table, through `elo cdc`, whose topic is somebody else's to grant."""
    admin = secured.broker.admin
    admin.create_topics([NewTopic(TABLE, 1, 1)])[TABLE].result(20)
    secured.broker.grant(user_of(Role.FEED), [Grant(Kind.TOPIC, TABLE, (Operation.READ,))])
    from confluent_kafka import Producer

    producer = Producer(load_settings(secured.broker.settings("admin", "admin-secret")).kafka_config())
    row = {"before": None, "after": {"id": "t1", "city": "Madrid"}, "op": "c", "source": {
        "name": "crm", "ts_ms": time.time_ns() // 1_000_000, "table": "contacts", "lsn": 1}}  # fmt: skip
    producer.produce(TABLE, json.dumps(row).encode(), b"1")
    assert producer.flush(20) == 0
    mapping = directory / "contacts.yaml"
    mapping.write_text(MAPPING)
    done = secured.elo(Role.FEED, "cdc", TABLE, "--mapping", mapping, "--exit-at-end", "--json")
    assert done.code == 0, done
    return done.document


STARTS: Final = {
    Role.WORKER: ("worker", "--web-port", "0"),
    Role.COLLECT: ("collect", "--write-key", "k=web", "--port", "1"),
    Role.DELIVER: ("deliver", "run", "--web-port", "0", "--destinations"),
    Role.FEED: ("produce", "-"),
    Role.VIEW: ("wait",),
    Role.OPERATE: ("segments", "list"),
    Role.ADMIN: ("topics", "create"),
    Role.GROW: ("topics", "grow", "--partitions", "4"),
}


def refused(secured: Secured, config: Path, role: Role, directory: Path) -> str:
    """The sentence with which a command of a role ends; it must be one."""
    arguments = list(STARTS[role])
    if role is Role.DELIVER:
        file = directory / "destinations.yaml"
        file.write_text(json.dumps({"destinations": [{"name": "hook", "url": "http://127.0.0.1:1/"}]}))
        arguments.append(str(file))
    if role in (Role.WORKER, Role.COLLECT, Role.DELIVER):
        done = secured.run(config, *arguments)
    else:
        done = secured.elo(config, *arguments, stdin=lines(touchpoint(1)))
    assert done.code == FATAL, done
    (line,) = done.err.splitlines()
    return line


@pytest.mark.parametrize("role", list(Role))
def test_a_wrong_password_is_one_sentence_and_exit_code_3(
    secured: Secured, role: Role, tmp_path: Path
) -> None:
    config = secured.config(role, "wrong", kafka_sasl_password="guessed")
    said = refused(secured, config, role, tmp_path)
    assert f"refuses the login of the user {user_of(role)}" in said
    assert "kafka_sasl_password" in said
    assert "guessed" not in said


def test_what_cannot_be_trusted_or_understood_is_one_sentence(secured: Secured, tmp_path: Path) -> None:
    from tests.support.secured import Authority

    other = Authority(tmp_path, "other")
    config = secured.config(Role.VIEW, "untrusted", kafka_ssl_ca_location=str(other.file))
    assert "no TLS connection" in (said := refused(secured, config, Role.VIEW, tmp_path))
    assert "certificate verify failed" in said
    plain = secured.config(
        Role.VIEW, "plaintext", kafka_security_protocol="PLAINTEXT", kafka_ssl_ca_location=None,
        kafka_sasl_username=None, kafka_sasl_password=None,
    )  # fmt: skip
    done = secured.elo(plain, "wait")
    assert done.code == 1
    assert "for TLS? kafka_security_protocol is PLAINTEXT" in done.err


@pytest.mark.parametrize("role", [Role.WORKER, Role.COLLECT, Role.DELIVER, Role.GROW])
def test_each_missing_grant_is_named(secured: Secured, role: Role) -> None:
    user, groups = user_of(role), [f"{PREFIX}elo.deliver.hook", f"{PREFIX}elo.cdc.x", f"{PREFIX}elo-restore"]
    settings = load_settings({**secured.broker.settings(user), "topic_prefix": PREFIX})
    admin = connect(settings)
    check_access(settings, admin, role, TOPICS, groups)
    seen = [grant for grant in grants_of(role, TOPICS) if grant.kind is not Kind.TRANSACTIONAL_ID]
    for grant in (seen[0], seen[-1]):
        secured.broker.revoke(user, [grant])
        try:
            wait_until_denied(settings, admin, role, grant, groups)
        finally:
            secured.broker.grant(user, [grant])


def wait_until_denied(settings: Any, admin: Any, role: Role, grant: Grant, groups: list[str]) -> None:
    """The broker hears of a change of grants a moment later."""
    said: list[str] = []

    def is_denied() -> bool:
        try:
            check_access(settings, admin, role, TOPICS, groups)
        except AccessDenied as denied:
            said.append(str(denied))
        return bool(said)

    wait_for(is_denied, f"{grant} is missed", 10)
    assert f"{grant.kind} {grant.name}" in said[0]
    assert f"`elo topics acls {role}`" in said[0]


@pytest.mark.parametrize("kind", [Kind.TOPIC, Kind.TRANSACTIONAL_ID])
def test_a_worker_without_a_grant_ends_with_3(secured: Secured, kind: Kind, tmp_path: Path) -> None:
    lost = next(one for one in reversed(grants_of(Role.WORKER, TOPICS)) if one.kind is kind)
    secured.broker.revoke(user_of(Role.WORKER), [lost])
    time.sleep(0.5)
    try:
        process, log = secured.start(
            Role.WORKER, "worker", "--web-port", "0", "--data-dir", tmp_path / "worker"
        )
        assert process.wait(60) == FATAL
    finally:
        secured.broker.grant(user_of(Role.WORKER), [lost])
    said = log.read_text()
    assert "Traceback" not in said
    assert said.count("\nelo: Kafka does not let") + said.startswith("elo: Kafka does not let") == 1
    assert "`elo topics acls worker`" in said


def test_a_worker_that_loses_a_grant_while_it_runs_ends_with_3(secured: Secured, tmp_path: Path) -> None:
    port = _free_port()
    process, log = secured.start(Role.WORKER, "worker", "--web-port", port, "--data-dir", tmp_path / "worker")
    wait_for(lambda: ready(port), "the worker is ready", 60)
    lost = next(one for one in grants_of(Role.WORKER, TOPICS) if one.name == TOPICS.state)
    secured.broker.revoke(user_of(Role.WORKER), [lost])
    try:
        time.sleep(0.5)
        people = lines(touchpoint(99, identifiers=[{"type": "user_id", "value": "late"}]))
        assert secured.elo(Role.FEED, "produce", "-", stdin=people).code == 0
        assert process.wait(60) == FATAL
    finally:
        secured.broker.grant(user_of(Role.WORKER), [lost])
    said = log.read_text()
    assert "Traceback" not in said
    assert "elo: Kafka does not let this worker write" in said


def test_a_certificate_is_a_login_too(secured: Secured, tmp_path: Path) -> None:
    broker = secured.broker
    certificate, key = broker.authority.issue(user_of(Role.VIEW), b"locked")
    config = secured.config(
        Role.VIEW, "mutual", bootstrap=broker.mutual, kafka_security_protocol="SSL",
        kafka_ssl_certificate_location=str(certificate), kafka_ssl_key_location=str(key),
        kafka_ssl_key_password="locked", kafka_sasl_username=None, kafka_sasl_password=None,
    )  # fmt: skip
    listed = secured.elo(config, "segments", "list")
    assert (listed.code, listed.err) == (0, ""), listed
    wrong = secured.config(
        Role.VIEW, "mutual-wrong", bootstrap=broker.mutual, kafka_security_protocol="SSL",
        kafka_ssl_certificate_location=str(certificate), kafka_ssl_key_location=str(key),
        kafka_ssl_key_password="other", kafka_sasl_username=None, kafka_sasl_password=None,
    )  # fmt: skip
    done = secured.elo(wrong, "segments", "list")
    assert done.code == 1
    assert "Kafka's client refuses its settings" in done.err
    assert done.err.count("\n") == 1


def test_a_plain_login_works_and_the_password_may_come_from_the_environment(
    secured: Secured, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secured.broker.grant(PLAIN_USER, grants_of(Role.VIEW, TOPICS))
    time.sleep(0.5)
    for name, value in secured.broker.settings(PLAIN_USER).items():
        monkeypatch.setenv(f"ELO_{name.upper()}", value)
    monkeypatch.setenv("ELO_KAFKA_SASL_MECHANISM", "plain")
    assert password_of(PLAIN_USER) not in repr(load_settings())
    assert run_app(app, ["--topic-prefix", PREFIX, "segments", "list"]) == 0
    assert capsys.readouterr().err == ""
