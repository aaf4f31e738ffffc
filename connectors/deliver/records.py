"""The records of `elo.deliveries`: changes that wait for another attempt, and letters.

A letter is a change that was given up; it waits until somebody sends it again. Key:
`destination|change_id`; a tombstone says that the change was delivered. They lie on the partition that the
change has on `segments.membership`, so whoever delivers it reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec
from confluent_kafka import Message

from pipeline.core.errors import InvariantViolation, Rejection
from pipeline.core.touchpoint import TRACEPARENT
from pipeline.wire.avro import decode_record

from .lane import Pending

FORMAT: Final = 1


class Status(StrEnum):
    """What a record waits for."""

    WAITING = "waiting"
    LETTER = "letter"


class LetterReason(StrEnum):
    """Why a change was given up: docs/reference/delivery.md."""

    REFUSED = "refused"
    EXHAUSTED = "exhausted"
    UNADDRESSABLE = "unaddressable"


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record. `value`: as on `segments.membership`; instants in ms; `at`: when it was written."""

    format: int
    status: Status
    destination: str
    value: bytes
    offset: int
    at: int
    attempts: int = 0
    failed_at: int = 0
    due_at: int = 0
    alone: bool = False
    reason: str = ""
    detail: str = ""
    redriven: bool = False
    traceparent: str = ""

    def pending(self) -> Pending:
        """The change as a lane takes it in."""
        return Pending(
            decode_change(self.value), self.value, self.offset, self.attempts, self.failed_at, self.due_at,
            self.alone, stored=True, redriven=self.redriven, traceparent=self.traceparent,
        )  # fmt: skip


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Stored)


def key_of(destination: str, change_id: str) -> bytes:
    """The key of a record."""
    return f"{destination}|{change_id}".encode()


def destination_of(key: bytes) -> str:
    """The destination that a key names; names hold no `|`."""
    return key.decode("utf-8", "replace").partition("|")[0]


def encode_stored(stored: Stored) -> bytes:
    """The value of a record."""
    return _ENCODER.encode(stored)


def decode_stored(value: bytes) -> Stored:
    """A record. Raises InvariantViolation when a newer version of Elo wrote it."""
    try:
        stored = _DECODER.decode(value)
    except msgspec.DecodeError as error:
        raise InvariantViolation("elo.deliveries holds a record that this version cannot read") from error
    if stored.format != FORMAT:
        raise InvariantViolation("elo.deliveries was written by another version", format=stored.format)
    return stored


def traceparent_of(message: Message) -> str:
    """The trace that a change belongs to, by the headers of its record; empty without one."""
    headers: Sequence[tuple[str, str | bytes | None]] = message.headers() or ()
    found = next((given for name, given in headers if name == TRACEPARENT), None) or b""
    return found if isinstance(found, str) else found.decode("utf-8", "replace")


def decode_change(value: bytes) -> dict[str, object]:
    """A MembershipChange as plain data. Raises InvariantViolation when it is none."""
    record = decode_record(value)
    if isinstance(record, Rejection) or "change_id" not in record:
        raise InvariantViolation("segments.membership holds a record that is no membership change")
    return record
