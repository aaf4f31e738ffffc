"""The CPU of one touchpoint, stage by stage, in this process and without Kafka: to find the next microsecond.

One partition, so no mail and no joins across partitions; the stages are those of the intake and of the task,
called in their order on batches of the size that a loaded worker takes. Kafka's clients are not in it.
"""

from __future__ import annotations

import cProfile
import gc
import pstats
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rocksdict import Cache

from pipeline.core.errors import Rejection
from pipeline.core.outbox import Outbox
from pipeline.core.outputs import Outputs
from pipeline.core.policy import Policy
from pipeline.core.resolver import Resolver
from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.definition import Definition
from pipeline.core.segments.parse import definition_from_json, parse_definitions
from pipeline.core.touch import EVENT_HASH, Touch, decode_touch, encode_touch
from pipeline.core.touchpoint import TouchpointReader
from pipeline.runtime.store import Position, Store, history_key
from pipeline.settings import load_policy, load_settings
from pipeline.wire.avro import TouchpointDecoder
from pipeline.wire.records import encode_membership_change

from .elo import DEFINITIONS
from .generator import touchpoints
from .load import encode
from .options import Options

BATCH: Final = 2_000
CACHE_BYTES: Final = 48 * 1024 * 1024
SHOWN: Final = 45


class HotPath:
    """Intake and resolver of one partition, with a clock for each stage."""

    def __init__(self, work: Path, now_ms: int, definitions: int = 3, policy: Policy | None = None) -> None:
        """`policy`: another one than the shipped policy."""
        settings = load_settings()
        policy = policy or load_policy(settings)
        self.now_ms = now_ms
        self.reader = TouchpointReader(policy, settings.sources, TouchpointDecoder())
        self.store = Store(work / "partition-0", Cache(CACHE_BYTES), settings.cache_mb * 1024 * 1024)
        job = parse_definitions(DEFINITIONS.read_text(encoding="utf-8"))
        catalogue = Catalogue([*job, *unconcerned(definitions - len(job))])
        key = settings.profile_key.get_secret_value().encode()
        self.outputs = Outputs(policy, catalogue, self.store, key, settings.profile_interval_ms)
        self.resolver = Resolver(policy, self.store, self.outputs, lambda _: True)
        self.seconds: dict[str, float] = {}
        self.outbox = Outbox()
        """Of the last batch."""
        self._next_offset = 0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the CPU of what is inside for a stage."""
        started = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - started

    def handle(self, values: Sequence[bytes]) -> None:
        """One batch of touchpoints, through everything but Kafka."""
        with self.stage("intake: decode, check, normalise"):
            read = [self.reader.read(value, self.now_ms) for value in values]
        with self.stage("intake: encode the touch"):
            touches = keyed(touch for touch in read if not isinstance(touch, Rejection))
        self.resolve(touches)

    def resolve(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        """One batch of touches with their keys, from what the resolver reads to what it keeps."""
        outbox = self.outputs.outbox = Outbox()
        with self.stage("resolver: known event ids"):
            keys = [history_key(key, value[EVENT_HASH]) for key, value in records]
            known = self.store.known(keys, 0)
        with self.stage("resolver: decode the touch"):
            decoded = [decode_touch(value) for _, value in records]
        with self.stage("resolver: identities, profiles, segments"):
            for key, touch in zip(keys, decoded, strict=True):
                self._next_offset += 1
                if key not in known and key not in self.store.seen:
                    self.store.see(key, self._next_offset, self.now_ms)
                    self.resolver.touch(touch, self.now_ms)
        with self.stage("resolver: timers"):
            armed = []
            for root, component in self.store.changed_components.items():
                due_ms = self.resolver.next_due(component)
                if due_ms < component.armed:
                    component.armed = due_ms
                    armed.append((due_ms, root))
        with self.stage("resolver: encode nodes"):
            self.store.stage()
        with self.stage("resolver: encode membership changes"):
            for change in outbox.changes:
                encode_membership_change(change)
        with self.stage("resolver: keep the batch"):
            self.store.applied()
            self.store.begin()
            for due_ms, root in armed:
                self.store.set_timer(due_ms, root)

        self.outbox = outbox

    def flush(self) -> None:
        """Write what was kept to the disk."""
        with self.stage("disk: one write batch"):
            self.store.begin_flush({})
            self.store.flush(Position("hotpath"))
            self.store.end_flush()


def keyed(touches: Iterable[Touch]) -> list[tuple[bytes, bytes]]:
    """Touches as they lie in `elo.touches`: with the key that routes them."""
    return [(touch.identifiers[0].encode(), encode_touch(touch)) for touch in touches]


def unconcerned(count: int) -> Iterator[Definition]:
    """Definitions that no touchpoint of the reference job concerns, of several kinds."""
    for number in range(count):
        event: dict[str, Any] = {"event": f"other_{number}", "within": "30d"}
        other: dict[str, Any] = {"event": "product_viewed", "where": {"category": f"other {number}"}}
        where = (
            {**other, "within": "7d"},
            {"all": [event, {"trait": f"trait {number}", "is": "a"}]},
            {"all": [{**other, "sum": "price", "gt": 10}, {"none": [event]}]},
            {"all": [{"consent": f"purpose {number}"}, {"has": "email"}]},
            {"sequence": [{"event": f"other_{number}"}, {"event": f"then_{number}"}], "within": "7d"},
        )[number % 5]
        yield definition_from_json({"id": f"other-{number}", "where": where})


def run_hotpath(options: Options, work: Path) -> None:
    """Print the CPU of each stage over `n` touchpoints; then by function, from a second run."""
    now_ms = time.time_ns() // 1_000_000
    values = [encode(event.record) for event in touchpoints(options.n, options.seed, now_ms)]
    batches = [values[start : start + BATCH] for start in range(0, len(values), BATCH)]
    gc.disable()  # As in a worker.
    path = HotPath(work / "clock", now_ms, options.definitions)
    for batch in batches:
        path.handle(batch)
    path.flush()
    for name, seconds in path.seconds.items():
        print(f"{seconds / options.n * 1e6:7.2f} us  {name}")
    total_us = sum(path.seconds.values()) / options.n * 1e6
    print(f"{total_us:7.2f} us  for each of {options.n:,} touchpoints\n", flush=True)
    path = HotPath(work / "profile", now_ms, options.definitions)
    profiler = cProfile.Profile()
    profiler.enable()
    for batch in batches:
        path.handle(batch)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(SHOWN)
