"""What stands on `segments.definitions`, and putting something there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from ..core.errors import ConfigError
from ..core.segments.definition import Definition
from ..core.segments.parse import definition_from_json
from ..settings import Settings
from .kafka import connect, partitions_of, read_to_end, send_all


@dataclass(frozen=True, slots=True)
class Stored:
    """The newest record of one segment id. `applied_at` is the record's timestamp, in ms.

    `content_hash` None: another version of Elo wrote it, in a form that this one does not know.
    """

    id: str
    deleted: bool
    version: int
    document: Mapping[str, Any]
    content_hash: str | None
    applied_at: int

    def to_json(self) -> dict[str, Any]:
        """The definition as it is on the topic, with `applied_at` in ms."""
        return {**self.document, "applied_at": self.applied_at}

    def applied_at_text(self) -> str:
        """The instant in UTC, to the second."""
        return datetime.fromtimestamp(self.applied_at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def read_stored(settings: Settings) -> dict[str, Stored]:
    """Segment id → its newest record, tombstones included as long as compaction leaves them."""
    topic = settings.topics().definitions
    partitions = partitions_of(connect(settings), [topic])[topic]
    found: dict[str, Stored] = {}
    for message in read_to_end(settings, topic, partitions):
        name = (message.key() or b"").decode("utf-8", "replace")
        found[name] = _read(name, message.value(), message.timestamp()[1])
    return found


def in_force(stored: Mapping[str, Stored]) -> dict[str, Definition]:
    """Segment id → the definition that is applied, those of another version of Elo left out."""
    return {
        name: definition_from_json(one.document)
        for name, one in stored.items()
        if not one.deleted and one.content_hash is not None
    }


def send(settings: Settings, records: Iterable[tuple[str, Definition | None]]) -> None:
    """Publish definitions, None for a deletion, and wait until the broker has them."""
    topic = settings.topics().definitions
    send_all(
        settings,
        topic,
        [
            (name.encode(), None if definition is None else orjson.dumps(definition.to_json()))
            for name, definition in records
        ],
    )


def _read(name: str, value: bytes | None, applied_at: int) -> Stored:
    if value is None:
        return Stored(name, True, 0, {}, None, applied_at)
    document = _loads(value)
    try:
        definition = definition_from_json(document)
    except ConfigError:
        known = document if isinstance(document, dict) else {"id": name}
        version = known.get("version")
        return Stored(name, False, version if isinstance(version, int) else 1, known, None, applied_at)
    return Stored(name, False, definition.version, document, definition.content_hash(), applied_at)


def _loads(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
