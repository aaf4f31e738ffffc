"""`elo doctor` on a real deployment: each thing that can be provoked in Kafka is found."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from pipeline.cli.doctor import progress
from tests.support.deployment import Deployment
from tests.support.fleet import MakeFleet, make_fleet  # noqa: F401  a fixture


def findings(deployment: Deployment, *arguments: str, code: int) -> dict[str, list[dict[str, str]]]:
    """What the doctor finds beside what is well, by check."""
    done = deployment.elo("doctor", "--json", *arguments)
    assert done.code == code, done
    assert done.document["healthy"] == (code == 0)
    found: dict[str, list[dict[str, str]]] = {}
    for one in done.document["findings"]:
        found.setdefault(one["check"], [])
        if one["verdict"] != "ok":
            found[one["check"]].append(one)
            assert one["do"], one
    return found


def alter(deployment: Deployment, topic: str, name: str, value: str) -> None:
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap})
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, deployment.prefix + topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)


def test_what_is_wrong_in_kafka_is_found(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ELO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ELO_PROFILE_KEY", "s3cret")
    well = findings(deployment, code=0)
    assert set(well) == {
        "access", "brokers", "clock", "disk", "lag", "settings", "stored", "topics", "transactions",
        "versions",
    }  # fmt: skip
    assert [one["what"] for one in well["brokers"]] == [
        "1 of at least 3 brokers: a disk that is lost is lost data"
    ]
    assert "no worker" in well["lag"][0]["what"]
    assert not any(well[check] for check in ("access", "clock", "settings", "stored", "topics"))

    alter(deployment, "elo.touches", "retention.ms", "3600000")
    alter(deployment, "elo.state", "cleanup.policy", "delete")
    deployment.send("elo.mail", b"\x09newer")
    deployment.send("touchpoints.web", b"{}")
    producer = Producer(
        {"bootstrap.servers": deployment.bootstrap, "transactional.id": f"{deployment.prefix}x"}
    )
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(deployment.prefix + "segments.membership", b"x", b"x", 1)
    producer.flush(20)
    monkeypatch.setattr(progress, "wall_s", lambda: time.time() - 20)
    bad = findings(deployment, code=1)
    producer.abort_transaction(20)
    said = {
        check: [one["what"] for one in found if one["verdict"] == "failed"] for check, found in bad.items()
    }
    prefix = deployment.prefix
    assert len(said["topics"]) == 2
    assert f"{prefix}elo.touches is kept for 1h, and not 30d" in said["topics"][0]
    assert f"{prefix}elo.state: expected cleanup.policy=compact" in "".join(said["topics"])
    assert f"{prefix}elo.mail: [0]@" in said["stored"][0]
    assert f"{prefix}touchpoints.web[0] by 1 record" in said["lag"][0]
    assert f"{prefix}segments.membership[1]" in said["transactions"][0]
    assert "ms ahead of this machine's" in said["clock"][0]


def test_a_worker_that_stands_still_is_told_from_one_that_works(
    make_fleet: MakeFleet,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = make_fleet(session_timeout_ms=30_000).create_topics(2)
    deployment = Deployment(fleet.bootstrap, fleet.prefix, capsys)
    monkeypatch.setenv("ELO_DATA_DIR", str(fleet.directory / "a"))
    (worker,) = fleet.start("a")
    touch: dict[str, Any] = {
        "source": "web", "type": "page_viewed", "occurred_at": time.time_ns() // 1_000_000,
        "identifiers": [{"type": "user_id", "value": "u"}],
    }  # fmt: skip
    fleet.send([{**touch, "event_id": f"e{number}"} for number in range(20)])
    fleet.wait_idle()
    assert findings(deployment, code=0)["lag"] == []
    worker.pause()
    fleet.send([{**touch, "event_id": "late"}])
    (lag,) = findings(deployment, code=1)["lag"]
    worker.resume()
    assert "1 workers" in lag["what"]
    assert "touchpoints.web" in lag["what"]
    fleet.wait_idle()
