"""Rows of CRMs: mappings, CSV tables, change events of Debezium."""

from __future__ import annotations

import gzip
import io
import json
from base64 import b64encode
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import fastavro
import pytest

from connectors.crm import debezium
from connectors.crm.debezium import UNAVAILABLE, Order, read_change
from connectors.crm.mapping import RowMapping, read_mapping
from connectors.crm.table import BadFile, Progress, Table, import_key, opened, read_progress
from pipeline.core.errors import Rejection
from pipeline.core.policy import parse_policy
from pipeline.core.segments.document import DefinitionError
from pipeline.core.touchpoint import TouchpointReader
from pipeline.wire.avro import RecordDecoder
from tests.support.collect import ids

NOW: Final = 1_795_396_495_000
MAPPING: Final = """
identifiers: {user_id: No, email: [E-mail, E-mail 2]}
traits:
  city: City
  born: {column: Born, as: date}
  credit: {column: Credit, as: number}
consent: {marketing: Opt-in}
occurred_at: Changed
"""
HEADER: Final = "No,E-mail,E-mail 2,City,Born,Credit,Opt-in,Changed"
GOOD: Final = '17,Ana@Example.com,,"São\nPaulo",1990-05-01,12.50,yes,2026-11-20T10:00:00Z'


def policy() -> Any:
    return parse_policy({"version": 1, "identifiers": {
        "user_id": {"limit": 1}, "email": {"limit": 5, "normalise": "email"},
    }})  # fmt: skip


def table(text: str, mapping: str = MAPPING, delimiter: str = ",") -> Table:
    judge = TouchpointReader(policy(), ("crm", "web"), lambda _: pytest.fail("no Avro here"))
    return Table(read_mapping(mapping), judge, io.StringIO(text, newline=""), delimiter)


def found(text: str, **more: Any) -> list[Any]:
    return [one for _, one in table(text, **more).rows(NOW)]


def test_a_row_becomes_a_touchpoint() -> None:
    [row] = found(f"{HEADER}\n{GOOD}\n")
    assert ids(row) == ["user_id:17", "email:Ana@Example.com"]
    assert row["traits"] == {"city": "São\nPaulo", "born": "1990-05-01", "credit": 12.5}
    assert (row["consent"], row["occurred_at"]) == ({"marketing": True}, 1_795_168_800_000)
    assert (row["source"], row["type"]) == ("crm", "contact_updated")


def test_the_same_row_has_the_same_id_and_another_one_another() -> None:
    first, again, other = found(f"{HEADER}\n{GOOD}\n{GOOD}\n{GOOD.replace('12.50', '13')}\n")
    assert first["event_id"] == again["event_id"] != other["event_id"]


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        (GOOD.replace("1990-05-01", "May"), "traits.born", "invalid_field"),
        (GOOD.replace("12.50", "much"), "traits.credit", "invalid_field"),
        (GOOD.replace("yes", "perhaps"), "consent.marketing", "invalid_field"),
        (GOOD.replace("2026-11-20T10:00:00Z", "soon"), "occurred_at", "invalid_field"),
        (GOOD.replace("2026-11-20", "2027-11-20"), "occurred_at", "future_event"),
        (GOOD.replace("17,Ana@Example.com", ",nobody"), "identifiers", "no_usable_identifier"),
        (GOOD + ",more", "", "invalid_field"),
        ("17", "", "invalid_field"),
    ],
)
def test_a_row_that_the_intake_would_refuse_is_refused_and_the_others_go_on(
    row: str, field: str, reason: str
) -> None:
    refused, good = found(f"{HEADER}\n{row}\n\n{GOOD}\n")
    assert isinstance(refused, Rejection)
    assert (refused.field, refused.reason.value) == (field, reason)
    assert isinstance(good, dict)


def test_other_delimiters_and_a_file_without_a_column(tmp_path: Path) -> None:
    [row] = found("No;E\n1;a@b.c\n", mapping="identifiers: {user_id: No, email: E}", delimiter=";")
    assert ids(row) == ["user_id:1", "email:a@b.c"]
    with pytest.raises(BadFile, match="there is no column 'E', the file has No, Mail"):
        table("No,Mail\n", mapping="identifiers: {user_id: No, email: E}")
    with pytest.raises(BadFile, match="there are several columns 'E'"):
        table("E,No,E\n", mapping="identifiers: {user_id: No, email: E}")
    assert ids(found("E,No,E\na,7,b\n", mapping="identifiers: {user_id: No}")[0]) == ["user_id:7"]
    file = tmp_path / "a.csv"
    file.write_bytes("\ufeffNo\n1\n".encode())
    with opened(file) as text:
        assert text.readline() == "No\n"


def test_who_goes_on_leaves_out_the_rows_that_were_done_whatever_they_were() -> None:
    broken, empty = '18,"Ana"x,,,,,,', ""
    text = "\n".join([HEADER, GOOD, empty, broken, empty, GOOD.replace("17", "19"), GOOD.replace("17", "20")])
    everything = [one for one, _ in table(text).rows(NOW)]
    assert [cells[:1] for cells in everything] == [["17"], [], ["19"], ["20"]]
    for done in range(5):
        rest = table(text)
        rest.skip(done)
        assert [cells for cells, _ in rest.rows(NOW)] == everything[done:]


@pytest.mark.parametrize(
    ("name", "raw", "why"),
    [
        ("a.csv", "No\nJosé\n".encode("latin-1"), "it is not UTF-8"),
        ("a.csv", "No\n1\n".encode("utf-16"), "it is not UTF-8"),
        ("a.csv.gz", b"No\n1\n", "the gzip data is damaged"),
        ("a.csv.gz", gzip.compress(b"No\n1\n")[:-9], "the gzip data is damaged"),
        ("a.csv.gz", gzip.compress(b"No\n1\n")[:12] + b"\xff" * 20, "the gzip data is damaged"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, raw: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(BadFile, match=why), opened(tmp_path / name) as text:
        text.read()


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("12", 12), ("12.50", 12.5), ("1e300", 1e300), ("-9223372036854775808", -(1 << 63)),
        ("123456789012345678901234567890", 123456789012345678901234567890.0),
        ("1e400", None), ("1e999999999999", None), ("-1e3000000", None), ("nan", None),
    ],
)  # fmt: skip
def test_a_number_is_one_that_json_holds_and_no_cell_takes_the_memory(
    cell: str, number: float | None
) -> None:
    [row] = found(f"{HEADER}\n{GOOD.replace('12.50', cell)}\n")
    credit = row["traits"]["credit"] if isinstance(row, dict) else None
    assert (credit, type(credit)) == (number, type(number))


def test_an_import_goes_on_where_it_was_and_another_file_is_another_import(tmp_path: Path) -> None:
    file, note = tmp_path / "a.csv", tmp_path / "notes" / "n.json"
    file.write_text("No\n1\n")
    key = import_key(file, MAPPING)
    assert key == import_key(file, MAPPING) != import_key(file, "")
    progress = Progress(NOW, 5, 4)
    progress.refused["invalid_field"] += 1
    progress.write(note)
    assert read_progress(note, NOW + 9) == progress
    note.write_bytes(b"{")
    assert read_progress(note, NOW + 9) == Progress(NOW + 9)
    file.write_text("No\n1\n2\n")
    assert import_key(file, MAPPING) != key


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("traits: {city: City}", "line 1, column 1: identifiers is missing"),
        ("identifiers: {email: E}\ntrait: {a: A}", "line 2, column 1: 'trait' is not known here"),
        ("identifiers: {email: E}\ntraits: {a: {column: B, as: dat}}", "'dat' is no kind of value"),
        ("identifiers: {email: E}\ntraits: {born: {as: date}}", "column is missing"),
        ("identifiers: {email: E}\ntraits: {a: {column: B, as: decimal, scale: -1}}", "scale is a whole"),
        ("identifiers: {email: E}\ntraits: {a: {column: B, as: instant, unit: min}}", "unit is s, ms, us"),
        ("identifiers: {email: E}\ntraits: {a: {column: B, as: number, unit: s}}", "unit is s, ms, us"),
        ("identifiers: {email: 7}", "a column is a text"),
        ("identifiers: []", "identifiers is a mapping, not a list"),
        ("", "one mapping is needed"),
    ],
)  # fmt: skip
def test_a_mapping_that_is_wrong_is_refused_with_its_place(text: str, sentence: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        read_mapping(text)
    assert sentence in refused.value.message


# -- Debezium ----------------------------------------------------------------------------------------------

CDC: Final = """
identifiers: {user_id: id, email: email}
traits:
  city: city
  credit: {column: credit, as: decimal, scale: 2}
  price: {column: price, as: number}
  born: {column: born, as: date}
  seen: {column: seen, as: instant}
  micro: {column: micro, as: instant}
"""
DEEP: Final = "[" * 900 + "]" * 900
ROW: Final = {"id": 2, "email": "ana@x.com", "city": "Madrid", "credit": "AJY=", "price": "1.50",
              "born": 7_430, "seen": "2026-11-23T01:14:55Z", "micro": 1_795_396_495_000_000}  # fmt: skip


def event(op: str, before: Any, after: Any, lsn: int = 1) -> dict[str, Any]:
    """A change as Debezium 3.3 writes it for PostgreSQL."""
    source = {
        "version": "3.3.1.Final", "connector": "postgresql", "name": "crm", "ts_ms": NOW, "snapshot": "false",
        "db": "crm", "schema": "public", "table": "contacts", "txId": 7, "lsn": lsn, "sequence": "[]",
    }  # fmt: skip
    return {
        "before": before,
        "after": after,
        "source": source,
        "transaction": None,
        "op": op,
        "ts_ms": NOW + 5,
    }


def change(op: str, before: Any, after: Any, lsn: int = 1, mapping: RowMapping | None = None) -> Any:
    value = json.dumps(event(op, before, after, lsn)).encode()
    return read_change(value, mapping or read_mapping(CDC))


def test_values_of_debezium_are_read() -> None:
    made = change("c", None, ROW)
    assert (made["type"], ids(made), made["occurred_at"]) == (
        "contact_created", ["user_id:2", "email:ana@x.com"], NOW,
    )  # fmt: skip
    assert made["traits"] == {
        "city": "Madrid", "credit": 1.5, "price": 1.5, "born": "1990-05-06",
        "seen": "2026-11-23T01:14:55.000+00:00", "micro": "2026-11-23T01:14:55.000+00:00",
    }  # fmt: skip


def test_a_numeric_without_a_scale_brings_it_along() -> None:
    variable = {"scale": 3, "value": b64encode((7_125).to_bytes(2, "big")).decode()}
    assert change("c", None, {**ROW, "credit": variable})["traits"]["credit"] == 7.125
    broken = change("c", None, {**ROW, "credit": {"value": "AA=="}})
    assert isinstance(broken, Rejection)


@pytest.mark.parametrize(
    ("given", "spec", "read"),
    [
        (-315_619_200_000_000, "as: instant", "1960-01-01T00:00:00.000+00:00"),
        (34_300_800_000_000, "as: instant, unit: us", "1971-02-02T00:00:00.000+00:00"),
        (-1, "as: instant, unit: ns", "1969-12-31T23:59:59.999+00:00"),
        (86_399, "as: date, unit: s", "1970-01-01"), (-1, "as: date, unit: ms", "1969-12-31"),
        (34_300_800_123_456, "as: date, unit: us", "1971-02-02"), (-3_653, "as: date", "1960-01-01"),
        ("1971-02-02T10:00:00Z", "as: date, unit: us", "1971-02-02"),
    ],
)  # fmt: skip
def test_instants_before_and_near_1970(given: Any, spec: str, read: str) -> None:
    mapping = read_mapping(f"identifiers: {{user_id: id}}\ntraits: {{at: {{column: at, {spec}}}}}")
    assert change("c", None, {"id": 1, "at": given}, mapping=mapping)["traits"] == {"at": read}


def test_the_life_of_a_row() -> None:
    kinds = [change(op, ROW, ROW)["type"] for op in "rcud"]
    assert kinds == ["contact_read", "contact_created", "contact_updated", "contact_deleted"]
    emptied = change("u", ROW, {**ROW, "city": None})
    assert emptied["traits"]["city"] is None  # an emptied column takes its trait back
    deleted = change("d", ROW, None)
    assert ids(deleted) == ["user_id:2", "email:ana@x.com"]
    assert set(deleted["traits"].values()) == {None}
    assert read_change(None, read_mapping(CDC)) is None  # the tombstone that follows
    assert change("t", None, None) is None


def test_of_a_deleted_row_only_its_identifiers_are_asked() -> None:
    """Without replica identity full the other columns are null, or something in place of null."""
    by_key = change("d", {"id": 2, "email": None, "city": "", "credit": "?", "born": "never"}, None)
    assert ids(by_key) == ["user_id:2"]
    assert by_key["traits"] == dict.fromkeys(("city", "credit", "price", "born", "seen", "micro"))


def test_a_value_that_the_database_did_not_send_says_nothing() -> None:
    for placeholder in UNAVAILABLE[0], UNAVAILABLE[2]:
        updated = change("u", None, {**ROW, "city": placeholder, "email": placeholder})
        assert "city" not in updated["traits"]
        assert (updated["traits"]["price"], ids(updated)) == (1.5, ["user_id:2"])


def test_a_change_has_one_id_and_the_next_one_another() -> None:
    first, again, later = change("u", ROW, ROW), change("u", ROW, ROW), change("u", ROW, ROW, lsn=2)
    assert first["event_id"] == again["event_id"] != later["event_id"]


def test_changes_of_a_row_at_one_instant_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debezium, "ROWS_MAX", 2)
    order = Order()
    made = [
        order.instant(row, at) for row, at in (("a", 5), ("b", 5), ("a", 5), ("a", 5), ("a", 6), ("a", 5))
    ]
    assert made == [5, 5, 6, 7, 6, 5]
    assert [order.instant(row, 5) for row in ("c", "a", "b", "b")] == [5, 6, 5, 6]  # b was forgotten


def test_a_schema_around_the_change_is_looked_through() -> None:
    wrapped = {"schema": {"type": "struct"}, "payload": event("c", None, ROW)}
    found = read_change(json.dumps(wrapped).encode(), read_mapping(CDC))
    assert isinstance(found, dict)
    assert ids(found) == ["user_id:2", "email:ana@x.com"]
    assert read_change(b'{"schema":null,"payload":null}', read_mapping(CDC)) is None


def test_avro_of_a_registry_says_the_same_as_json() -> None:
    optional = [
        {"name": "id", "type": "int"},
        *({"name": name, "type": ["null", "string"]} for name in ("email", "city", "price", "seen")),
        {"name": "credit", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 10,
                                             "scale": 2}]},
        {"name": "born", "type": ["null", {"type": "int", "connect.name": "io.debezium.time.Date"}]},
        {"name": "micro", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
    ]  # fmt: skip
    row = {"type": "record", "name": "Value", "namespace": "crm.public.contacts", "fields": optional}
    texts = ("version", "connector", "name", "snapshot", "db", "schema", "table", "sequence")
    source = {"type": "record", "name": "Source", "namespace": "io.debezium", "fields": [
        *({"name": name, "type": "string"} for name in texts),
        *({"name": name, "type": "long"} for name in ("ts_ms", "txId", "lsn")),
    ]}  # fmt: skip
    envelope = {"type": "record", "name": "Envelope", "namespace": "crm.public.contacts", "fields": [
        {"name": "before", "type": ["null", row], "default": None},
        {"name": "after", "type": ["null", "crm.public.contacts.Value"], "default": None},
        {"name": "source", "type": source}, {"name": "op", "type": "string"},
    ]}  # fmt: skip
    stream = io.BytesIO(b"\0\0\0\0\7")
    stream.seek(5)
    plain = event("d", ROW, None)
    written = {**plain, "before": {**ROW, "credit": Decimal("1.50")}}
    fastavro.schemaless_writer(stream, fastavro.parse_schema(envelope), written)
    asked: list[int] = []

    def lookup(schema_id: int) -> Any:
        asked.append(schema_id)
        return envelope if schema_id == 7 else None

    decode, mapping = RecordDecoder(lookup), read_mapping(CDC)
    for _ in range(2):
        assert read_change(stream.getvalue(), mapping, decode) == change("d", ROW, None)
    assert asked == [7]
    for value, reason in (
        (b"\0\0\0\0\x09x", "unknown_schema"), (b"\0\0", "malformed_avro"),
        (stream.getvalue()[:-1], "malformed_avro"),
    ):  # fmt: skip
        refused = read_change(value, mapping, decode)
        assert isinstance(refused, Rejection)
        assert refused.reason.value == reason
    unread = read_change(stream.getvalue(), mapping)
    assert isinstance(unread, Rejection)
    assert unread.reason.value == "unknown_schema"


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (b"{broken", ""), (json.dumps(event("x", None, ROW)).encode(), "op"),
        (json.dumps(event("d", None, None)).encode(), "before"),
        (json.dumps(event("c", None, {**ROW, "credit": "?"})).encode(), "traits.credit"),
        (json.dumps({**event("c", None, ROW), "source": 1}).encode(), "source"),
        (json.dumps(event("c", None, {**ROW, "more": 1})).replace(": 1,", f": {DEEP},").encode(), ""),
    ],
)  # fmt: skip
def test_a_change_that_cannot_be_read_is_refused(value: bytes, field: str) -> None:
    found = read_change(value, read_mapping(CDC))
    assert isinstance(found, Rejection)
    assert found.field == field
