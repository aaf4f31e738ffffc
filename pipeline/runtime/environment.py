"""What all tasks of a worker share."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import TopicPartition
from rocksdict import Cache

from ..core.policy import Policy
from ..core.published import Published
from ..core.segments.definition import Definition
from ..settings import Settings
from ..topics import Topics
from .control import Control
from .pace import Pace
from .traces import Traces
from .watchdog import Watchdog

if TYPE_CHECKING:
    from .otel import Spans


@dataclass(frozen=True, slots=True)
class Environment:
    """Settings, threads, caches; the callables are the transport's: topic, partition, offset or state.

    `policy`: that of the file; `understood`: to be told a policy that every partition has taken.
    `nodes_bytes`: memory for the decoded nodes of one partition. `membership`: what a transaction shows of
    this member of the group, None while it is none. `claim`: commit an offset with its note, False if it must
    be tried again. `wake`: there is work for the processor. `reopen`: open abandoned partitions again, from
    what is committed.
    """

    settings: Settings
    topics: Topics
    policy: Published
    partitions: int
    executor: Executor
    cache: Cache
    control: Control[Definition]
    policies: Control[Published]
    understood: Callable[[Policy], None]
    nodes_bytes: int
    at_end: Callable[[str, int, int], bool]
    has_read: Callable[[str, int, int, int], bool]
    membership: Callable[[], Any]
    claim: Callable[[TopicPartition], Awaitable[bool]]
    start: Callable[[str, int, int], int]
    rewind: Callable[[str, int, int], int]
    pause: Callable[[str, int, bool], None]
    data_dir: Path
    transactional_id: str
    wake: Callable[[], None]
    reopen: Callable[[], None]
    watchdog: Watchdog
    pace: Pace = field(default_factory=Pace)
    traces: Traces = field(default_factory=Traces)
    spans: Spans | None = None

    @property
    def history_ms(self) -> int:
        """How long touches are kept. No change of policy changes it."""
        return self.policy.policy.history_ms


def wall_ms() -> int:
    """The wall clock, ms since the epoch."""
    return time.time_ns() // 1_000_000
