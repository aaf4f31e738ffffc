"""One destination at work: takes changes in, sends them, and settles what came of it.

Order: a change of a profile is sent when the one before it was delivered or became a letter. A change counts
as settled for the committed position once it was delivered, is not wanted, or is on `elo.deliveries`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from confluent_kafka import Message

from pipeline.settings import Settings

from .backoff import Breaker, Rate, retry_ms
from .commands import Backfill, Command, State, backfill_key, state_key
from .destinations import Destination
from .lane import Pending
from .ledger import Ledger
from .measures import Measures
from .partition import Partition
from .reading import Reading
from .records import LetterReason, Status, decode_change, decode_stored, destination_of, traceparent_of
from .sender import Sender
from .template import Unaddressable, check_addressable
from .verdict import Kind, Verdict

if TYPE_CHECKING:
    from pipeline.runtime.otel import Spans

log = structlog.get_logger()
LOOK_S: Final = 0.5
REVOKE_S: Final = 20.0  # for requests under way when a partition is given up
Group = list[tuple[Partition, Pending]]


class Delivery:
    """Everything about one destination.

    `command` finds what was said about a key, `say` writes it; `fail` ends the process.
    """

    def __init__(
        self, settings: Settings, destination: Destination, ledger: Ledger, partitions: int,
        command: Callable[[str], Command | None], say: Callable[[str, Command], None],
        fail: Callable[[BaseException], None], spans: Spans | None = None,
    ) -> None:  # fmt: skip
        self.destination, self.name = destination, destination.name
        self.partitions: dict[int, Partition] = {}
        self.breaker = Breaker()
        self.rate = Rate(destination.rate)
        self.started = False
        self._count = partitions
        self._ledger, self._command, self._say, self._fail = ledger, command, say, fail
        self._gone_at, self._state = 0, State.RUNNING
        self._requests: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._wake = asyncio.Event()
        self._turn = 0
        self._sender = Sender(destination, spans)
        self._reading = Reading(settings, self.name, destination.start, self)
        self.measures = Measures(self.name)

    @property
    def state(self) -> State:
        """What was asked for last, by an operator or by the destination itself."""
        command = self._command(state_key(self.name))
        if command is None or command.at < self._gone_at:
            return State.DISABLED if self._gone_at else State.RUNNING
        return State(command.answer)

    async def run(self) -> None:
        """Deliver until `stop`; then finish what is under way and commit."""
        sending = asyncio.create_task(self._send_on())
        try:
            await asyncio.gather(self._reading.run(), sending)
        finally:
            sending.cancel()
            await self._sender.close()

    def stop(self) -> None:
        """Make `run` return."""
        self._stopping = True
        self._reading.stop()
        self._wake.set()

    def commanded(self) -> None:
        """Something was said on `elo.destinations`, maybe about this one."""
        before, self._state = self._state, self.state
        if before is not State.RUNNING and self._state is State.RUNNING:
            self.breaker.resumed()
        for partition in self.partitions.values():
            self._fill(partition)
        self._wake.set()

    def commit(self) -> None:
        """Commit how far every partition is settled."""
        positions = {
            number: one.lane.watermark.position
            for number, one in self.partitions.items()
            if one.lane.watermark.position != one.committed
        }
        if positions:
            self._reading.commit(positions)
            for number, position in positions.items():
                self.partitions[number].committed = position

    def measure(self) -> None:
        """Set the gauges."""
        lags = (
            self._reading.lag(number, one.lane.watermark.position) for number, one in self.partitions.items()
        )
        self.measures.set(self.partitions, self.state, sum(lags))

    # -- partitions -------------------------------------------------------------------------------------

    def assigned(self, positions: Mapping[int, int]) -> None:
        """Begin with partitions; what waits on `elo.deliveries` is read first."""
        self.started = True
        for number, position in positions.items():
            self.partitions[number] = Partition(number, position)
        self._share_rate()

    async def revoked(self, partitions: Sequence[int]) -> dict[int, int]:
        """Give partitions up: wait for their requests for a moment, then say how far they are."""
        given_up = [self.partitions.pop(number) for number in partitions if number in self.partitions]
        deadline = time.monotonic() + REVOKE_S
        while any(one.lane.in_flight for one in given_up) and time.monotonic() < deadline:
            await asyncio.wait(self._requests, timeout=LOOK_S)
        await self._ledger.flush()
        for one in given_up:
            one.lane.closed = True
        self._share_rate()
        return {one.lane.partition: one.lane.watermark.position for one in given_up}

    def _share_rate(self) -> None:
        """The limit is the destination's: each process takes the share of its partitions."""
        self.rate.per_second = self.destination.rate * len(self.partitions) / max(self._count, 1)

    def received(self, messages: Sequence[Message]) -> None:
        """Take records in."""
        touched = set()
        for message in messages:
            partition = self.partitions.get(message.partition() or 0)
            if partition is None:
                continue
            touched.add(partition)
            if self._reading.is_changes(message):
                partition.backlog.append(message)
            else:
                self._follow(partition, message)
        for partition in touched:
            self._fill(partition)
        self._wake.set()

    def ended(self, partition: int) -> None:
        """All that waits on a partition is known: begin with it."""
        ours = self.partitions.get(partition)
        if ours is None or ours.restored:
            return
        ours.restored = True
        for stored in sorted(ours.found.values(), key=lambda one: one.offset):
            self._admit(ours, stored.pending())
        ours.found.clear()
        self._fill(ours)
        self._wake.set()

    def _follow(self, partition: Partition, message: Message) -> None:
        """A record of `elo.deliveries`. Once restored, only letters that are sent again are news."""
        key, value = message.key() or b"", message.value()
        if destination_of(key) != self.name:
            return
        change_id = key.decode().partition("|")[2]
        stored = None if value is None else decode_stored(value)
        if stored is not None and stored.status is Status.LETTER:
            partition.letters.add(change_id)
        else:
            partition.letters.discard(change_id)
        if not partition.restored:
            partition.found.pop(change_id, None)
            if stored is not None and stored.status is Status.WAITING:
                partition.found[change_id] = stored
        elif stored is not None and stored.redriven and not stored.attempts:
            self._admit(partition, stored.pending())

    def _fill(self, partition: Partition) -> None:
        """Take changes in as far as there is room, and let come no more than that."""
        if self.partitions.get(partition.lane.partition) is not partition:
            return
        partition.held = None
        while partition.backlog and not partition.is_full:
            message = partition.backlog[0]
            value, offset = message.value(), message.offset()
            assert value is not None
            assert offset is not None
            change = decode_change(value)
            if self._is_held(partition, change):
                break
            partition.backlog.popleft()
            self._begin(partition, Pending(change, value, offset, traceparent=traceparent_of(message)))
        wait = bool(partition.backlog) or partition.is_full or (partition.paused and partition.is_half_full)
        if wait != partition.paused:
            partition.paused = wait
            self._reading.pause(partition.lane.partition, wait)

    def _begin(self, partition: Partition, pending: Pending) -> None:
        watermark, change = partition.lane.watermark, pending.change
        watermark.begin(pending.offset)
        if not self.destination.wants(change):
            self.measures.unwanted.inc()
        elif change["backfill"] and self._backfill(change) is Backfill.SKIP:
            self.measures.skipped.inc()
        else:
            self._admit(partition, pending)
            return
        watermark.settle(pending.offset)

    def _admit(self, partition: Partition, pending: Pending) -> None:
        try:
            check_addressable(self.destination.body, pending.change)
        except Unaddressable as problem:
            self._keep(partition, pending, LetterReason.UNADDRESSABLE, str(problem))
            return
        for one in partition.lane.add(pending):
            self._store(partition, one)

    def _is_held(self, partition: Partition, change: Mapping[str, Any]) -> bool:
        if not change["backfill"] or not self.destination.wants(change):
            return False
        if self._backfill(change) is not Backfill.ASK:
            return False
        partition.held = change["segment_id"], change["segment_version"]
        if self.measures.first_hold(*partition.held):
            segment, version = partition.held
            log.warning("a back-fill waits, `elo deliver status` says how much it would send",
                        destination=self.name, segment=segment, version=version)  # fmt: skip
        return True

    def _backfill(self, change: Mapping[str, Any]) -> Backfill:
        if self.destination.backfill != Backfill.ASK:
            return Backfill(self.destination.backfill)
        said = self._command(backfill_key(self.name, change["segment_id"], change["segment_version"]))
        return Backfill(said.answer) if said else Backfill.ASK

    # -- requests ---------------------------------------------------------------------------------------

    async def _send_on(self) -> None:
        while not self._stopping:
            self._wake.clear()
            wait_ms = self._send_some()
            try:
                await asyncio.wait_for(self._wake.wait(), None if wait_ms is None else wait_ms / 1000)
            except TimeoutError:
                continue
        if self._requests:
            await asyncio.wait(self._requests, timeout=REVOKE_S)

    def _send_some(self) -> int | None:
        """Begin all requests that may begin now. Returns when to look again; None: when something happens."""
        if self.state is not State.RUNNING:
            return None
        while len(self._requests) < self.destination.concurrency and not self._stopping:
            now = now_ms()
            for wait in (self.breaker.wait_ms(now), self.rate.wait_ms(now)):
                if wait != 0:
                    return wait
            group = self._take(now)
            if not group:
                due = [one.lane.next_due() for one in self.partitions.values()]
                return min((max(at - now, 1) for at in due if at is not None), default=None)
            self.breaker.sent()
            self.rate.sent()
            self._requests.add(asyncio.create_task(self._attempt(group)))
        return None

    def _take(self, now: int) -> Group:
        """What one request carries; the partitions take turns."""
        most = 1 if self.breaker.is_open else self.destination.batch
        numbers = sorted(self.partitions)
        group: Group = []
        for turn in range(len(numbers)):
            partition = self.partitions[numbers[(self._turn + turn) % len(numbers)]]
            if group and group[-1][1].alone:
                break
            taken = partition.lane.take(now, most - len(group), hurry=self.breaker.is_open)
            if group and taken and taken[0].alone:
                partition.lane.again(taken[0], taken[0].due_at)
                break
            group += [(partition, one) for one in taken]
            if len(group) >= most:
                break
        self._turn += 1
        return group

    async def _attempt(self, group: Group) -> None:
        try:
            with self.measures.seconds.time():
                verdict = await self._sender.send([pending for _, pending in group])
            self.measures.attempts[verdict.kind].inc()
            self._judged(group, verdict)
        except Exception as error:  # noqa: BLE001 - nobody waits for a request: the process must hear of it
            self._fail(error)
        finally:  # Out before the wake: of requests that end together, the last leaves room for others.
            self._requests.discard(cast("asyncio.Task[None]", asyncio.current_task()))
            self._wake.set()

    def _judged(self, group: Group, verdict: Verdict) -> None:
        now = now_ms()
        if verdict.kind is Kind.RETRY:
            self._failed(group, verdict, now)
        else:
            if self.breaker.succeeded():
                log.info("it answers again", destination=self.name)
                for partition in self.partitions.values():
                    partition.lane.hurry()
            if verdict.kind is Kind.GONE:
                self._disable("it answered 410 Gone", now)
            for partition, pending in group:
                self._settle(partition, pending, verdict, len(group))
        for partition, _ in group:
            self._fill(partition)

    def _settle(self, partition: Partition, pending: Pending, verdict: Verdict, together: int) -> None:
        lane = partition.lane
        if verdict.kind is Kind.DELIVERED:
            self.measures.delivered.inc()
            lane.done(pending)
            if pending.stored:
                self._ledger.forget(self.name, pending.change_id, lane.partition)
            lane.watermark.settle(pending.offset)
        elif lane.closed:  # too late: whoever has the partition now sends it
            return
        elif verdict.kind is Kind.REFUSED and together == 1:
            lane.done(pending)
            self._keep(partition, pending, LetterReason.REFUSED, verdict.detail)
        else:
            pending.alone = verdict.kind is Kind.REFUSED
            lane.again(pending, 0)

    def _failed(self, group: Group, verdict: Verdict, now: int) -> None:
        was_open = self.breaker.is_open
        self.breaker.failed(now, verdict.after_ms)
        if self.breaker.is_open and not was_open:
            log.warning("it only fails, from now on it is only probed", destination=self.name,
                        detail=verdict.detail)  # fmt: skip
        since = self.breaker.failing_since_ms
        if self.breaker.is_open and since is not None and now - since > self.destination.disable_after:
            self._disable(f"it has only failed since {since} ({verdict.detail})", now)
        for partition, pending in group:
            if partition.lane.closed:  # too late: whoever has the partition now sends it
                continue
            pending.attempts += 1
            pending.failed_at = pending.failed_at or now
            # While nothing gets through it is not the change's fault.
            if now - pending.failed_at > self.destination.retry_for and not self.breaker.is_open:
                partition.lane.done(pending)
                self._keep(partition, pending, LetterReason.EXHAUSTED, verdict.detail)
                continue
            wait_ms = retry_ms(self.destination.retries, pending.attempts, random.random())
            partition.lane.again(pending, now + max(wait_ms, verdict.after_ms or 0))
            self._store(partition, pending)
            for behind in partition.lane.unstored(pending):
                self._store(partition, behind)

    def _disable(self, reason: str, now: int) -> None:
        log.error(
            "the destination is disabled until `elo deliver resume`", destination=self.name, reason=reason
        )
        self._gone_at = now
        self._say(state_key(self.name), Command(State.DISABLED, "elo", reason, now))

    # -- what is kept -----------------------------------------------------------------------------------

    def _store(self, partition: Partition, pending: Pending) -> None:
        """Keep a change that waits; once that has arrived it is settled for the position."""
        lane = partition.lane
        lane.mark_stored(pending)
        self._ledger.keep(self.name, pending, lane.partition, lambda: lane.watermark.settle(pending.offset))

    def _keep(self, partition: Partition, pending: Pending, reason: LetterReason, detail: str) -> None:
        """Give a change up, as a letter."""
        self.measures.letter.inc()
        lane = partition.lane
        partition.letters.add(pending.change_id)
        self._ledger.keep(
            self.name, pending, lane.partition, lambda: lane.watermark.settle(pending.offset), reason, detail
        )


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000
