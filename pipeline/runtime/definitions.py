"""Applies segment definitions to one partition: at a recorded offset, then over the history, then over all.

A change of definitions is one piece of work in bounded steps whose position is committed with the batch they
belong to, so a crash goes on where it was. First the fill: the partition reads its own history again for
window leaves that are new or keep more than before. When every partition has done so, the scan: the changed
segments are evaluated for every component, and leaves are forgotten that no segment asks about any more. A
scan before that would tell of people whose touches another partition has not read again yet.

Touches from the offset on at which the new catalogue was taken into use count live, those below it by the
fill: each exactly once. A further change waits until the work is done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any, Final

import msgspec
import orjson

from ..core.messages import Fill, Filled, Taken
from ..core.node import Component
from ..core.outbox import Cause, Outbox
from ..core.resolver import EMPTY_OBJECT, Resolver
from ..core.segments.catalogue import Catalogue
from ..core.segments.definition import TRAIT, Definition
from ..core.segments.marks import marks_of
from ..core.segments.parse import definition_from_json
from ..core.segments.references import users_of
from ..core.stored import lies_elsewhere
from ..core.touch import EVENT_HASH, Touch, decode_touch
from ..settings import Settings
from . import metrics
from .checkpoint import address_of, partition_of
from .control import Control
from .crashpoints import reach
from .pace import Pace
from .rereading import Rereading
from .store import DEFINITION_KEY, MEMBERS_KEY, SPLIT_KEY, Store, history_key, touch_offset
from .turns import all_reached, next_components

WORK_KEY: Final = DEFINITION_KEY + b"\x00work"  # ids are kebab-case, so no segment is called so
VERSION_MARK: Final = b"\x00"
"""Between id and version: every version that was taken is kept, to explain what was told by it."""
FILL_STEP: Final = 1_000  # touches read again per batch: about 40 ms
SCAN_STEP: Final = 5_000  # components looked at per batch, as far as SCAN_S goes
SCAN_S: Final = 0.03
PAUSE_FACTOR: Final = 1  # while touches come, a step is followed by so many times its own duration
PAUSE_FACTOR_BEHIND: Final = 4  # the same while many wait: a fifth of the time; docs/decisions/0020


class Work(msgspec.Struct):
    """What is left to do for one change of definitions. `offset`: next offset of the definitions topic.

    `sent`, `taken`: fills, and how many of them have arrived. `told`: up to which offset all partitions know
    that those of this one have; `filled`: partition → up to which offset its have, as it told.
    `silent`: those of `initial` whose first population is not told. `unborn`: segments that were paused from
    the first, and so have had none.
    """

    offset: int = 0
    changed: list[str] = []
    initial: list[str] = []
    deleted: list[str] = []
    fill: list[tuple[str, int, bool]] = []
    drop: list[str] = []
    fill_next: int = 0
    fill_end: int = 0
    cursor: str = ""
    done: bool = True
    sent: int = 0
    taken: int = 0
    told: int = 0
    filled: dict[str, int] = {}
    silent: list[str] = []
    unborn: list[str] = []


def version_key(segment_id: str, version: int) -> bytes:
    """State key of one version of a definition."""
    return b"%b%b%b%d" % (DEFINITION_KEY, segment_id.encode(), VERSION_MARK, version)


State = tuple[Work, dict[str, Definition]]


class Definitions:
    """The definitions that one partition has applied, and the work that they still ask for."""

    def __init__(
        self,
        control: Control[Definition],
        settings: Settings,
        touches: str,
        partition: int,
        partitions: int,
        store: Store,
        resolver: Resolver,
        pace: Pace,
    ) -> None:
        self._pace = pace
        self._control = control
        self._partition = partition
        self._partitions = partitions
        self._store = store
        self._resolver = resolver
        self._reader = Rereading(settings, touches, partition)
        self._flushed = False
        self._just_filled = False
        self.work = Work()
        self.applied: dict[str, Definition] = {}
        self._used: tuple[dict[str, Definition], list[str]] | None = None
        self._shown: tuple[int, int] | None = None
        for key, value in store.scan(DEFINITION_KEY):
            if key == WORK_KEY:
                self.work = msgspec.json.decode(value, type=Work)
            elif key not in (MEMBERS_KEY, SPLIT_KEY) and VERSION_MARK not in key[len(DEFINITION_KEY) :]:
                definition = definition_from_json(orjson.loads(value))
                self.applied[definition.id] = definition
        self._use()

    @property
    def next_offset(self) -> int:
        """Next offset of the definitions topic that this partition has not applied."""
        return self.work.offset

    def waiting(self, behind: bool = False) -> bool:
        """Whether there is something to do now, apart from waiting for other partitions.

        `behind`: many touches wait, so less of the time may be taken.
        """
        work = self.work
        if work.done and self._control.view[0] != work.offset:
            return True
        if work.told < work.offset:
            open_steps = work.fill_next < work.fill_end or work.taken >= work.sent
        else:
            open_steps = not work.done and self._all_filled()
        return open_steps and self._pace.allows(PAUSE_FACTOR_BEHIND if behind else PAUSE_FACTOR)

    def flushes(self) -> bool:
        """Whether the next step writes to the disk."""
        return self.work.told >= self.work.offset and not self._flushed

    def _all_filled(self) -> bool:
        """Whether every partition has sent its fills of the present change, or of a later one."""
        return all_reached(self.work.filled, self.work.offset, self._partitions)

    def take(self, message: Filled | Taken) -> None:
        """News of fills, from a partition or from this one. Part of the batch under way."""
        work = self.work
        filled = self._all_filled()
        if isinstance(message, Filled):
            before = work.filled.get(str(message.partition), 0)
            work.filled = {**work.filled, str(message.partition): max(before, message.offset)}
        elif message.offset == work.offset:
            work.taken += message.count
        # Who came to life earlier in this batch was not evaluated, and is not found by a scan before it ends.
        self._just_filled |= not filled and self._all_filled()
        self._save(work)
        self._use()

    def acknowledge(self, outbox: Outbox) -> None:
        """Tell whose fills have arrived in the batch under way."""
        for (partition, offset), count in outbox.taken.items():
            outbox.mail.append((address_of(partition, self._partitions), Taken(offset, count)))
        outbox.taken = {}

    def open_steps(self) -> int:
        """1 while a change of definitions is being worked off."""
        return 0 if self.work.done else 1

    def begin(self, touches_next: int) -> State:
        """Take new definitions into use, if there are any and the last ones are done.

        `touches_next`: touches from this offset on are matched against the new catalogue.
        Returns: what `rollback` needs to undo it and what `step` does in the same batch.
        """
        before = (copy(self.work), self.applied)
        offset, wanted = self._control.view
        if not self.work.done or offset == self.work.offset:
            return before
        old = self._resolver.outputs.catalogue
        moved = {name for name, one in wanted.items() if not self._is_applied(one)}
        deleted = [name for name in self.applied if name not in wanted]
        again = users_of({*moved, *deleted}, wanted)  # What is inside another segment moves its members.
        turned = {name for name in wanted.keys() - moved if wanted[name].paused != self.applied[name].paused}
        resumed = {name for name in turned if not wanted[name].paused}  # Nobody moves when one is paused.
        evaluated = {*moved, *again, *resumed}
        changed = {name: wanted[name] for name in sorted({*moved, *turned})}
        fresh = wanted.keys() & {*self.work.unborn, *(name for name in changed if name not in self.applied)}
        unborn = sorted(name for name in fresh if wanted[name].paused)
        kept = {"told": self.work.told, "filled": self.work.filled, "unborn": unborn}
        work = Work(offset=offset, changed=sorted(evaluated), deleted=deleted,
                    done=not (evaluated or deleted), **kept)  # fmt: skip
        work.initial = sorted(fresh.difference(unborn))
        work.silent = [name for name in work.initial if wanted[name].silent]
        self.applied = dict(self.applied)  # The one before may come back, see `rollback`.
        for name, definition in changed.items():
            last = self.applied.get(name)
            if last is not None:
                least = last.version + (last.content_hash() != definition.content_hash())
                definition = definition.with_version(max(definition.version, least))
            self.applied[name] = definition
            document = orjson.dumps(definition.to_json())
            self._store.put(DEFINITION_KEY + name.encode(), document)
            self._store.put(version_key(name, definition.version), document)
        for name in deleted:
            del self.applied[name]
            self._store.put(DEFINITION_KEY + name.encode(), None)
        new = Catalogue(self.applied.values())
        for key, leaf in new.leaves.items():
            known = old.leaves.get(key)
            if known is None or leaf.capacity > known.capacity:
                work.fill.append((key, leaf.capacity, known is None))
        work.drop = [key for key in old.leaves if key not in new.leaves]
        work.fill_end = touches_next if work.fill else 0
        if not work.fill_end and not self._store.has_components():
            work = Work(offset=offset, **kept)  # Nobody to be evaluated.
        self._flushed = False
        self._save(work)
        self._use()
        reach("definitions.taken")
        return before

    def rollback(self, before: State) -> None:
        """The batch is void: what `begin` and `step` did in it has not happened."""
        work, self.applied = before
        self.work = copy(work)
        self._use()
        self.close()  # The reader of the history has moved on.

    def _use(self) -> None:
        """Evaluate what is applied, changed segments only once their leaves are filled.

        A half-filled leaf would let somebody in who has bought long ago, and out again when that is read.
        """
        pending = [] if self.work.done or self._all_filled() else list(self.work.changed)
        self._resolver.outputs.silent = () if self.work.done else self.work.silent
        self._show(self.open_steps(), self.work.fill_end - self.work.fill_next)
        if self._used is not None and self._used[0] is self.applied and self._used[1] == pending:
            return  # `applied` is replaced, never changed.
        self._used = self.applied, pending
        self._resolver.outputs.use(Catalogue(self.applied.values()), pending)

    def _show(self, pending: int, remaining: int) -> None:
        """Bring the gauges up to date, where something has changed: news of fills come with each batch."""
        if self._shown != (pending, remaining):
            self._shown = pending, remaining
            metrics.DEFINITIONS_PENDING.labels(self._partition).set(pending)
            metrics.BACKFILL_REMAINING.labels(self._partition).set(remaining)

    def _is_applied(self, definition: Definition) -> bool:
        """Whether this is what is applied, apart from a pause."""
        before = self.applied.get(definition.id)
        return before is not None and before.content_hash() == definition.content_hash()

    def _save(self, work: Work) -> None:
        self.work = work
        self._store.put(WORK_KEY, msgspec.json.encode(work))

    async def step(self, now_ms: int, flush_all: Callable[[], Awaitable[None]], behind: bool = False) -> None:
        """Do one step of the work, as part of the batch under way."""
        work = self.work
        if (work.done and work.told >= work.offset) or not self.waiting():
            return  # Nothing is left, or another partition has just taken its turn.
        self._pace.begin()  # It ends when the batch is written.
        if work.fill_next < work.fill_end:
            records = await asyncio.to_thread(self._read)
            self._resolver.outputs.outbox.filled += len(records)
            self._fill(records, now_ms)
        elif work.told < work.offset:
            work.told = work.offset
            for number in range(self._partitions):
                message = Filled(self._partition, work.offset)
                self._resolver.outputs.outbox.mail.append((address_of(number, self._partitions), message))
        elif self._just_filled:
            self._just_filled = False
        else:
            if not self._flushed:
                await flush_all()
                self._flushed = True
            self._scan(now_ms)
        self._save(work)
        self._use()
        reach("definitions.step")

    # -- fill ------------------------------------------------------------------------------------------------

    def _read(self) -> list[Any]:
        """The next records of the history. Moves `fill_next`, at last to `fill_end`."""
        work = self.work
        records, work.fill_next = self._reader.read(work.fill_next, work.fill_end, FILL_STEP)
        return records

    def _fill(self, records: list[Any], now_ms: int) -> None:
        finders = self._resolver.outputs.catalogue.finders
        wanted = {key: (capacity, counts) for key, capacity, counts in self.work.fill}
        keys: list[bytes] = []
        found: list[tuple[Any, Touch, list[tuple[str, int, bool]]]] = []
        for record in records:
            if partition_of(record.key().decode(), self._partitions) != self._partition:
                continue  # It moved when the partition was split: a new one has it.
            touch = decode_touch(record.value())
            finder = finders.get(touch.type)
            if finder is None:
                continue
            properties = {} if touch.properties in EMPTY_OBJECT else orjson.loads(touch.properties)
            leaves = [
                (leaf.key_for(properties), *wanted[leaf.key])
                for leaf in finder.find(properties)
                if leaf.key in wanted
            ]
            if leaves:
                keys.append(history_key(record.key(), record.value()[EVENT_HASH]))
                found.append((record, touch, leaves))
        for (record, touch, leaves), seen in zip(found, self._store.get_all(keys), strict=True):
            if seen is not None and touch_offset(seen) == record.offset():  # Not a repetition of another one.
                fill = Fill(touch.identifiers[0], touch.event_id, touch.occurred_at, leaves, self._partition,
                            self.work.offset)  # fmt: skip
                self.work.sent += self._resolver.fill(touch.identifiers[0], fill, now_ms)

    # -- scan ------------------------------------------------------------------------------------------------

    def _scan(self, now_ms: int) -> None:
        work, store = self.work, self._store
        marks, looked = self._marks(), 0
        until_s = time.monotonic() + SCAN_S
        for root, value in next_components(store, work.cursor):
            if looked >= SCAN_STEP or time.monotonic() > until_s:
                break
            looked += 1
            work.cursor = root
            if root in store.changed_components or value is None or _is_marked(value, marks):
                component = store.component(root, value)
                if component is not None:
                    self._apply(component, now_ms)
        else:
            work.done = True
            work.changed, work.initial, work.silent, work.deleted = [], [], [], []
            work.fill, work.drop, work.cursor = [], [], ""
        self._resolver.outputs.outbox.scanned += looked

    def _marks(self) -> set[bytes] | None:
        """What stands in everything stored that the change can concern; None: look at all."""
        work, deciding = self.work, self._resolver.outputs.deciding
        if any(name.startswith(TRAIT) for name in work.deleted):
            return None
        marks = marks_of(deciding, (name for name in work.changed if name in deciding.segments))
        return None if marks is None else marks.union(one.encode() for one in (*work.deleted, *work.drop))

    def _apply(self, component: Component, now_ms: int) -> None:
        work, outputs = self.work, self._resolver.outputs
        segments = outputs.deciding.segments  # Of a paused segment only those leave who withdrew consent.
        initial = [segments[name] for name in work.initial if name in segments]
        edited = [segments[name] for name in work.changed if name in segments and name not in work.initial]
        changed = outputs.leave_deleted(component, now_ms)
        changed |= outputs.redefine(component, initial, Cause.BACKFILL, now_ms)
        changed |= outputs.redefine(component, edited, Cause.DEFINITION, now_ms)
        if any(name.startswith(TRAIT) for name in work.deleted) and not component.redirect:
            outputs.changed(component, now_ms)  # The profiles are published without the trait.
            changed = True
        changed |= self._drop_leaves(component)
        if changed:
            self._store.save_component(component)

    def _drop_leaves(self, component: Component) -> bool:
        if not self.work.drop or component.redirect:
            return False
        changed = False
        for identifier in component.identifiers:
            facet = component.facet(identifier)
            if facet is not None and any(key in facet.leaves for key in self.work.drop):
                facet = component.own_facet(identifier)
                for key in self.work.drop:
                    facet.leaves.pop(key, None)
                changed = True
        for profile in component.profiles or ():
            for key in self.work.drop:
                profile.fold.leaves.pop(key, None)
        return changed

    def close(self) -> None:
        """Close the reader of the history, if there is one."""
        self._reader.close()


def _is_marked(value: bytes, marks: set[bytes] | None) -> bool:
    """Whether a stored component must be looked at because of one of these texts."""
    return marks is None or any(mark in value for mark in marks) or lies_elsewhere(value)
