"""The sending of one destination, without a broker: what happens when many requests end together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

import pytest
from confluent_kafka import Message

from connectors.deliver.backoff import BREAKER_FAILURES
from connectors.deliver.commands import Command, State
from connectors.deliver.delivery import Delivery
from connectors.deliver.destinations import Destination
from connectors.deliver.lane import Pending
from connectors.deliver.ledger import Ledger
from connectors.deliver.measures import Measures
from connectors.deliver.metrics import REGISTRY
from connectors.deliver.partition import Partition
from connectors.deliver.sender import Sender
from connectors.deliver.verdict import Kind, Verdict
from pipeline.core.outbox import MembershipChange
from pipeline.settings import Settings
from pipeline.wire.records import encode_membership_change

ABSENT = "127.0.0.1:1"
HOUR_MS = 3_600_000
CHANGE = {
    "profile_id": "", "change_id": "", "segment_id": "s", "segment_version": 1, "change": "entered",
    "sequence": 1, "backfill": False, "identifiers": [],
}  # fmt: skip


def fail(error: BaseException) -> None:
    raise AssertionError(error)


def pending(number: int) -> Pending:
    return Pending({**CHANGE, "change_id": str(number), "occurred_at": 0, "decided_at": 0}, b"", number)


@pytest.mark.parametrize("pause_s", [0.0, 0.2])
def test_an_answer_that_nobody_has_asked_for_does_not_count_for_the_next_request(pause_s: float) -> None:
    """The second answer comes with the first one, or while the connection rests."""
    asked: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(len(asked))
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                good = b"HTTP/1.1 204 No Content\r\n\r\n"
                if b"webhook-id: 0\r\n" not in head:
                    writer.write(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n")
                elif pause_s:
                    writer.write(good)
                    await asyncio.sleep(pause_s / 2)
                    writer.write(good)
                else:
                    writer.write(good + good)
        writer.close()

    async def deliver() -> list[Kind]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        sender = Sender(Destination(name="d", url=f"http://127.0.0.1:{port}/"))
        first = await sender.send([pending(0)])
        await asyncio.sleep(pause_s)
        others = [await sender.send([pending(number)]) for number in (1, 2)]
        await sender.close()
        server.close()
        await asyncio.sleep(0.05)  # the server notices that its connections are closed
        return [verdict.kind for verdict in (first, *others)]

    assert asyncio.run(deliver()) == [Kind.DELIVERED, Kind.RETRY, Kind.RETRY]
    assert len(asked) == 2  # and a connection on which all was well is used again


@pytest.mark.parametrize("concurrency", [1, 2, 10])
def test_requests_that_all_end_at_one_moment_are_followed_by_the_next(concurrency: int) -> None:
    changes = 4 * concurrency

    async def deliver() -> int:
        settings = Settings(bootstrap=ABSENT)
        destination = Destination(name="d", url="http://127.0.0.1:9/", concurrency=concurrency)
        delivery = Delivery(
            settings, destination, Ledger(settings, fail), 1, lambda key: None, lambda key, said: None, fail
        )
        arrived, answer = 0, asyncio.Event()

        async def send(group: Sequence[Pending]) -> Verdict:
            nonlocal arrived
            arrived += 1
            if arrived % concurrency == 0:  # All that may be under way are: they end in one turn of the loop.
                answer.set()
            await answer.wait()
            if arrived % concurrency == 0:
                answer.clear()
            return Verdict(Kind.DELIVERED)

        delivery._sender.send = send  # type: ignore[method-assign]
        partition = delivery.partitions[0] = Partition(0, 0)
        partition.restored = True
        for offset in range(changes):
            change = {**CHANGE, "profile_id": f"p{offset}", "change_id": f"c{offset}"}
            delivery._begin(partition, Pending(change, b"", offset))
        sending = asyncio.create_task(delivery._send_on())
        for _ in range(100):
            await asyncio.sleep(0.01)
            if partition.lane.watermark.position == changes:
                break
        sending.cancel()
        await delivery._sender.close()
        return partition.lane.watermark.position

    assert asyncio.run(deliver()) == changes


def test_who_is_resumed_while_it_fails_is_not_disabled_by_the_next_failure() -> None:
    said: dict[str, Command] = {}

    async def deliver() -> list[State]:
        settings = Settings(bootstrap=ABSENT)
        destination = Destination(name="d", url="http://127.0.0.1:9/", disable_after="1h")
        delivery = Delivery(
            settings, destination, Ledger(settings, fail), 1, said.get, said.__setitem__, fail
        )
        states = []

        def fails_at(now: int) -> None:
            delivery._failed([], Verdict(Kind.RETRY, "HTTP 500"), now)
            delivery.commanded()
            states.append(delivery.state)

        for now in (*range(BREAKER_FAILURES), HOUR_MS, HOUR_MS + 1):
            fails_at(now)
        said["d"] = Command(State.RUNNING, "ana", "it is mended", HOUR_MS + 2)
        delivery.commanded()
        assert delivery.breaker.wait_ms(HOUR_MS + 2) == 0, "it is asked at once"
        for now in (HOUR_MS + 3, 2 * HOUR_MS + 3, 2 * HOUR_MS + 4):
            fails_at(now)
        await delivery._sender.close()
        return states[-5:]

    running, disabled = State.RUNNING, State.DISABLED
    assert asyncio.run(deliver()) == [running, disabled, running, running, disabled]


def test_a_change_behind_a_back_fill_that_waits_is_as_old_as_it_is() -> None:
    change = MembershipChange(
        "c1", "p1", "s", 1, "entered", 1, 5, time.time_ns() // 1_000_000 - HOUR_MS, "backfill", ("e",), True
    )
    partition = Partition(0, 0)
    partition.backlog.append(Message(topic="segments.membership", partition=0, offset=0, key=b"p1",
                                     value=encode_membership_change(change)))  # fmt: skip
    Measures("held").set({0: partition}, State.RUNNING, 1)
    oldest_s = REGISTRY.get_sample_value("elo_deliver_oldest_seconds", {"destination": "held"})
    assert oldest_s is not None
    assert 3_600 <= oldest_s < 3_700
