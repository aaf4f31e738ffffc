"""The sending of one destination, without a broker: what happens when many requests end together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from connectors.deliver.delivery import Delivery
from connectors.deliver.destinations import Destination
from connectors.deliver.lane import Pending
from connectors.deliver.ledger import Ledger
from connectors.deliver.partition import Partition
from connectors.deliver.verdict import Kind, Verdict
from pipeline.settings import Settings

ABSENT = "127.0.0.1:1"
CHANGE = {
    "profile_id": "", "change_id": "", "segment_id": "s", "segment_version": 1, "change": "entered",
    "sequence": 1, "backfill": False, "identifiers": [],
}  # fmt: skip


def fail(error: BaseException) -> None:
    raise AssertionError(error)


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
