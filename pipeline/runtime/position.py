"""How far the local state of a partition has come, as it is stored beside it."""

from __future__ import annotations

from typing import Final

import orjson

STATE_VERSION: Final = 1


class Position:
    """How far the local state has come: next offsets of the changelog and of the history, and when.

    `topic_id` names the incarnation of the changelog topic; a state of another one is worthless.
    """

    __slots__ = ("at_ms", "state_next", "topic_id", "touches_next")

    def __init__(self, topic_id: str, state_next: int = 0, touches_next: int = 0, at_ms: int = 0) -> None:
        self.topic_id = topic_id
        self.state_next = state_next
        self.touches_next = touches_next
        self.at_ms = at_ms

    def encode(self) -> bytes:
        """The stored form."""
        return orjson.dumps([STATE_VERSION, self.topic_id, self.state_next, self.touches_next, self.at_ms])

    @classmethod
    def decode(cls, value: bytes) -> Position | None:
        """The stored position; None if another version of the program wrote it."""
        version, *fields = orjson.loads(value)
        return cls(*fields) if version == STATE_VERSION else None
