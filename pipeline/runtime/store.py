"""The state of one partition: RocksDB below, what is not yet on disk above it, decoded nodes on top.

RocksDB is only a cache of the changelog. Committed values wait in memory and reach it every few seconds, the
changelog position behind them, so it is never ahead of Kafka; a crash only makes the next replay longer. It
must not know what the nodes mean.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Final

from rocksdict import Cache, Rdict, WriteBatch

from ..core.errors import Retryable
from ..core.facet import NEVER
from ..core.node import (
    COMPONENT_KEY,
    Component,
    IdentifierNode,
    armed_of,
    component_key,
    identifier_key,
    page_key,
)
from .cache import Recent
from .position import Position
from .rocks import batch_of, merged, options
from .timers import TIMER_KEY, Timers, timer_key

HISTORY_KEY: Final = b"h"
DEFINITION_KEY: Final = b"s"
MEMBERS_KEY: Final = DEFINITION_KEY + b"\x00members"  # profiles inside each segment, for the metric
SPLIT_KEY: Final = DEFINITION_KEY + b"\x00split"  # see runtime/growing.py
POSITION_KEY: Final = b"\x00position"
_SEEN: Final = struct.Struct(">qq")  # offset in elo.touches, broker time in ms

COMPONENT_BYTES: Final = 1_200  # a decoded component apart from what follows; docs/decisions/0007
FACET_BYTES: Final = 2_000  # a decoded facet; the fold of several counts as another
PACKED_BYTES: Final = 400  # a packed facet, or what was told about one profile id
TYPICAL_BYTES: Final = 6_000  # a component, until those that are there have been weighed
WEIGHED_MAX: Final = 100  # components that stand for all when the cache is fitted to its memory
WEIGH_EVERY: Final = 16  # batches: memory that was once too much does not come back to the system
IDENTIFIER_BYTES: Final = 500  # a decoded identifier node with its key
FLUSH_RECORDS_MAX: Final = 2_000  # records per WriteBatch of a flush: about 3 ms
WRITE_RECORDS_MAX: Final = 5_000  # records per WriteBatch when the changelog is replayed

_MISSING: Final = b"\x00missing"


def history_key(identifier: bytes, event_hash: bytes) -> bytes:
    """Key of the de-dup table: 8 bytes for the identifier and 8 for the event id.

    Two ids of one identifier collide with probability 2^-64 per pair.
    """
    return HISTORY_KEY + blake2b(identifier, digest_size=8).digest() + event_hash


def pack_seen(offset: int, at_ms: int) -> bytes:
    """Value of the de-dup table: where the touch lies in `elo.touches`, and its broker time."""
    return _SEEN.pack(offset, at_ms)


def touch_offset(seen: bytes) -> int:
    """Offset in `elo.touches` of the touch that a value of the de-dup table stands for."""
    return int(_SEEN.unpack(seen)[0])


class Store:
    """One partition's nodes, history and timers. Not thread-safe, except `flush`, which may run beside reads.

    Within a batch, changes are collected; `stage` turns them into changelog records, which the next batch
    builds on while they are committed; `applied` keeps them then. `rollback` forgets what was collected,
    `discard` what is staged.
    """

    def __init__(self, path: Path, cache: Cache, nodes_bytes: int) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.db = Rdict(str(path), options(cache))
        self.timers = Timers()
        self._components_bytes = nodes_bytes * 4 // 5
        self._begun = 0
        self.components: Recent[Component] = Recent(self._components_max(TYPICAL_BYTES))
        self.identifiers: Recent[IdentifierNode] = Recent(max(2000, nodes_bytes // 5 // IDENTIFIER_BYTES))
        self.staged: dict[bytes, bytes | None] = {}
        self.pending: dict[bytes, bytes | None] = {}
        self.flushing: dict[bytes, bytes | None] = {}
        self.changed_components: dict[str, Component] = {}
        self.changed_identifiers: dict[str, IdentifierNode] = {}
        self.dropped: dict[bytes, None] = {}
        self.seen: dict[bytes, bytes] = {}
        self.extra: dict[bytes, bytes | None] = {}
        self.reminders: set[bytes] = set()

    # -- nodes (the resolver's `Nodes`) ---------------------------------------------------------------------

    def identifier(self, identifier: str) -> IdentifierNode | None:
        """The node of an identifier, or None."""
        node = self.identifiers.get(identifier)
        if node is None:
            key = identifier_key(identifier)
            value = None if key in self.dropped else self.get(key)
            if value is None:
                return None
            node = IdentifierNode.decode(value)
            self.identifiers.put(identifier, node)
        return node

    def component(self, root: str, passing: bytes | None = None) -> Component | None:
        """The component of a root with all its pages, or None.

        `passing`: its newest value, found in a walk over all; those that are in use stay in the cache.
        """
        component = self.components.get(root)
        if component is None:
            key = component_key(root)
            if key in self.dropped and root not in self.changed_components:
                return None
            value = self.get(key) if passing is None else passing
            if value is None:
                return None
            component = Component.decode(root, value)
            if not component.redirect:
                for page in range(1, len(component.pages)):
                    stored = self.get(page_key(root, page))
                    if stored is not None:
                        component.load_page(page, stored)
            keep = self.components.put if passing is None else self.components.put_aside
            keep(root, component)
        return component

    def save_identifier(self, identifier: str, node: IdentifierNode) -> None:
        """Keep a new or changed identifier node."""
        self.changed_identifiers[identifier] = node
        self.identifiers.put(identifier, node)

    def save_component(self, component: Component) -> None:
        """Keep a new or changed component."""
        self.changed_components[component.root] = component
        self.components.put(component.root, component)

    def drop_identifier(self, identifier: str) -> None:
        """Forget an identifier node."""
        self.changed_identifiers.pop(identifier, None)
        self.identifiers.drop(identifier)
        self.dropped[identifier_key(identifier)] = None

    def drop_component(self, component: Component) -> None:
        """Forget a component and its pages."""
        self.drop_pages(component)
        self.changed_components.pop(component.root, None)
        self.components.drop(component.root)
        self.dropped[component_key(component.root)] = None

    def drop_pages(self, component: Component) -> None:
        """Forget the facet pages of a component."""
        if not component.redirect:
            for page in range(1, len(component.pages)):
                self.dropped[page_key(component.root, page)] = None

    # -- history --------------------------------------------------------------------------------------------

    def known(self, keys: list[bytes], since_ms: int) -> set[bytes]:
        """Which of the history keys were seen at or after `since_ms`, in committed batches or in this one."""
        found: set[bytes] = set()
        ask: list[bytes] = []
        for key in keys:
            if key in self.seen:
                found.add(key)
            else:
                value = self._in_memory(key)
                if value is _MISSING:
                    ask.append(key)
                elif value is not None and _SEEN.unpack(value)[1] >= since_ms:
                    found.add(key)
        if ask:
            for key, value in zip(ask, self.db.get(ask), strict=True):
                if value is not None and _SEEN.unpack(value)[1] >= since_ms:
                    found.add(key)
        return found

    def see(self, key: bytes, offset: int, now_ms: int) -> None:
        """Remember a touch in the history, with its offset in `elo.touches`."""
        self.seen[key] = pack_seen(offset, now_ms)

    # -- values ---------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, committed or staged."""
        value = self._in_memory(key)
        return self.db.get(key) if value is _MISSING else value  # type: ignore[no-any-return]

    def get_all(self, keys: list[bytes]) -> list[bytes | None]:
        """As `get`, for many keys at once."""
        found = [self._in_memory(key) for key in keys]
        ask = [key for key, value in zip(keys, found, strict=True) if value is _MISSING]
        read = iter(self.db.get(ask) if ask else ())
        return [next(read) if value is _MISSING else value for value in found]

    def newest(self, key: bytes, on_disk: bytes) -> bytes | None:
        """The value of a key, committed or staged, of which the disk has this one."""
        value = self._in_memory(key)
        return on_disk if value is _MISSING else value

    def _in_memory(self, key: bytes) -> bytes | None:
        """The value of a key that is not on disk yet; `_MISSING` if there is none."""
        value = self.staged.get(key, _MISSING)
        if value is _MISSING:
            value = self.pending.get(key, _MISSING)
            if value is _MISSING:
                value = self.flushing.get(key, _MISSING)
        return value

    def value(self, key: bytes) -> bytes | None:
        """The value of a key, as the batch has left it."""
        return self.extra[key] if key in self.extra else self.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        """Change a value that is no component and no identifier, as part of the batch."""
        self.extra[key] = value

    def scan(self, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Committed keys and values on disk with a prefix, ascending, from `start` on. Call `flush` first."""
        iterator = self.db.iter()
        iterator.seek(start or prefix)
        while iterator.valid():
            key = iterator.key()
            if not key.startswith(prefix):
                break
            yield key, iterator.value()
            iterator.next()

    def has_components(self) -> bool:
        """Whether anybody is known here."""
        in_memory = (key for keys in (self.staged, self.pending, self.flushing) for key in keys)
        return (
            bool(self.changed_components)
            or any(key.startswith(COMPONENT_KEY) for key in in_memory)
            or next(self.scan(COMPONENT_KEY), None) is not None
        )

    # -- life of a batch ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a batch. Only here the caches let go: what it changes must stay until it is staged."""
        self._begun += 1
        if self._begun % WEIGH_EVERY == 0 and (found := self.components.sample(WEIGHED_MAX)):
            self.components.size = self._components_max(sum(map(_weight, found)) // len(found))
        self.components.shrink()
        self.identifiers.shrink()

    def _components_max(self, weight: int) -> int:
        """How many components of `weight` bytes may be kept."""
        return max(200, self._components_bytes // weight)

    def stage(self) -> dict[bytes, bytes | None]:
        """End the batch; what was staged before is applied. Returns its changelog records: last value of each
        changed key; None is a tombstone.
        """
        records: dict[bytes, bytes | None] = dict.fromkeys(self.dropped)
        for identifier, node in self.changed_identifiers.items():
            records[identifier_key(identifier)] = node.encode()
        for root, component in self.changed_components.items():
            for page in component.dirty_pages:
                if page:
                    records[page_key(root, page)] = component.encode_page(page)
            records[component_key(root)] = component.encode()
            component.written()
        records.update(self.extra)
        self.staged = {**records, **self.seen}
        self._end_batch()
        return records

    def applied(self) -> None:
        """What is staged is committed: it goes to the disk with the next flush."""
        self.pending.update(self.staged)
        self.staged = {}

    def discard(self) -> None:
        """What is staged is void. The batch that was built on it must be rolled back before."""
        self.staged = {}
        self.rollback()

    def rollback(self) -> None:
        """The batch is void: forget every decoded node, for any of them may have been changed."""
        self.components.clear()
        self.identifiers.clear()
        self._end_batch()

    def _end_batch(self) -> None:
        self.changed_components, self.changed_identifiers = {}, {}
        self.dropped, self.seen, self.extra = {}, {}, {}

    # -- disk -----------------------------------------------------------------------------------------------

    def position(self) -> Position | None:
        """The position of what is on disk; None if there is nothing usable."""
        value = self.db.get(POSITION_KEY)
        return None if value is None else Position.decode(value)

    def begin_flush(self, unpublished: Mapping[str, int]) -> None:
        """Set aside what `flush` will write. Call on the thread that uses the store.

        `unpublished`: root → due ms of components that wait for publication. A restart finds them again by
        their timers, which are written only here: most are published before it comes to that.
        """
        reminders = {timer_key(due_ms, root) for root, due_ms in unpublished.items()}
        self.pending |= dict.fromkeys(self.reminders - reminders)
        self.pending |= dict.fromkeys(reminders - self.reminders, b"")
        self.reminders = reminders
        self.flushing, self.pending = self.pending, {}

    def flush(self, position: Position) -> None:
        """Write what `begin_flush` set aside and the position that it belongs to.

        May run on another thread. In parts, for a write holds the interpreter lock and takes memory; the
        position comes last, so that after a crash in between the replay writes the same values again.
        """
        waiting = iter(self.flushing.items())
        while part := list(islice(waiting, FLUSH_RECORDS_MAX)):
            self._write(batch_of(part))
        self._write(batch_of([(POSITION_KEY, position.encode())]))

    def _write(self, batch: WriteBatch) -> None:
        try:
            self.db.write(batch)
        except Exception as error:  # rocksdict has no class for it: a full disk, most of the time.
            raise Retryable("local state cannot be written, look at the disk", error=error) from error

    def end_flush(self) -> None:
        """What was set aside is on disk. Call on the thread that uses the store."""
        self.flushing = {}

    def restore(self, records: Iterable[tuple[bytes, bytes | None]], position: Position) -> None:
        """Apply replayed changelog records (or history) and their position. The last value of a key wins."""
        batch = WriteBatch(raw_mode=True)
        for key, value in records:
            if value is None:
                batch.delete(key)
                continue
            batch.put(key, value)
            if key[:1] == COMPONENT_KEY and (due_ms := armed_of(value)) != NEVER:
                batch.put(timer_key(due_ms, key[1:].decode()), b"")
        batch.put(POSITION_KEY, position.encode())
        self._write(batch)

    def restore_history(self, records: Iterable[tuple[bytes, bytes]], position: Position) -> None:
        """Apply replayed history. The first touch of a key stays: a repetition must not take its place."""
        first: dict[bytes, bytes] = {}
        for key, value in records:
            first.setdefault(key, value)
        keys = list(first)
        known = self.db.get(keys) if keys else []
        self.restore(
            ((key, first[key]) for key, value in zip(keys, known, strict=True) if value is None), position
        )

    def set_timer(self, due_ms: int, root: str) -> None:
        """Set a timer of a component whose stored `armed` says the same."""
        self.pending[timer_key(due_ms, root)] = b""
        self.timers.add(due_ms, root)

    def clear_timer(self, due_ms: int, root: str) -> None:
        """Forget a timer that has fired."""
        self.pending[timer_key(due_ms, root)] = None

    def extend_timers(self, now_ms: int) -> None:
        """Bring timers that come near into memory."""
        start = timer_key(self.timers.horizon_ms, "")
        fresh = {
            key for waiting in (self.flushing, self.pending) for key, value in waiting.items()
            if value is not None and key[:1] == TIMER_KEY and key >= start
        }  # fmt: skip
        self.timers.extend(merged(sorted(fresh), (key for key, _ in self.scan(TIMER_KEY, start))), now_ms)

    def size_bytes(self) -> int:
        """Size of the files on disk, bytes."""
        return sum(file["size"] for file in self.db.live_files())

    def close(self) -> None:
        """Close the files. What was not flushed is replayed from the changelog next time."""
        with contextlib.suppress(Exception):  # A disk that failed fails again here; it was said before.
            self.db.close()


def _weight(component: Component) -> int:
    """Memory of a decoded component, bytes, roughly."""
    facets = len(component.facets)
    folds = 1 if len(component.identifiers) > 1 else 0
    return (
        COMPONENT_BYTES
        + FACET_BYTES * (facets + folds)
        + PACKED_BYTES * (len(component.packed) + len(component.entries))
    )
