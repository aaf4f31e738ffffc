"""The consumer against a client that does what each test says: commits, errors, the end."""

from __future__ import annotations

import logging

import confluent_kafka as ck
import pytest
from confluent_kafka import KafkaError
from faust.types.tuples import TP

from pipeline.transport import ConfigurationError, TransportError
from pipeline.transport.base import Sparingly
from tests.support.transport import Bench, Record, raw, run


def test_offsets_are_committed_up_to_what_is_acknowledged_and_own_ones_never() -> None:
    async def test() -> None:
        flushes: list[int] = []

        async def before_commit() -> None:
            flushes.append(len(bench.client.named("commit")))

        bench = Bench(own_offsets={"touches"}, before_commit=before_commit)
        consumer = bench.consumer
        bench.assign(("raw", 0), ("touches", 0))
        await bench.poll(*raw(0, 0, 1), Record("touches", 0, 5))
        await bench.poll(*raw(0, 2, 3))
        assert consumer._filter_committable_offsets(consumer.assignment()) == {}
        bench.messages[0].acked = bench.messages[1].acked = True
        due = consumer._filter_committable_offsets(consumer.assignment())
        assert due == {TP("raw", 0): 2}
        bench.client.commit_error = KafkaError(KafkaError.REBALANCE_IN_PROGRESS)
        assert not await consumer._commit(due)
        bench.client.commit_error = None
        due = consumer._filter_committable_offsets(consumer.assignment())
        assert due == {TP("raw", 0): 2}, "a failure that passes is tried again"
        assert await consumer._commit(due)
        assert bench.client.named("commit") == [[("raw", 0, 2)]] * 2
        assert flushes == [0, 1]
        assert consumer._filter_committable_offsets(consumer.assignment()) == {}

    run(test())


def test_an_offset_of_an_earlier_ownership_is_not_committed() -> None:
    async def test() -> None:
        bench = Bench()
        bench.assign(("raw", 0))
        await bench.poll(*raw(0, 0))
        bench.finish()
        due = bench.consumer._filter_committable_offsets(bench.consumer.assignment())
        bench.revoke(("raw", 0))
        bench.assign(("raw", 0))
        assert not await bench.consumer._commit(due)
        assert bench.client.named("commit") == []

    run(test())


def test_a_flush_that_fails_is_not_swallowed() -> None:
    async def test() -> None:
        async def before_commit() -> None:
            raise OSError("the producer is gone")

        bench = Bench(before_commit=before_commit)
        with pytest.raises(OSError, match="gone"):
            await bench.consumer._commit({TP("raw", 0): 1})

    run(test())


def test_at_the_end_what_agents_do_not_finish_in_time_does_not_count() -> None:
    async def test() -> None:
        bench = Bench(drain_s=0.02)
        bench.assign(("raw", 0))
        await bench.poll(*raw(0, 0))
        bench.finish()
        await bench.poll(*raw(0, 1))
        bench.messages[-1].tracked = True
        await bench.consumer.drain()
        bench.finish()  # as Faust does for an agent that it cancels
        assert bench.consumer._filter_committable_offsets(bench.consumer.assignment()) == {TP("raw", 0): 1}
        bench.consumer.close()
        bench.consumer.close()
        assert bench.client.named("close") == [[]]

    run(test())


@pytest.mark.parametrize("code", [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._AUTO_OFFSET_RESET])
def test_an_error_that_no_waiting_mends_stops_the_worker(code: int) -> None:
    async def test() -> None:
        bench = Bench()
        bench.assign(("raw", 0))
        with pytest.raises(TransportError):
            await bench.poll(Record("raw", 0, 0, KafkaError(code)))
        bench.consumer._on_client_error(KafkaError(code))
        assert isinstance(bench.consumer._callback_error, TransportError)

    run(test())


def test_the_client_says_the_same_kind_of_thing_once_in_a_while() -> None:
    filter_ = Sparingly()

    def let_through(kind: str, at: float) -> bool:
        record = logging.makeLogRecord({"msg": "%s [%s] %s", "args": (kind, "client", "text")})
        record.created = at
        return filter_.filter(record)

    said = [let_through("FAIL", 100.0), let_through("FAIL", 101.0), let_through("OTHER", 101.0)]
    assert [*said, let_through("FAIL", 110.5)] == [True, False, True, True]


def test_an_answer_to_an_older_commit_is_not_taken_for_the_present_one() -> None:
    async def test() -> None:
        bench = Bench()
        consumer = bench.consumer
        bench.assign(("raw", 0))
        await bench.poll(*raw(0, 0))
        bench.finish()
        bench.client.on_commit = lambda error, parts: (
            consumer._on_commit(KafkaError(KafkaError._FAIL), [ck.TopicPartition("raw", 0, 99)]),
            consumer._on_commit(error, parts),
        )
        assert await consumer._commit(consumer._filter_committable_offsets(consumer.assignment()))

    run(test())


def test_an_error_that_passes_is_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        bench = Bench()
        error = KafkaError(KafkaError._TRANSPORT)
        await bench.poll(*[Record("raw", 0, -1, error)] * 5)
        assert bench.consumer.stats.errors == 5
        assert [r.levelname for r in caplog.records if "transient" in r.message] == ["WARNING"]

    run(test())


def test_a_callback_that_raises_in_a_rebalance_is_kept_for_the_pump() -> None:
    async def test() -> None:
        def on_assigned(tps: set[TP]) -> None:
            raise ValueError("no")

        bench = Bench(on_assigned=on_assigned)
        with pytest.raises(ValueError, match="no"):
            bench.assign(("raw", 0))
        assert isinstance(bench.consumer._callback_error, ValueError)

    run(test())


def test_contradictions_with_the_app_are_refused() -> None:
    async def test() -> None:
        bench = Bench(follows={"mail": "touches"})
        with pytest.raises(ConfigurationError, match="lead topic of mail"):
            await bench.consumer.subscribe({"mail", "raw"})
        bench.app.conf.stream_buffer_maxsize = 1
        with pytest.raises(ConfigurationError, match="at least 4"):
            bench.assign(("raw", 0), ("raw", 1))

    run(test())


@pytest.mark.parametrize(
    ("config", "leaves", "calls"),
    [
        ({}, True, ["close"]),  # who has no name leaves by closing
        ({"group.instance.id": "a"}, True, ["unsubscribe", "poll", "close"]),
        ({"group.instance.id": "a"}, False, ["close"]),
    ],
)
def test_a_static_member_leaves_the_group_only_if_it_is_to(
    config: dict[str, str], leaves: bool, calls: list[str]
) -> None:
    async def test() -> None:
        bench = Bench(consumer_config=config, leave_on_close=leaves)
        bench.consumer.close()
        bench.consumer.close()
        assert [name for name, _ in bench.client.calls] == calls

    run(test())
