"""Rows of a CRM on a small real deployment: a CSV file that is imported, a table that Debezium follows."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.crm import table
from tests.support.deployment import Deployment, Done
from tests.support.fleet import Fleet
from tests.support.kafka import Kafka
from tests.support.site import Site

MAPPING: Final = """
identifiers: {user_id: id, email: email}
traits: {city: city, credit: {column: credit, as: number}}
consent: {marketing: opt_in}
"""
Elo = Callable[..., Done]


@pytest.fixture(scope="module")
def site(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A worker and a segment of those in Madrid."""
    fleet = Fleet(
        kafka.bootstrap, f"crm{time.time_ns()}.", tmp_path_factory.mktemp("crm"), profile_interval_ms=200
    )
    site = Site(fleet.create_topics(2))
    site.define("madrid", {"trait": "city", "is": "Madrid"})
    site.start()
    yield site
    site.stop()
    fleet.close()
    fleet.delete_topics()


@pytest.fixture
def elo(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Elo:
    """Runs a command against the deployment, as a user would."""
    monkeypatch.setenv("ELO_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "map.yaml").write_text(MAPPING)
    return Deployment(site.fleet.bootstrap, site.fleet.prefix, capsys).elo


def test_a_csv_file_is_tried_imported_and_goes_on_where_it_was(
    site: Site, elo: Elo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, mapping = tmp_path / "people.csv", tmp_path / "map.yaml"
    cities = ("Lima", "Madrid")
    rows = [f"c{number},c{number}@x.com,{cities[number % 2]},{number}.5,yes" for number in range(40)]
    rows[7], rows[9] = "c7,c7@x.com,Madrid,much,yes", "c9,c9@x.com"
    file.write_text("id,email,city,credit,opt_in\n" + "\n".join(rows) + "\n")
    tried = elo("import", file, "--mapping", mapping, "--dry-run", "--json")
    counts = {"rows": 40, "accepted": 38, "refused": {"invalid_field": 2}}
    assert (tried.code, tried.document) == (1, {**counts, "sent": False})
    assert site.fleet.read("touchpoints.crm") == []

    monkeypatch.setattr(table, "KEPT_ROWS", 10)
    stopped = [0]
    read = table.Table._read

    def dies(self: Any, cells: list[str], started_ms: int) -> Any:
        stopped[0] += 1
        if stopped[0] == 26:
            raise KeyboardInterrupt
        return read(self, cells, started_ms)

    monkeypatch.setattr(table.Table, "_read", dies)
    assert elo("import", file, "--mapping", mapping).code == 130
    monkeypatch.setattr(table.Table, "_read", read)
    done = elo("import", file, "--mapping", mapping, "--json")
    assert (done.code, done.document) == (1, {**counts, "sent": True})
    assert "going on after row 20" in done.err
    assert "is read by this import" in elo("import", file, "--mapping", mapping, "--rejects", file).err
    assert file.is_file()
    with (tmp_path / "people.csv.rejects.csv").open(newline="") as rejects:
        kept = list(csv.DictReader(rejects))
    assert [(row["id"], row["elo_row"], row["elo_field"]) for row in kept] == [
        ("c7", "8", "traits.credit"), ("c9", "10", ""),
    ]  # fmt: skip
    assert elo("import", file, "--mapping", mapping).code == 1  # once more, and nothing counts twice
    site.fleet.wait_idle()
    profile = site.profile("user_id:c11")
    assert (profile["traits"], profile["counters"]) == (
        {"city": "Madrid", "credit": 11.5}, {"contact_updated": 1},
    )  # fmt: skip
    assert profile["consent"] == {"marketing": True}
    assert list(profile["memberships"]) == ["madrid"]


def change(op: str, before: Any, after: Any, lsn: int, at_ms: int = 0) -> bytes:
    at_ms = at_ms or time.time_ns() // 1_000_000 + lsn
    source = {"name": "crm", "ts_ms": at_ms, "table": "contacts", "lsn": lsn}
    return json.dumps({"before": before, "after": after, "source": source, "op": op}).encode()


def test_the_life_of_a_row_is_in_the_profile_and_its_end_takes_back_what_it_brought(
    site: Site, elo: Elo, tmp_path: Path
) -> None:
    topic = "crm.public.contacts"
    admin = AdminClient({"bootstrap.servers": site.fleet.bootstrap})
    admin.create_topics([NewTopic(site.fleet.prefix + topic, 2, 1)])[site.fleet.prefix + topic].result(30)
    row = {"id": "r1", "email": "rosa@x.com", "city": "Lima", "credit": "1.50", "opt_in": True}
    moved = {**row, "city": "Madrid", "credit": None}

    def follow(*values: bytes | None) -> Done:
        for value in values:
            site.fleet.producer.produce(site.fleet.prefix + topic, value, b'{"id":"r1"}')
        assert site.fleet.producer.flush(30) == 0
        mapping = tmp_path / "map.yaml"
        done = elo("cdc", site.fleet.prefix + topic, "--mapping", mapping, "--exit-at-end", "--json")
        assert done.code == 0, done.err
        site.fleet.wait_idle()
        return done

    rejected = len(site.fleet.read("touchpoints.rejected"))
    first = follow(change("r", None, row, 1), change("u", row, moved, 2), b"{broken")
    assert first.document == {"sent": 2, "refused": 1}
    profile = site.profile("user_id:r1")
    assert (profile["traits"], list(profile["memberships"])) == ({"city": "Madrid"}, ["madrid"])
    assert len(site.fleet.read("touchpoints.rejected")) == rejected + 1
    second = follow(change("d", moved, None, 3), None)
    assert second.document == {"sent": 1, "refused": 0}
    profile = site.profile("user_id:r1")
    assert (profile["traits"], profile["memberships"]) == ({}, {})
    assert profile["counters"] == {"contact_read": 1, "contact_updated": 1, "contact_deleted": 1}
    # One transaction that makes a row and fills it in: both changes say the instant of its commit.
    made, now = {**row, "id": "r2", "email": "rui@x.com", "city": None}, time.time_ns() // 1_000_000
    follow(change("c", None, made, 4, now), change("u", made, {**made, "city": "Madrid"}, 5, now))
    assert site.profile("user_id:r2")["traits"] == {"city": "Madrid", "credit": 1.5}


def test_cloudevents_are_touchpoints(site: Site) -> None:
    now = datetime.now(UTC).isoformat()
    data = {"identifiers": [{"type": "user_id", "value": "ce1"}], "traits": {"city": "Madrid"}}
    envelope = {"specversion": "1.0", "source": "/crm", "type": "com.acme.ContactCreated", "time": now}
    structured = {**envelope, "id": "1", "data": data}
    headers = [(f"ce_{name}", text.encode()) for name, text in {**envelope, "id": "2"}.items()]
    for _ in range(2):
        site.fleet.send_raw("crm", json.dumps(structured).encode())
        site.fleet.send_raw("crm", json.dumps(data).encode(), headers=headers)
    assert site.fleet.producer.flush(30) == 0
    site.fleet.wait_idle()
    profile = site.profile("user_id:ce1")
    assert (profile["counters"], list(profile["memberships"])) == ({"contact_created": 2}, ["madrid"])
