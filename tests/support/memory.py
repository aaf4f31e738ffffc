"""Several partitions of the real resolver in one process: no broker, no disk, a clock that is moved by hand.

A batch works as in `pipeline/runtime/task.py`: touches and mail in, one commit with state, mail and outputs
out. Who works next, how much of what waits, how long mail takes and who crashes is up to a seed. Mail keeps
the order of the one log that Kafka has for each destination: whatever was sent because of a mail comes after
it, everywhere. The protocol relies on that.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from zlib import crc32

from pipeline.core.decisions import DECISION_TYPE
from pipeline.core.facet import NEVER
from pipeline.core.messages import Adopted, Filled, Taken, decode_message, encode_message
from pipeline.core.node import COMPONENT_KEY, IDENTIFIER_KEY, Component, IdentifierNode, armed_of, page_key
from pipeline.core.outbox import MembershipChange, Outbox, ProfileAlias, Review, traits_of
from pipeline.core.outputs import Outputs
from pipeline.core.policy import Policy
from pipeline.core.resolver import Resolver
from pipeline.core.segments.catalogue import Catalogue
from pipeline.core.segments.definition import Definition
from pipeline.core.touch import EVENT_HASH, Touch, decode_touch, encode_marked, encode_touch
from pipeline.runtime.store import history_key, pack_seen
from tests.support.memory_store import MemoryStore, Values

PROFILE_KEY: Final = b"elo"
BATCHES_MAX: Final = 5_000  # a run that needs more goes in circles
MESSAGES_MAX: Final = 50_000  # messages handled within one batch


class GoesInCircles(AssertionError):
    """A batch or a run does not end."""


@dataclass(frozen=True, slots=True)
class Published:
    """A snapshot as a reader of `profiles.unified` sees it; `profile` None is a tombstone."""

    profile_id: str
    profile: Mapping[str, Any] | None


Output = MembershipChange | ProfileAlias | Published | Review


@dataclass(frozen=True, slots=True)
class Told:
    """One output: when and by which partition it was committed. Within a commit in the order of decision."""

    at_ms: int
    partition: int
    output: Output


@dataclass(frozen=True, slots=True)
class Chaos:
    """What a seed may do. Probabilities; `batch_max` records a batch; `delay_ms` most that mail takes."""

    batch_max: int = 5
    forget: float = 0.5
    crash: float = 0.0
    delay_ms: int = 0


CALM: Final = Chaos(batch_max=1000, forget=0.0)


@dataclass(slots=True)
class Mail:
    """One record of `elo.mail`, which can be read from `ready_ms` on."""

    ready_ms: int
    to: str
    value: bytes


@dataclass(slots=True)
class Logs:
    """What of a partition outlives its worker: committed state, history, inputs and positions.

    `changelog`: every record of state in order, where somebody keeps it.
    """

    values: Values = field(default_factory=dict)
    history: dict[bytes, bytes] = field(default_factory=dict)
    changelog: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    touches: list[tuple[int, bytes]] = field(default_factory=list)
    touches_next: int = 0
    mail: list[Mail] = field(default_factory=list)
    mail_next: int = 0
    now_ms: int = 0


class _Bounded(deque[Any]):
    """The resolver's queue, which must run dry."""

    taken = 0

    def popleft(self) -> Any:
        self.taken += 1
        if self.taken > MESSAGES_MAX:
            raise GoesInCircles("messages of one batch beget each other")
        return super().popleft()


class Partition:
    """The worker of one partition, from its start to its crash."""

    def __init__(self, cluster: Cluster, number: int, logs: Logs) -> None:
        self.cluster, self.number, self.logs = cluster, number, logs
        self.store = self.open_store()
        self.outputs = Outputs(
            cluster.policy, Catalogue(()), self.store, PROFILE_KEY, cluster.publish_interval_ms
        )
        self.resolver = Resolver(cluster.policy, self.store, self.outputs, self._is_local)
        self.resolver.queue = _Bounded()
        self.definitions = cluster.make_definitions(self)
        self.now_ms = logs.now_ms

    # -- what a partition on a real disk does otherwise (tests/support/rocks.py)
    # ---------------------------------

    def open_store(self) -> Any:
        """The nodes and the timers as they were last committed."""
        self.timers = {
            (due_ms, key[1:].decode())
            for key, value in self.logs.values.items()
            if key[:1] == COMPONENT_KEY and (due_ms := armed_of(value)) != NEVER
        }
        return MemoryStore(self.logs.values, self.logs.history)

    def knows(self, key: bytes) -> bool:
        """Whether a touch was seen, in a committed batch or in this one."""
        return key in self.store.history or key in self.store.seen

    def timers_due(self, now_ms: int) -> list[tuple[int, str]]:
        """Timers that fire now."""
        return sorted(timer for timer in self.timers if timer[0] <= now_ms)

    def next_timer_ms(self) -> int:
        """When the next timer fires; NEVER if there is none."""
        return min(self.timers, default=(NEVER, ""))[0]

    def commit(self, fired: list[tuple[int, str]], armed: list[tuple[int, str]]) -> None:
        """Keep what the batch changed, and its timers."""
        self.timers.difference_update(fired)
        self.timers.update(armed)
        self.store.commit(self.cluster.rng, self.cluster.chaos.forget)

    def flush(self) -> None:
        """Everything is committed already."""

    def crash(self) -> Partition:
        """The worker that takes over."""
        return type(self)(self.cluster, self.number, self.logs)

    # -- work
    # ----------------------------------------------------------------------------------------------------

    def _is_local(self, key: str) -> bool:
        return partition_of(key, self.cluster.size) == self.number

    def mail_at(self, offset: int) -> Mail | None:
        """The mail at an offset, if it can be read now."""
        mail = self.logs.mail[offset] if offset < len(self.logs.mail) else None
        return mail if mail is not None and mail.ready_ms <= self.cluster.now_ms else None

    def has_work(self) -> bool:
        """Whether a batch would do something now."""
        now_ms = self.cluster.now_ms
        return bool(
            self.logs.touches_next < len(self.logs.touches)
            or self.mail_at(self.logs.mail_next)
            or self.next_timer_ms() <= now_ms
            or self.outputs.unpublished
            or self.definitions.waiting()
        )

    def run_batch(self, crash: bool = False) -> None:
        """One transaction; with `crash` it is computed and lost."""
        rng, chaos, now_ms = self.cluster.rng, self.cluster.chaos, self.cluster.now_ms
        outbox = self.outputs.outbox = Outbox()
        assert isinstance(self.resolver.queue, _Bounded)
        self.resolver.queue.taken = 0
        touches_next, mail_next = self.logs.touches_next, self.logs.mail_next
        self.before = self.definitions.begin(touches_next)
        for _ in range(rng.randrange(1, chaos.batch_max + 1)):
            mail, waiting = self.mail_at(mail_next), touches_next < len(self.logs.touches)
            if mail and (not waiting or rng.random() < 0.5):
                mail_next += 1
                self._see_time(mail.ready_ms)
                self._receive(mail.to, decode_message(mail.value))
            elif waiting:
                self._touch(touches_next)
                touches_next += 1
            else:
                break
        caught_up = touches_next == len(self.logs.touches) and not self.mail_at(mail_next)
        if caught_up:
            self._see_time(now_ms)
        fired = self.timers_due(self.now_ms)
        later = [(self.resolver.tick(root, self.now_ms), root) for _, root in fired]
        if caught_up:
            self.definitions.run_step(self.now_ms)
        if outbox.taken:
            self.definitions.acknowledge(outbox)
        at_rest = caught_up and (touches_next, mail_next) == (self.logs.touches_next, self.logs.mail_next)
        self.outputs.publish_all(self.now_ms, at_rest=at_rest)
        armed = [one for one in later if one[0] != NEVER] + self._arm()
        if crash:
            self.cluster.partitions[self.number] = self.crash()
            return
        self.logs.touches_next, self.logs.mail_next, self.logs.now_ms = touches_next, mail_next, self.now_ms
        self.commit(fired, armed)
        self.cluster.deliver(outbox.mail)
        self.cluster.told.extend(Told(now_ms, self.number, _frozen(item)) for item in outbox.told)
        self.cluster.refused.extend(outbox.refused)

    def _receive(self, to: str, message: Any) -> None:
        if isinstance(message, Filled | Taken | Adopted):
            self.definitions.take(message)
        else:
            self.resolver.receive(to, message, self.now_ms)

    def _see_time(self, at_ms: int) -> None:
        self.now_ms = max(self.now_ms, at_ms)

    def _touch(self, offset: int) -> None:
        at_ms, value = self.logs.touches[offset]
        touch = decode_touch(value)
        self._see_time(at_ms)
        key = history_key(touch.identifiers[0].encode(), value[EVENT_HASH])
        if not self.knows(key):
            self.store.seen[key] = pack_seen(offset, self.now_ms)
            self.resolver.touch(touch, self.now_ms)

    def _arm(self) -> list[tuple[int, str]]:
        armed = []
        for root, component in self.store.changed_components.items():
            due_ms = self.resolver.next_due(component)
            if due_ms < component.armed:
                component.armed = due_ms
                armed.append((due_ms, root))
        return armed

    def identifiers(self) -> dict[str, IdentifierNode]:
        """Every identifier node, decoded from what is committed."""
        return {
            key[1:].decode(): IdentifierNode.decode(value)
            for key, value in self.logs.values.items()
            if key[:1] == IDENTIFIER_KEY
        }

    def components(self) -> list[Component]:
        """Every live component, decoded from what is committed."""
        found = []
        for key, value in sorted(self.logs.values.items()):
            if key[:1] == COMPONENT_KEY:
                component = Component.decode(key[1:].decode(), value)
                for page in range(1, 0 if component.redirect else len(component.pages)):
                    component.load_page(page, self.logs.values[page_key(component.root, page)])
                found.append(component)
        return found


class NoDefinitions:
    """A fixed catalogue instead of definitions that arrive."""

    def __init__(self, partition: Partition, catalogue: Catalogue) -> None:
        partition.outputs.use(catalogue)

    def waiting(self) -> bool:
        """Never."""
        return False

    def begin(self, touches_next: int) -> None:
        """Nothing to begin."""

    def rollback(self, before: None) -> None:
        """Nothing to undo."""

    def run_step(self, now_ms: int) -> None:
        """Nothing to do."""


class Cluster:
    """All partitions, their logs, and the clock. Instants in ms."""

    def __init__(
        self, policy: Policy, definitions: Iterable[Definition] = (), *, size: int = 1, seed: int = 0,
        chaos: Chaos = CALM, start_ms: int = 0, publish_interval_ms: int = 1_000,
        make_definitions: Callable[[Partition], Any] | None = None, partition: type[Partition] = Partition,
    ) -> None:  # fmt: skip
        catalogue = Catalogue(definitions)
        self.make_definitions = make_definitions or (lambda partition: NoDefinitions(partition, catalogue))
        self.policy, self.size, self.chaos = policy, size, chaos
        self.publish_interval_ms = publish_interval_ms
        self.rng = random.Random(seed)
        self.now_ms = start_ms
        self.told: list[Told] = []
        self.refused: list[str] = []
        self.down: set[int] = set()
        self.partitions = [partition(self, number, Logs()) for number in range(size)]

    def accept(self, touch: Touch) -> None:
        """A touch reaches `elo.touches` now."""
        logs = self.partitions[partition_of(touch.identifiers[0], self.size)].logs
        encode = encode_marked if touch.type == DECISION_TYPE else encode_touch
        logs.touches.append((self.now_ms, encode(touch)))

    def deliver(self, mail: Iterable[tuple[str, Any]]) -> None:
        """Mail of a committed transaction. None can be read before the one ahead of it in the same log."""
        for to, message in mail:
            logs = self.partitions[partition_of(to, self.size)].logs
            ready_ms = self.now_ms + self.rng.randrange(self.chaos.delay_ms + 1)
            ahead_ms = logs.mail[-1].ready_ms if logs.mail else 0
            logs.mail.append(Mail(max(ready_ms, ahead_ms), to, encode_message(message)))

    def run(self, batches: int) -> None:
        """Let partitions chosen at random work, at most so many batches, without moving the clock."""
        for _ in range(batches):
            busy = [one for one in self.partitions if one.number not in self.down and one.has_work()]
            if not busy:
                return
            self.rng.choice(busy).run_batch(crash=self.rng.random() < self.chaos.crash)

    def settle(self) -> None:
        """Work until nothing is left; the clock moves to when mail on its way arrives, and no further.

        It stops at timers before that.
        """
        for _ in range(BATCHES_MAX):
            self.run(1)
            alive = [one for one in self.partitions if one.number not in self.down]
            if any(one.has_work() for one in alive):
                continue
            coming = [mail.ready_ms for one in alive for mail in one.logs.mail[one.logs.mail_next :][:1]]
            if not coming:
                return
            self.now_ms = max(self.now_ms, min([*coming, *(one.next_timer_ms() for one in alive)]))
        raise GoesInCircles("the cluster does not come to rest")

    def advance(self, to_ms: int) -> None:
        """Move the clock on, stopping at each timer and each arrival on the way, like workers that are up."""
        while True:
            self.settle()
            due_ms = min(one.next_timer_ms() for one in self.partitions if one.number not in self.down)
            if due_ms > to_ms:
                break
            self.now_ms = max(self.now_ms, due_ms)
        self.now_ms = max(self.now_ms, to_ms)
        self.settle()


def partition_of(key: str, size: int) -> int:
    """The partition of a node, as in `pipeline/runtime/checkpoint.py`."""
    return crc32(key.encode()) % size


def _frozen(item: Any) -> Output:
    if isinstance(item, MembershipChange | ProfileAlias | Review):
        return item
    profile = item.profile
    if profile is None:
        return Published(item.profile_id, None)
    return Published(item.profile_id, profile_as_dict(profile, item.aliases, item.computed))


def profile_as_dict(
    profile: Any, aliases: list[str], computed: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A profile in the shape of `elo state dump`, identifiers as texts, strongest first."""
    fold, entry = profile.fold, profile.entry
    return {
        "profile_id": profile.id,
        "identifiers": list(profile.identifiers),
        "traits": traits_of(profile, computed),
        "counters": dict(sorted(fold.counters.items())),
        "consent": {purpose: word[0] for purpose, word in sorted(fold.consent.items())},
        "memberships": {name: tuple(one[1:3]) for name, one in sorted(entry.memberships.items()) if one[0]},
        "aliases": aliases,
        "first_seen": profile.anchor[0],
        "last_seen": fold.last_seen,
    }
