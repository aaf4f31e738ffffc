"""`elo doctor` on work under way: who works, what is behind, what stands open, whose clock is wrong."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from ...runtime.connect import REQUEST_S
from ...settings import Settings
from ..idle import Behind, Partition, Watcher
from ..kafka import client_config
from .finding import Finding, failed, ok, several, unknown, warning

PAUSE_S: Final = 2.0  # between two looks; a worker commits many times a second
CLOCK_WARNING_MS: Final = 500
CLOCK_FAILED_MS: Final = 5_000
CLOCK_TIMEOUT_S: Final = 10.0


def judge_progress(
    members: Mapping[str, int],
    first: Iterable[Behind],
    second: Iterable[Behind],
    moved: Collection[Partition],
    group: str,
) -> Iterator[Finding]:
    """Does the work move?

    Args:
        members: worker → partitions that it reads.
        first, second: what was behind, PAUSE_S apart.
        moved: partitions of which something was committed meanwhile.
    """
    before = {(one.topic, one.partition, one.kind): one.amount for one in first}
    now_ms = time.time_ns() // 1_000_000
    now = [one for one in second if one.kind != "transaction"]
    stuck = [
        one
        for one in now
        if (one.topic, one.partition) not in moved
        and before.get((one.topic, one.partition, one.kind)) == one.amount
    ]
    named = several([one.sentence(now_ms) for one in stuck])
    if not members:
        if now:
            waits = several([one.sentence(now_ms) for one in now])
            yield failed("lag", f"no worker is in the group {group}, and work waits: {waits}",
                         "start one: `elo worker`")  # fmt: skip
        else:
            yield warning(
                "lag", f"no worker is in the group {group}; nothing waits", "start one: `elo worker`"
            )
        return
    busy = f"{len(members)} workers ({several(sorted(members))}) read {sum(members.values())} partitions"
    if stuck:
        yield failed("lag", f"{busy}; this stands still: {named}",
                     "look at the log and /readyz of the worker that has it; see docs/runbooks")  # fmt: skip
    elif now:
        yield ok("lag", f"{busy}; {several([one.sentence(now_ms) for one in now])}, and moving")
    else:
        yield ok("lag", f"{busy}; nothing waits")


def judge_transactions(first: Mapping[Partition, int], second: Mapping[Partition, int]) -> Finding:
    """Is a transaction open for longer than one of ours takes?

    Args: partitions with an open transaction, and the offset at which their readers stand, PAUSE_S apart.
    """
    stuck = [
        f"{topic}[{number}]" for (topic, number), at in second.items() if first.get((topic, number)) == at
    ]
    if stuck:
        return failed(
            "transactions", f"a transaction is open on {several(stuck)}: its readers stand still",
            "it ends within a minute, sooner when a worker starts; else kafka-transactions.sh find-hanging",
        )  # fmt: skip
    return ok("transactions", f"none is open for {PAUSE_S:g} s")


def look_at_work(settings: Settings, admin: AdminClient) -> Iterator[Finding]:
    """Look twice, and judge lag and transactions."""
    watcher = Watcher(settings)
    try:
        first, _ = watcher.look()
        at_first, _ = watcher.committed()
        open_first = _open(admin, watcher.transactional)
        time.sleep(PAUSE_S)
        second, _ = watcher.look()
        at_second, _ = watcher.committed()
        open_second = _open(admin, watcher.transactional)
    finally:
        watcher.close()
    moved = {key for key, at in at_second.items() if at_first.get(key) != at}
    yield from judge_progress(_members(settings, admin), first, second, moved, settings.group)
    yield judge_transactions(open_first, open_second)


def _open(admin: AdminClient, partitions: Iterable[Partition]) -> dict[Partition, int]:
    """Partition → where its readers stand, of those whose end they cannot see."""
    ends: list[dict[Partition, int]] = []
    for isolation in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
        asked = {TopicPartition(topic, number): OffsetSpec.latest() for topic, number in partitions}
        futures = admin.list_offsets(asked, isolation_level=isolation, request_timeout=REQUEST_S)
        ends.append({(key.topic, key.partition): future.result().offset for key, future in futures.items()})
    stable, last = ends
    return {key: at for key, at in stable.items() if at < last[key]}


def _members(settings: Settings, admin: AdminClient) -> dict[str, int]:
    """Worker → how many partitions of `elo.touches` it reads. A worker is told by its host and client."""
    future = admin.describe_consumer_groups([settings.group], request_timeout=REQUEST_S)[settings.group]
    try:
        members = future.result().members
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return {}
        raise
    touches = settings.topics().touches
    found: dict[str, int] = {}
    for member in members:
        name = f"{member.client_id}@{member.host.lstrip('/')}"
        read = [one for one in member.assignment.topic_partitions if one.topic == touches]
        while name in found:
            name += "'"
        found[name] = len(read)
    return found


def judge_clock(skew_ms: float, doubt_ms: float) -> Finding:
    """Do this machine and the broker agree what time it is? Positive: the broker is ahead."""
    apart_ms = max(abs(skew_ms) - doubt_ms, 0.0)
    which = "ahead of" if skew_ms > 0 else "behind"
    what = f"the broker's clock is {abs(skew_ms):.0f} ms {which} this machine's (±{doubt_ms:.0f} ms)"
    do = "let both follow a time server: exits are due by a worker's clock, touches carry the broker's"
    if apart_ms >= CLOCK_FAILED_MS:
        return failed("clock", what, do)
    return warning("clock", what, do) if apart_ms >= CLOCK_WARNING_MS else ok("clock", what)


def wall_s() -> float:
    """This machine's clock."""
    return time.time()


def look_at_clock(settings: Settings) -> Finding:
    """Let the broker put its time on a record of a transaction that is never committed: nobody reads it."""
    stamped: list[int] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            stamped.append(message.timestamp()[1])

    producer = Producer(
        client_config(
            settings, transactional_id=f"{settings.group}.doctor", transaction_timeout_ms=10_000, linger_ms=0
        )
    )
    try:
        producer.init_transactions(CLOCK_TIMEOUT_S)
        skew_ms, doubt_ms = 0.0, float("inf")
        producer.begin_transaction()
        for _ in range(3):  # the first one also opens the connection
            sent_ms = wall_s() * 1000
            producer.produce(settings.topics().mail, b"", b"", 0, on_delivery=delivered)
            producer.flush(CLOCK_TIMEOUT_S)
            heard_ms = wall_s() * 1000
            if stamped and (heard_ms - sent_ms) / 2 < doubt_ms:
                doubt_ms = (heard_ms - sent_ms) / 2
                skew_ms = stamped.pop() - (sent_ms + heard_ms) / 2
            stamped.clear()
        producer.abort_transaction(CLOCK_TIMEOUT_S)
    except KafkaException as error:
        return unknown("clock", f"it was not compared with the broker's ({error.args[0].str()})",
                       "run it as the admin, see `elo topics acls admin`")  # fmt: skip
    if doubt_ms == float("inf"):
        return unknown("clock", "the broker did not answer in time")
    return judge_clock(skew_ms, doubt_ms)
