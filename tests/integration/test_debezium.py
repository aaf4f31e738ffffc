"""A real PostgreSQL and a real Debezium in front of Elo: the life of a row is in the profile.

Left out of the default run, for it fetches jars and takes a minute:
`python -m pytest tests/integration/test_debezium.py -m soak`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka.admin import AdminClient

from tests.support import postgres
from tests.support.apicurio import Apicurio
from tests.support.connect import Connect
from tests.support.deployment import Deployment, Elo
from tests.support.fleet import Fleet, wait_for
from tests.support.kafka import Kafka
from tests.support.postgres import Postgres
from tests.support.site import Site

pytestmark = pytest.mark.soak
TABLE: Final = """
create table {name} (
  id text primary key, email text, city text, credit numeric(10,2), points numeric, born date,
  opt_in boolean, seen timestamptz, changed timestamp, alarm time, score double precision, note text,
  since timestamp
);
alter table {name} alter column note set storage external;
"""
INSERT: Final = """
insert into {name} values ('{name}-1', 'ana.{name}@x.com', 'Lima', 1.50, 7.125, '1990-05-06', true,
  '2026-11-20 08:30:00.123456+02', '2026-11-20 08:30:00.5', '09:30', 0.25, repeat('n', 3000),
  '1971-02-03 23:00');
"""
UPDATE: Final = """
update {name} set city = 'Madrid', credit = null, born = null, seen = null, alarm = null;
"""
MAPPING: Final = """
identifiers: {user_id: id, email: email}
traits:
  city: city
  credit: CREDIT
  points: POINTS
  born: {column: born, as: date}
  since: {column: since, as: date, unit: us}
  seen: {column: seen, as: instant}
  changed: {column: changed, as: instant}
  alarm: {column: alarm, as: number}
  score: {column: score, as: number}
  note: note
consent: {marketing: opt_in}
"""
TRAITS: Final = {
    "city": "Lima", "credit": 1.5, "points": 7.125, "born": "1990-05-06", "since": "1971-02-03",
    "seen": "2026-11-20T06:30:00.123+00:00", "changed": "2026-11-20T08:30:00.500+00:00",
    "alarm": 34_200_000_000, "score": 0.25,
    "note": "n" * 3_000,  # so large that PostgreSQL keeps it apart, and does not send it with each change
}  # fmt: skip
AS_TEXT: Final = ("{column: credit, as: number}", "{column: points, as: number}")
AS_BYTES: Final = ("{column: credit, as: decimal, scale: 2}", "{column: points, as: decimal}")
JSON: Final = "org.apache.kafka.connect.json.JsonConverter"


@dataclass(frozen=True)
class Form:
    """How Debezium writes a table: the converter of values, its handling of decimals, and our mapping."""

    name: str
    converter: dict[str, str]
    decimals: str
    numbers: tuple[str, str]
    is_full: bool = True  # replica identity: `before` has all columns, and not the key alone


def forms(registry: str) -> tuple[Form, ...]:
    """JSON without and with schemas, and Avro through a registry."""
    avro = {
        "value.converter": "io.apicurio.registry.utils.converter.AvroConverter",
        "value.converter.apicurio.registry.url": registry.replace("/ccompat/v7", "/registry/v2"),
        "value.converter.apicurio.registry.auto-register": "true",
        "value.converter.apicurio.registry.find-latest": "true",
        "value.converter.apicurio.registry.headers.enabled": "false",
        "value.converter.apicurio.registry.as-confluent": "true",
        "value.converter.apicurio.registry.use-id": "contentId",
        "schema.name.adjustment.mode": "avro",
        "field.name.adjustment.mode": "avro",
    }
    enabled = "value.converter.schemas.enable"
    return (
        Form("plain", {"value.converter": JSON, enabled: "false"}, "string", AS_TEXT),
        Form("wrapped", {"value.converter": JSON, enabled: "true"}, "precise",
             AS_BYTES, is_full=False),
        Form("avro", avro, "precise", AS_BYTES),
    )  # fmt: skip


@pytest.fixture
def database() -> Iterator[Postgres]:
    if why := postgres.missing():
        pytest.skip(why)
    found = Postgres().start()
    yield found
    found.stop()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Apicurio]:
    found = Apicurio(tmp_path / "apicurio.log").start()
    yield found
    found.stop()


@pytest.fixture
def site(kafka: Kafka, topic_prefix: str, tmp_path: Path) -> Iterator[Site]:
    fleet = Fleet(kafka.bootstrap, topic_prefix, tmp_path, profile_interval_ms=200)
    site = Site(fleet.create_topics(2))
    site.define("madrid", {"trait": "city", "is": "Madrid"})
    site.start()
    yield site
    site.stop()
    fleet.close()


def connector(database: Postgres, prefix: str, form: Form) -> dict[str, object]:
    """The properties of a connector, as one would write them."""
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "database.hostname": "127.0.0.1", "database.port": database.port, "database.user": postgres.USER,
        "database.password": "none", "database.dbname": "postgres", "plugin.name": "pgoutput",
        "slot.name": form.name, "publication.name": form.name, "publication.autocreate.mode": "filtered",
        "table.include.list": f"public.{form.name}", "topic.prefix": f"{prefix}{form.name}",
        "decimal.handling.mode": form.decimals, "poll.interval.ms": 50,
        "topic.creation.default.replication.factor": 1, "topic.creation.default.partitions": 2,
        **form.converter,
    }  # fmt: skip


def mapping_of(form: Form) -> str:
    return MAPPING.replace("CREDIT", form.numbers[0]).replace("POINTS", form.numbers[1])


class Followed:
    """The tables of the test as Elo follows them."""

    def __init__(self, site: Site, database: Postgres, known: tuple[Form, ...], elo: Elo, maps: Path) -> None:
        self.site, self.database, self.known = site, database, known
        self._elo, self._maps = elo, maps
        self._records = dict.fromkeys((form.name for form in known), 0)

    def after(self, statements: str, records: int, sent: int) -> None:
        """Run SQL in each table, wait for so many records more of it, and hand them to Elo."""
        for form in self.known:
            if statements:
                self.database.run(statements.format(name=form.name))
            self._records[form.name] += records
            self._hand_over(form, self._records[form.name], sent)
        self.site.fleet.wait_idle()

    def _hand_over(self, form: Form, records: int, sent: int) -> None:
        topic, prefix = f"{form.name}.public.{form.name}", self.site.fleet.prefix
        wait_for(lambda: _count(self.site, topic) == records, f"{records} records of {form.name}", 60)
        mapping = self._maps / f"{form.name}.yaml"
        done = self._elo("cdc", prefix + topic, "--mapping", mapping, "--exit-at-end", "--json")
        assert done.code == 0, done.err
        letters = [letter.headers() for letter in self.site.fleet.read("touchpoints.rejected")]
        assert done.document == {"sent": sent, "refused": 0}, letters


def _count(site: Site, topic: str) -> int:
    """Records of a topic; none while it is not there."""
    known = AdminClient({"bootstrap.servers": site.fleet.bootstrap}).list_topics(timeout=10).topics
    return len(site.fleet.read(topic)) if site.fleet.prefix + topic in known else 0


@pytest.fixture
def followed(
    site: Site,
    database: Postgres,
    registry: Apicurio,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Followed]:
    """A table for each form, with one row, and Debezium behind them."""
    monkeypatch.setenv("ELO_SCHEMA_REGISTRY", registry.url)
    known = forms(registry.url)
    for form in known:
        database.run(TABLE.format(name=form.name) + INSERT.format(name=form.name))
        if form.is_full:
            database.run(f"alter table {form.name} replica identity full")
        (tmp_path / f"{form.name}.yaml").write_text(mapping_of(form))
    connectors = {form.name: connector(database, site.fleet.prefix, form) for form in known}
    connect = Connect(tmp_path, site.fleet.bootstrap, connectors).start()
    elo = Deployment(site.fleet.bootstrap, site.fleet.prefix, capsys).elo
    yield Followed(site, database, known, elo, tmp_path)
    connect.stop()
    print(connect.tail())


def test_the_life_of_a_row_of_postgresql_is_in_the_profile(followed: Followed) -> None:
    site, names = followed.site, [form.name for form in followed.known]
    followed.after("", 1, 1)  # what was there before: a snapshot
    for name in names:
        profile = site.profile(f"user_id:{name}-1")
        assert (profile["traits"], profile["counters"]) == (TRAITS, {"contact_read": 1}), name
        assert (profile["consent"], profile["memberships"]) == ({"marketing": True}, {})

    second = INSERT.replace("{name}-1", "{name}-2").replace("ana.", "rui.")
    followed.after(UPDATE + second, 2, 2)  # one transaction
    kept = ("changed", "points", "score", "note", "since")
    left = {name: TRAITS[name] for name in kept} | {"city": "Madrid"}
    for name in names:
        profile = site.profile(f"user_id:{name}-1")
        assert (profile["traits"], list(profile["memberships"])) == (left, ["madrid"]), name
        assert profile["counters"] == {"contact_read": 1, "contact_updated": 1}
        other = site.profile(f"email:rui.{name}@x.com")
        assert (other["traits"], other["counters"]) == (TRAITS, {"contact_created": 1})

    followed.after("delete from {name} where id = '{name}-1'", 2, 1)  # and the tombstone that follows
    followed.after("", 0, 0)
    for name in names:
        profile = site.profile(f"user_id:{name}-1")
        assert (profile["traits"], profile["memberships"]) == ({}, {}), name
        assert profile["counters"]["contact_deleted"] == 1
        assert site.profile(f"user_id:{name}-2")["traits"] == TRAITS
    assert sorted(change["change"] for change in site.changes("madrid")) == ["entered"] * 3 + ["exited"] * 3
    assert site.fleet.read("touchpoints.rejected") == []
