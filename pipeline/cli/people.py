"""What matching commands work on: records of a file, or the profiles of a deployment; and models."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, cast

import typer

from .options import Common, fail

if TYPE_CHECKING:
    from ..core.matching.matcher import Matcher
    from ..core.matching.model import Model
    from ..core.matching.record import Record

RecordFile = Annotated[
    Path, typer.Argument(metavar="SET", help="JSON Lines, also gzipped; - is standard input")
]
RecordFileOrProfiles = Annotated[
    Path | None,
    typer.Argument(
        metavar="[SET]",
        help="JSON Lines, also gzipped; - is standard input; without it the profiles",
    ),
]
ModelName = Annotated[
    str,
    typer.Option("--model", metavar="MODEL", help="a model's file, or `shipped`, instead of learning one"),
]
STANDARD_INPUT: Final = Path("-")
SHIPPED: Final = "shipped"
LEARNED: Final = ""
GZIP_MARK: Final = b"\x1f\x8b"
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
LINE_BYTES_MAX: Final = 1 << 20
"""No record of a person is longer."""


@dataclass(slots=True)
class People:
    """Comparison records in the order in which they were read, and whose they are where that is known."""

    records: list[Record] = field(default_factory=list)
    truth: dict[str, str] = field(default_factory=dict)


def read_people(common: Common, path: Path | None) -> People:
    """The records of a file, or of the profiles of a deployment. Ends the command if there is none."""
    return read_profiles(common) if path is None else read_set(path)


def read_set(path: Path) -> People:
    """The records of a file. Ends the command if a line is not a record."""
    from ..core.matching.record import Record

    people = People()
    seen: set[str] = set()
    try:
        for number, line in _lines(path):
            if not line.strip():
                continue
            record = _record_of(line)
            if record is None:
                fail(
                    f"{path}:{number} is no record; a record is a JSON object of at most 1 MiB with a text "
                    "record_id on one line, and fields, an object of texts, whole numbers and nulls"
                )
            name = record["record_id"]
            if name in seen:
                fail(f"{path}:{number} repeats record {name}; ids must differ")
            seen.add(name)
            people.records.append(Record(name, record["fields"]))
            if record.get("entity_id") is not None:
                people.truth[name] = str(record["entity_id"])
    except (OSError, EOFError, zlib.error) as error:
        fail(f"{path} cannot be read as JSON Lines ({error}); name a .jsonl or .jsonl.gz file")
    if not people.records:
        fail(f"{path} holds no record")
    return people


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers; of one that is too long, as much as shows that it is."""
    with nullcontext(sys.stdin.buffer) if path == STANDARD_INPUT else path.open("rb") as opened:
        plain = cast(BufferedReader, opened)
        zipped = plain.peek(len(GZIP_MARK)).startswith(GZIP_MARK)  # a pipe cannot be read again
        file = cast(BinaryIO, gzip.GzipFile(fileobj=plain)) if zipped else plain
        number = 1
        while line := file.readline(LINE_BYTES_MAX + 1):
            yield number, line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
            number += 1


def _record_of(line: bytes) -> dict[str, Any] | None:
    import orjson

    if len(line) > LINE_BYTES_MAX:
        return None
    try:
        record = orjson.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    name, fields = record.get("record_id"), record.get("fields")
    if not isinstance(name, str) or not name or not name.isprintable() or not isinstance(fields, dict):
        return None
    told = {key: value for key, value in fields.items() if value is not None}
    if not all(isinstance(value, str | int) and not isinstance(value, bool) for value in told.values()):
        return None
    return {**record, "fields": {key: str(value) for key, value in told.items()}}


def read_profiles(common: Common) -> People:
    """A record of each profile that is published, named by its id."""
    from ..core.matching.person import fields_of
    from ..core.matching.record import Record
    from .kafka import connect, partitions_of, read_to_end
    from .records import profile_to_json

    settings = common.settings()
    topic = settings.topics().profiles
    newest: dict[str, Record | None] = {}
    for message in read_to_end(settings, topic, partitions_of(connect(settings), [topic])[topic]):
        profile = profile_to_json(message)
        name = profile["profile_id"]
        newest.pop(name, None)
        if not profile.get("tombstone"):
            identifiers = [(one["type"], one["value"]) for one in profile["identifiers"]]
            newest[name] = Record(name, fields_of(profile["traits"], identifiers))
    people = People([record for _, record in sorted(newest.items()) if record is not None])
    if not people.records:
        fail(f"{topic} holds no profile; name a file of records instead")
    return people


def read_model_file(name: str) -> Model:
    """The model of a file, or the shipped one. Ends the command if the file holds none."""
    import orjson

    from ..core.matching.document import MalformedModel, read_model
    from ..core.matching.shipped import shipped_model

    if name == SHIPPED:
        return shipped_model()
    try:
        return read_model(orjson.loads(Path(name).read_bytes()))
    except (OSError, MalformedModel, ValueError) as error:
        fail(f"{name} cannot be used as a model: {error}")


def matcher_of(people: People, model: str) -> Matcher:
    """A matcher with a model that is read, or, where none is named, learned from the records themselves."""
    from ..core.matching.matcher import Matcher

    matcher = Matcher(people.records, None if model == LEARNED else read_model_file(model))
    if model == LEARNED:
        matcher.train()
    return matcher
