"""What operators, and a destination that answers 410, have said: the topic `elo.destinations`, compacted.

Two kinds of key: `DESTINATION` holds the state that was asked for, `DESTINATION|SEGMENT|VERSION` what to do
with the initial population of a definition. So no two of them ever overwrite each other.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class State(StrEnum):
    """What a destination does."""

    RUNNING = "running"
    PAUSED = "paused"  # by an operator
    DISABLED = "disabled"  # it answered 410, or failed for too long


class Backfill(StrEnum):
    """What to do with the initial population of a segment definition."""

    ASK = "ask"  # stop the partition until somebody has said it
    SEND = "send"
    SKIP = "skip"


class Command(msgspec.Struct, frozen=True):
    """One record, JSON. `answer` is a State or a Backfill; `at` in ms."""

    answer: str
    by: str
    reason: str
    at: int


def state_key(destination: str) -> str:
    """The key of the state of a destination."""
    return destination


def backfill_key(destination: str, segment_id: str, version: int) -> str:
    """The key of the answer for one version of a segment definition."""
    return f"{destination}|{segment_id}|{version}"


def encode_command(command: Command) -> bytes:
    """The value of a record."""
    return msgspec.json.encode(command)


def decode_command(key: str, value: bytes) -> Command:
    """A record. Raises ValueError when it is none."""
    return msgspec.json.decode(value, type=Command)
