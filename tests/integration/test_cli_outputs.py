"""`elo segments`, `elo tail` and `elo profile` on a real Kafka."""

from __future__ import annotations

import json
import select
import signal
import time
from base64 import b64decode
from pathlib import Path
from typing import Final

from confluent_kafka import Producer

from pipeline.wire.avro import encode_record
from tests.support.deployment import ANA, Deployment

IN_MADRID: Final = "id: in-madrid\nname: In Madrid\nwhere: {trait: city, is: Madrid}\n"


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


def test_a_segment_inside_another_one_must_exist_must_not_lead_back_and_is_not_deleted_alone(
    deployment: Deployment, tmp_path: Path
) -> None:
    file = tmp_path / "segments.yaml"
    file.write_text("id: vip\nwhere:\n  {segment: in-madird}\n")
    deployment.elo("segments", "apply", "-", stdin=IN_MADRID.encode())
    unknown = deployment.elo("segments", "apply", file)
    problem = "there is no segment 'in-madird', did you mean in-madrid?; nothing was applied"
    assert (unknown.code, unknown.err) == (1, f"elo: {file}:3:13: {problem}\n")
    spent = "{event: order_completed, within: 30d, sum: total, gte: 100}"
    file.write_text(f"id: vip\nwhere: {{all: [{{segment: in-madrid}}, {spent}]}}\n")
    applied = deployment.elo("segments", "apply", file, "--json").document["segments"]
    note = "event order_completed within 30d, sum of total gte 100: of the newest 200 such events of a person"
    assert applied == [{"id": "vip", "version": 1, "change": "created", "notes": [note]}]
    file.write_text("id: in-madrid\nwhere: {segment: vip}\n")
    circular = deployment.elo("segments", "preview", file)
    assert "segment in-madrid would be inside itself (in-madrid → vip → in-madrid)" in circular.err
    used = deployment.elo("segments", "delete", "in-madrid")
    assert (used.code, "segment vip uses what you delete, nothing was deleted" in used.err) == (1, True)
    assert deployment.elo("segments", "delete", "in-madrid", "vip").code == 0


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
        assert process.stdout is not None
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:  # it shows only what comes after it has found the end
            deployment.send("touchpoints.rejected", b"{", headers=headers)
            if select.select([process.stdout], [], [], 0.3)[0]:
                break
        record = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
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
    assert process.wait(30) == 141
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
