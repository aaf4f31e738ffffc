"""Records of the output topics, as JSON and as lines for people."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from confluent_kafka import Message

from ..core.errors import InvariantViolation, Rejection
from ..settings import Settings
from ..wire.avro import decode_record
from .kafka import connect, follow, partitions_of, positions, reader
from .options import console, escaped

IDENTIFIERS_SHOWN: Final = 4  # in a line for people; --json has all
REJECTED_HEADERS: Final = ("reason", "field", "detail", "topic", "partition", "offset")
NUMBERS: Final = ("partition", "offset")


def follow_output(
    settings: Settings,
    stream: str,
    *,
    from_beginning: bool,
    exit_at_end: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Print the records of one output until its end, the limit or Ctrl-C."""
    names = settings.topics()
    topic = {
        "membership": names.membership,
        "current": names.current,
        "profiles": names.profiles,
        "merges": names.merges,
        "rejected": names.rejected,
        "review": names.review,
    }[stream]
    to_json, to_line = FORMS[stream]
    partitions = partitions_of(connect(settings), [topic])
    consumer = reader(settings, positions(partitions, beginning=from_beginning))
    screen, out, printed = console(), sys.stdout, 0
    try:
        for messages in follow(consumer, len(partitions[topic]), to_end=exit_at_end):
            for message in messages:
                record = to_json(message)
                if as_json:
                    out.write(orjson.dumps(record, default=str).decode())
                    out.write("\n")
                else:
                    screen.print(to_line(record))
                printed += 1
                if printed == limit:
                    return
            out.flush()
    finally:
        consumer.close()


def decode_value(message: Message) -> dict[str, Any]:
    """The Avro record of a message. Raises InvariantViolation when it is none: only Elo writes here."""
    record = decode_record(message.value() or b"")
    if isinstance(record, Rejection):
        where = f"{message.topic()}[{message.partition()}] offset {message.offset()}"
        raise InvariantViolation(f"{where} cannot be read ({record.detail}), was it written by a newer Elo?")
    return record


def _change(message: Message) -> dict[str, Any]:
    if message.value() is None:
        profile_id, _, segment_id = _key_of(message).partition("|")
        return {"profile_id": profile_id, "segment_id": segment_id, "tombstone": True}
    return decode_value(message)


def profile_to_json(message: Message) -> dict[str, Any]:
    """A profile with `traits` as an object (a JSON text in Avro); a tombstone as its id and `tombstone`."""
    if message.value() is None:
        return {"profile_id": _key_of(message), "tombstone": True}
    record = decode_value(message)
    record["traits"] = orjson.loads(record["traits"])
    return record


def _review(message: Message) -> dict[str, Any]:
    """A finding for a steward with `evidence` as an object (a JSON text in Avro)."""
    record = decode_value(message)
    record["evidence"] = orjson.loads(record["evidence"])
    return record


def _rejected(message: Message) -> dict[str, Any]:
    given: list[tuple[str, bytes | None]] = message.headers() or []  # type: ignore[assignment]
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in given}
    record: dict[str, Any] = {}
    for name in REJECTED_HEADERS:
        text = headers.get(f"elo.{name}", "")
        record[name] = int(text) if name in NUMBERS and text.lstrip("-").isdecimal() else text
    value = message.value()
    record["value_base64"] = None if value is None else b64encode(value).decode()
    return record


def _key_of(message: Message) -> str:
    return (message.key() or b"").decode("utf-8", "replace")


def instant(ms: int) -> str:
    """An instant in UTC with its milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")


def _people(identifiers: list[Mapping[str, str]]) -> str:
    shown = [escaped(f"{entry['type']}:{entry['value']}") for entry in identifiers[:IDENTIFIERS_SHOWN]]
    more = len(identifiers) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _change_line(record: Mapping[str, Any]) -> str:
    if record.get("tombstone"):
        return f"[red]out[/]     {escaped(record['segment_id'])}  [dim]{escaped(record['profile_id'])}[/]"
    colour = "green" if record["change"] == "entered" else "red"
    return (
        f"[dim]{instant(record['occurred_at'])}[/] [{colour}]{record['change']:7}[/] "
        f"[bold]{escaped(record['segment_id'])}[/] [dim]{escaped(record['profile_id'])}[/] "
        f"#{record['sequence']} {escaped(record['cause'])} {_people(record['identifiers'])}".rstrip()
    )


def _profile_line(record: Mapping[str, Any]) -> str:
    if record.get("tombstone"):
        return f"[red]gone[/] [dim]{escaped(record['profile_id'])}[/]"
    traits = " ".join(
        f"{escaped(str(name))}={escaped(str(value))}" for name, value in record["traits"].items()
    )
    inside = ", ".join(escaped(name) for name in sorted(record["memberships"]))
    return (
        f"[dim]{instant(record['updated_at'])}[/] [cyan]{escaped(record['profile_id'])}[/] "
        f"{_people(record['identifiers'])} [dim]{traits}[/] {sum(record['counters'].values())} events"
        + (f" [green]in {inside}[/]" if inside else "")
    )


def _alias_line(record: Mapping[str, Any]) -> str:
    edge = f" [dim]{escaped(record['edge'])}[/]" if record.get("edge") else ""
    return (
        f"[dim]{instant(record['decided_at'])}[/] {escaped(record['old_profile_id'])} → "
        f"[cyan]{escaped(record['profile_id'])}[/] {escaped(record['cause'])}{edge}"
    )


def _review_line(record: Mapping[str, Any]) -> str:
    weight = "" if record["score"] is None else f" weight {record['score']:+.2f}"
    return (
        f"[dim]{instant(record['decided_at'])}[/] [yellow]{escaped(record['kind'])}[/]{weight} "
        f"{_people(record['identifiers'])}"
    )


def _rejected_line(record: Mapping[str, Any]) -> str:
    return (
        f"[yellow]{escaped(record['reason'])}[/] {escaped(record['field'])} {escaped(record['detail'])} "
        f"[dim]{escaped(str(record['topic']))}\\[{record['partition']}] offset {record['offset']}[/]"
    )


FORMS: Final[Mapping[str, tuple[Callable[[Message], dict[str, Any]], Callable[[Mapping[str, Any]], str]]]] = {
    "membership": (_change, _change_line),
    "current": (_change, _change_line),
    "profiles": (profile_to_json, _profile_line),
    "merges": (decode_value, _alias_line),
    "rejected": (_rejected, _rejected_line),
    "review": (_review, _review_line),
}
"""Stream → how its record becomes JSON, and that JSON a line."""
