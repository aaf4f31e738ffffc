"""What the intake would say to a letter now, with a fix or without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.core.decision_reader import DecisionReader
from pipeline.core.errors import Reason, Rejection
from pipeline.core.policy import Policy
from pipeline.core.touchpoint import TouchpointReader
from pipeline.topics import Topics
from pipeline.wire.avro import TouchpointDecoder
from pipeline.wire.registry import MAGIC

from .fix import Fix
from .letters import Letter


@dataclass(frozen=True, slots=True)
class Judged:
    """A letter and what would be sent for it: `value` with no `rejection`, or why it cannot be."""

    letter: Letter
    value: bytes | None
    rejection: Rejection | None = None


class Judge:
    """Judges as the intake does, by one policy."""

    def __init__(self, policy: Policy, sources: tuple[str, ...], topics: Topics) -> None:
        self._topics = topics
        self._decode = TouchpointDecoder()
        self._reader = TouchpointReader(policy, sources, self._decode)
        self._decisions = DecisionReader(policy)

    def judge(self, letter: Letter, fix: Fix | None, now_ms: int) -> Judged:
        """What sending it would give. Without a fix the bytes are those that were rejected."""
        if letter.topic not in (*self._topics.touchpoints, self._topics.decisions):
            # A touch is in the history already: after a restore its event id would count as known.
            return _refused(letter, f"what came from {letter.topic} cannot be sent again")
        value = letter.value
        if fix is not None:
            document = self.document_of(letter, fix)
            if isinstance(document, Rejection):
                return Judged(letter, None, document)
            try:
                value = orjson.dumps(fix.mend(document, letter.position))
            except (ValueError, TypeError) as error:
                return _refused(letter, str(error))
        if letter.topic == self._topics.decisions:
            told = self._decisions.read(letter.key, value, letter.timestamp, now_ms)
        else:
            told = self._reader.read(value, now_ms)
        return Judged(letter, None, told) if isinstance(told, Rejection) else Judged(letter, value)

    def document_of(self, letter: Letter, fix: Fix | None = None) -> dict[str, Any] | Rejection:
        """The touchpoint as JSON, `traits` and `properties` as objects where they can be read."""
        value = letter.value or b""
        if value[:1] == bytes([MAGIC]):
            record = self._decode(value)
            if isinstance(record, Rejection):
                return record
        else:
            try:
                text = value.decode("utf-8-sig")
                record = orjson.loads(fix.mend_text(text) if fix else text)
            except ValueError as error:
                return Rejection(Reason.MALFORMED_JSON, detail=str(error))
            if not isinstance(record, dict):
                return Rejection(Reason.MALFORMED_JSON, detail="must be an object")
        for name in ("traits", "properties"):
            if isinstance(record.get(name), str):
                try:
                    opened = orjson.loads(record[name])
                except ValueError:
                    continue
                record[name] = opened if isinstance(opened, dict) else record[name]
        return record

    def producer_of(self, letter: Letter) -> str:
        """Who sent it, as far as it says: the library of its context."""
        document = self.document_of(letter)
        context = None if isinstance(document, Rejection) else document.get("context")
        library = context.get("library") if isinstance(context, dict) else None
        return library if isinstance(library, str) else ""


def _refused(letter: Letter, detail: str) -> Judged:
    return Judged(letter, None, Rejection(Reason.INVALID_FIELD, detail=detail))
