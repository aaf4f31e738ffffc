"""What `elo doctor` judges: each thing that is wrong is found, and what is well is left alone."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.app import app
from pipeline.cli.doctor import cluster, local, progress, stored
from pipeline.cli.doctor.finding import Finding, Verdict, several
from pipeline.cli.idle import Behind
from pipeline.cli.options import run_app
from pipeline.core.messages import decode_message
from pipeline.runtime.position import Position
from pipeline.runtime.store import POSITION_KEY
from pipeline.settings import Settings, load_settings
from pipeline.topics import DAY_MS, Topics

TOPICS = Topics()
SPECS = TOPICS.specs()
GB = 1024**3


def verdicts(findings: Any) -> list[tuple[str, str]]:
    return [(one.verdict.value, one.what) for one in findings]


def copies(name: str, leader: int = 1, replicas: int = 3, in_sync: int = 3) -> cluster.Copies:
    return cluster.Copies(name, leader, tuple(range(replicas)), tuple(range(in_sync)))


def test_three_brokers_with_all_copies_are_well() -> None:
    (found,) = cluster.judge_brokers(3, [copies("elo.state[0]"), copies("elo.state[1]")])
    assert found.verdict is Verdict.OK


@pytest.mark.parametrize(
    ("brokers", "partition", "verdict", "said"),
    [
        (3, copies("a[0]", leader=-1), "failed", "a[0] have no leader"),
        (3, copies("a[0]", in_sync=2), "warning", "a[0] have copies that are behind"),
        (2, copies("a[0]", replicas=2, in_sync=2), "warning", "2 of at least 3 brokers"),
        (3, copies("a[0]", replicas=1, in_sync=1), "warning", "a, b have 1 of 3 copies"),
    ],
)
def test_what_is_wrong_with_brokers_is_said(
    brokers: int, partition: cluster.Copies, verdict: str, said: str
) -> None:
    count = len(partition.replicas)
    other = copies("b[0]", replicas=count, in_sync=count)
    found = list(cluster.judge_brokers(brokers, [partition, other]))
    bad = [one for one in found if one.verdict is not Verdict.OK]
    assert [(one.verdict.value, said in one.what) for one in bad] == [(verdict, True)]
    assert all(one.do for one in bad)


def existing(**changed: dict[str, str] | None) -> dict[str, tuple[int, dict[str, str]]]:
    """All topics as they must be, but for those named (`__` for a dot)."""
    found = {}
    for spec in SPECS:
        more = changed.get(spec.name.replace(".", "__"), {})
        if more is not None:
            partitions = int(more.get("partitions", 4 if spec.partitioned else 1))
            found[spec.name] = partitions, {**spec.config, **more}
    return found


def test_topics_as_they_are_made_are_well() -> None:
    assert [
        one.verdict
        for one in cluster.judge_topics(
            SPECS, existing(segments__membership={"partitions": "2"}), 4, {}, TOPICS.together
        )
    ] == [Verdict.OK]


@pytest.mark.parametrize(
    ("topic", "config", "verdict", "said"),
    [
        ("elo__mail", None, "failed", "elo.mail do not exist"),
        ("elo__mail", {"partitions": "3"}, "failed", "expected 4 partitions, found 3"),
        ("elo__state", {"cleanup.policy": "delete"}, "failed", "expected cleanup.policy=compact"),
        ("elo__touches", {"message.timestamp.type": "CreateTime"}, "failed", "LogAppendTime"),
        ("touchpoints__web", {"max.message.bytes": "1000"}, "failed", "max.message.bytes"),
        ("elo__touches", {"retention.ms": str(DAY_MS)}, "failed", "older touches would count again"),
        ("elo__state", {"delete.retention.ms": str(DAY_MS)}, "failed", "could bring deleted people back"),
        ("touchpoints__rejected", {"retention.ms": str(DAY_MS)}, "warning", "is kept for 1d, and not 30d"),
        ("identity__decisions", {"retention.ms": str(DAY_MS)}, "warning", "and not for ever"),
        ("elo__state", {"min.insync.replicas": "1"}, "warning", "a write is acknowledged with 1"),
        ("elo__state", {"min.insync.replicas": "3"}, "warning", "needs all of its 3 copies"),
    ],
)
def test_what_is_wrong_with_a_topic_is_said(
    topic: str, config: dict[str, str] | None, verdict: str, said: str
) -> None:
    three = {spec.name: 3 for spec in SPECS}
    good = {spec.name.replace(".", "__"): {"min.insync.replicas": "2"} for spec in SPECS}
    changed = {**good, topic: None if config is None else {"min.insync.replicas": "2", **config}}
    found = list(cluster.judge_topics(SPECS, existing(**changed), 4, three, TOPICS.together))
    assert [(one.verdict.value, said in one.what) for one in found] == [(verdict, True)], found
    assert found[0].do


WAITS = Behind("elo.touches", 1, "records", 50)
MOVED = Behind("elo.touches", 0, "records", 50)


@pytest.mark.parametrize(
    ("members", "first", "second", "verdict", "said"),
    [
        ({"w": 4}, (), (), "ok", "nothing waits"),
        ({"w": 4}, (MOVED,), (MOVED,), "ok", "and moving"),
        ({"w": 4}, (Behind("elo.touches", 1, "records", 90),), (WAITS,), "ok", "and moving"),
        ({"w": 4}, (WAITS,), (WAITS,), "failed", "this stands still: elo.touches[1] by 50 records"),
        ({}, (WAITS,), (WAITS,), "failed", "no worker is in the group elo, and work waits"),
        ({}, (), (), "warning", "nothing waits"),
        ({"w": 4}, (), (Behind("elo.mail", 0, "transaction"),), "ok", "nothing waits"),
    ],
)
def test_work_that_stands_still_is_told_from_work_that_moves(
    members: dict[str, int], first: Any, second: Any, verdict: str, said: str
) -> None:
    (found,) = progress.judge_progress(members, first, second, {("elo.touches", 0)}, "elo")
    assert (found.verdict.value, said in found.what) == (verdict, True)


def test_a_transaction_that_stays_open_is_told_from_one_that_moves_on() -> None:
    key = ("segments.membership", 2)
    assert progress.judge_transactions({key: 10}, {key: 10}).verdict is Verdict.FAILED
    assert "segments.membership[2]" in progress.judge_transactions({key: 10}, {key: 10}).what
    assert progress.judge_transactions({key: 10}, {key: 12}).verdict is Verdict.OK
    assert progress.judge_transactions({key: 10}, {}).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("skew_ms", "doubt_ms", "verdict"),
    [(3, 2, "ok"), (-400, 2, "ok"), (-600, 2, "warning"), (900, 500, "ok"), (9_000, 2, "failed")],
)
def test_clocks_that_are_apart_are_told(skew_ms: float, doubt_ms: float, verdict: str) -> None:
    assert progress.judge_clock(skew_ms, doubt_ms).verdict.value == verdict


@pytest.mark.parametrize(
    ("free", "state", "verdict"),
    [(20 * GB, 5 * GB, "ok"), (4 * GB, 5 * GB, "warning"), (GB // 2, 0, "warning"), (GB // 10, 0, "failed")],
)
def test_a_disk_without_room_is_told(free: int, state: int, verdict: str, tmp_path: Path) -> None:
    assert local.judge_disk(tmp_path, free, state).verdict.value == verdict


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    (found,) = local.look_at_disk(load_settings({"data_dir": tmp_path / "elo"}))
    assert found.verdict is Verdict.FAILED


def test_a_directory_that_may_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.os, "access", lambda *_: False)
    (found,) = local.look_at_disk(load_settings({"data_dir": tmp_path / "elo"}))
    assert (found.verdict, str(tmp_path) in found.what) == (Verdict.FAILED, True)


def test_local_state_that_a_worker_will_not_take_over_is_told(tmp_path: Path) -> None:
    from rocksdict import Cache

    from pipeline.runtime.store import Store

    state = tmp_path / "default"
    now = time.time_ns() // 1_000_000
    held = {"partition-0": now, "partition-1": now - 4 * DAY_MS}
    for name, at_ms in held.items():
        (state / name).mkdir(parents=True)
        store = Store(state / name, Cache(1024 * 1024), 1024)
        store.db[POSITION_KEY] = Position("topic", 5, 5, at_ms).encode()
        store.close()
    settings = load_settings({"data_dir": tmp_path})
    positions = {name: local.read_position(state / name) for name in held}
    assert {name: getattr(one, "at_ms", one) for name, one in positions.items()} == held
    *_, found = local.look_at_disk(settings)
    assert (found.verdict, "partition-1" in found.what) == (Verdict.WARNING, True)
    (state / "partition-2").mkdir()
    (state / "partition-2" / "CURRENT").write_text("nonsense")
    *_, found = local.look_at_disk(settings)
    assert "partition-2 (" in found.what
    fresh = {"partition-0": Position("topic", 5, 5, now)}
    assert local.judge_positions(fresh, now).verdict is Verdict.OK  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"profile_key": "elo"}, "the profile key is the shipped one"),
        ({"bootstrap": "kafka-1:9092"}, "can be read on the network (PLAINTEXT)"),
        ({"session_timeout_ms": "5m"}, "keeps its partitions for 5m"),
        ({}, ""),
    ],
)
def test_settings_that_one_should_not_go_into_production_with_are_told(
    changed: dict[str, Any], said: str
) -> None:
    settings = Settings(**{"profile_key": "s3cret", "bootstrap": "localhost:9092", **changed})
    (found,) = local.look_at_settings(settings)
    assert (found.verdict, said in found.what) == (Verdict.WARNING if said else Verdict.OK, True)


def test_a_record_of_a_newer_version_is_told() -> None:
    records = [("[0]@7", b"k", b"\x02..."), ("[0]@8", b"k", b"\x03")]
    found = stored.judge_stored("elo.mail", records, lambda _, value: decode_message(value))
    assert (found.verdict, "[0]@7, [0]@8" in found.what) == (Verdict.FAILED, True)
    assert stored.judge_stored("elo.mail", [], lambda *_: None).verdict is Verdict.OK


def test_the_versions_say_whether_the_core_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "COMPILED", True)
    assert local.look_at_versions().verdict is Verdict.OK
    monkeypatch.setattr(local, "COMPILED", False)
    assert "not compiled" in local.look_at_versions().what


def test_of_many_names_some_are_said() -> None:
    assert several(["a", "b", "c"], 2) == "a, b and 1 more"
    assert several([]) == ""


def test_without_a_broker_it_fails_and_says_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELO_DATA_DIR", str(tmp_path))
    assert run_app(app, ["--bootstrap", "127.0.0.1:1", "doctor"]) == 1
    said = capsys.readouterr().out
    assert "FAILED   brokers      no Kafka broker answers at 127.0.0.1:1" in said
    assert "ok       disk" in said
    assert Finding("a", Verdict.OK, "b").to_json() == {"check": "a", "verdict": "ok", "what": "b", "do": ""}
