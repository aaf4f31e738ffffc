"""Settings of the transport: one frozen value, checked when it is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from faust.types.tuples import TP

from .errors import ConfigurationError

CONSUMER_DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "session.timeout.ms": 10_000,
        "heartbeat.interval.ms": 2_000,
        "fetch.wait.max.ms": 20,  # also bounds how long a resumed partition waits for the fetch under way
        "fetch.queue.backoff.ms": 20,
        "fetch.error.backoff.ms": 100,
        "queued.min.messages": 10_000,  # what a pause throws away and a resume fetches again: keep it small
        "queued.max.messages.kbytes": 32_768,
        "fetch.max.bytes": 16 * 1024 * 1024,
        "allow.auto.create.topics": False,
        "socket.nagle.disable": True,
        "topic.metadata.refresh.interval.ms": 30_000,  # a topic that appears later is found within this time
    }
)
"""librdkafka settings that suit a low-latency exactly-once reader; `consumer_config` may override each."""

RESERVED: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "partition.assignment.strategy": "cooperative-sticky",
    }
)
"""Settings the transport depends on. Setting one of them to another value is refused."""


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """How the consumer behaves. Callbacks run on the event loop's thread and must not block."""

    group_id: str
    """Consumer group. It may differ from the Faust application's id."""
    consumer_config: Mapping[str, Any] = field(default_factory=dict)
    """Further librdkafka settings (`bootstrap.servers`, security, sizes), on top of CONSUMER_DEFAULTS."""
    follows: Mapping[str, str] = field(default_factory=dict)
    """Follower -> lead: partition p of the follower is read wherever partition p of the lead is."""
    lone: AbstractSet[str] = frozenset()
    """Followers that have one partition, whatever their lead has: it is read wherever its partition 0 is."""
    own_offsets: AbstractSet[str] = frozenset()
    """Topics whose offsets are committed elsewhere (in transactions) and never by Faust."""
    held: AbstractSet[str] = frozenset()
    """Topics whose partitions are not read before `Consumer.begin(tp, offset)` says from where."""
    before_commit: Callable[[], Awaitable[None]] | None = None
    """Awaited before offsets of other topics are committed: flush here. Raising stops the worker."""
    on_assigned: Callable[[set[TP]], None] | None = None
    """Called inside the rebalance callback with the partitions gained, followers included."""
    on_revoked: Callable[[set[TP]], None] | None = None
    """Called inside the rebalance callback with the partitions lost, before the client gives them up."""
    records_max: int = 2_000
    """Most records asked for in one poll, and most records in one batch."""
    batches_unacked_max: int = 2
    """Batches of one partition that may be with Faust at a time. Meanwhile its records gather."""
    backlog_records_max: int = 20_000
    """Records of one partition waiting for their turn; above it fetching of this one partition pauses."""
    backlog_bytes_max: int = 128 * 1024 * 1024
    """Memory of all waiting records; each partition may have an equal share. One poll may exceed it."""
    leave_on_close: bool = True
    """Whether a static member (`group.instance.id`) leaves the group when it ends, so that others take over
    at once. If not, its partitions wait for its return until the session ends. Others always leave."""
    end_delay_ms: int = 50
    """An end of partition behind the last records is told by an empty batch once it is this old: at a steady
    trickle of records there is one batch for each of them, not two."""
    drain_s: float = 10.0
    """At shutdown, longest wait for agents to finish their batches. The unfinished are not committed."""
    idle_sleep_ms_min: float = 1.0
    """Pause of the pump after an empty poll; it doubles with every further empty one."""
    idle_sleep_ms_max: float = 5.0
    """Longest pause of the pump: the latency that an idle worker adds to the first record."""

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigurationError: a reserved setting, a chain of followers, a lone topic that follows none, or
                a bound below one.
        """
        for name, value in RESERVED.items():
            if self.consumer_config.get(name, value) != value:
                raise ConfigurationError(
                    f"consumer_config may not change {name}: the transport needs {value!r}"
                )
        if "group.id" in self.consumer_config:
            raise ConfigurationError("set group_id, not consumer_config['group.id']")
        chained = set(self.follows) & set(self.follows.values())
        if chained:
            raise ConfigurationError(f"a topic that follows cannot lead: {', '.join(sorted(chained))}")
        alone = self.lone - set(self.follows)
        if alone:
            raise ConfigurationError(f"a lone topic must follow another: {', '.join(sorted(alone))}")
        bounds = (
            self.records_max,
            self.batches_unacked_max,
            self.backlog_records_max,
            self.backlog_bytes_max,
        )
        if min(bounds) < 1:
            raise ConfigurationError(
                "records_max, batches_unacked_max and the backlog bounds must be at least 1"
            )
        if not 0 < self.idle_sleep_ms_min <= self.idle_sleep_ms_max:
            raise ConfigurationError("idle_sleep_ms_min must be positive and at most idle_sleep_ms_max")

    def client_config(self, bootstrap: str) -> dict[str, Any]:
        """Return the complete librdkafka configuration; `bootstrap` counts when none is configured."""
        return {
            "bootstrap.servers": bootstrap,
            **CONSUMER_DEFAULTS,
            **self.consumer_config,
            **RESERVED,
            "group.id": self.group_id,
        }
