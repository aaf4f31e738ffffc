"""Segment definitions that change while a cluster runs: the real `Definitions` over a control and a history
in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pipeline.core.segments.definition import Definition
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import decode_touch
from pipeline.runtime import definitions as runtime
from pipeline.runtime.pace import Pace
from tests.support.memory import Partition
from tests.support.segment_oracle import id_of


class MemoryControl:
    """What `segments.definitions` holds. `view`: next offset, definitions by id."""

    def __init__(self, definitions: Iterable[Mapping[str, Any]] = ()) -> None:
        self.view: tuple[int, dict[str, Definition]] = (0, {})
        for definition in definitions:
            self.apply(definition)

    def apply(self, definition: Mapping[str, Any], **flags: bool) -> None:
        """Add a definition or edit it, as `elo segments apply` does: it stays paused. `flags`: of a new."""
        offset, known = self.view
        new, old = definition_from_json(definition), known.get(id_of(definition))
        if old is not None:
            flags = {"paused": old.paused, "silent": old.silent}
        self.view = offset + 1, {**known, new.id: replace(new, **flags)}

    def pause(self, segment_id: str, paused: bool = True) -> None:
        """Pause a segment, or resume it."""
        offset, known = self.view
        definition = replace(known[segment_id], paused=paused)
        self.view = offset + 1, {**known, segment_id: definition}

    def delete(self, segment_id: str) -> None:
        """Delete one of them."""
        offset, known = self.view
        self.view = offset + 1, {name: one for name, one in known.items() if name != segment_id}


class Record:
    """A touch as the history reader hands it out."""

    def __init__(self, offset: int, value: bytes) -> None:
        self._offset, self._value = offset, value

    def offset(self) -> int:
        """Its offset in `elo.touches`."""
        return self._offset

    def key(self) -> bytes:
        """Its strongest identifier."""
        return decode_touch(self._value).identifiers[0].encode()

    def value(self) -> bytes:
        """The encoded touch."""
        return self._value


class MemoryDefinitions(runtime.Definitions):
    """The definitions of one partition; `_read` takes the history from the partition's log."""

    def __init__(self, control: MemoryControl, partition: Partition) -> None:
        self._logs = partition.logs
        store: Any = partition.store
        settings: Any = None
        super().__init__(
            control, settings, "", partition.number, partition.cluster.size, store, partition.resolver, Pace()
        )

    def _read(self) -> list[Any]:
        work = self.work
        end = min(work.fill_next + runtime.FILL_STEP, work.fill_end)
        values = [value for _, value in self._logs.touches[work.fill_next : end]]
        records = [Record(work.fill_next + at, value) for at, value in enumerate(values)]
        work.fill_next = end
        return records

    def run_step(self, now_ms: int) -> None:
        """Do one step of the work."""
        if self.waiting():
            asyncio.run(self.step(now_ms, _flush_all))


async def _flush_all() -> None:
    """Everything is committed already."""
