"""The consumer against a client that does what each test says: rebalances, errors, pauses, commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import confluent_kafka as ck
import pytest
from confluent_kafka import KafkaError, KafkaException
from faust.types.tuples import TP

from pipeline.transport import ConfigurationError, Consumer, TransportError, TransportOptions, create_app


class Record:
    """A record, or an error, as the client hands it out."""

    def __init__(self, topic: str, partition: int, offset: int, error: KafkaError | None = None) -> None:
        self._at, self._offset, self._error = (topic, partition), offset, error

    def topic(self) -> str:
        return self._at[0]

    def partition(self) -> int:
        return self._at[1]

    def offset(self) -> int:
        return self._offset

    def error(self) -> KafkaError | None:
        return self._error

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_000

    def __len__(self) -> int:
        return 100


class Client:
    """A client that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[tuple[str, int, int]]]] = []
        self.refuse_seek = False
        self.commit_error: KafkaError | None = None

    def __getattr__(self, name: str) -> Callable[[list[Any]], None]:
        return lambda parts: self.note(name, parts)

    def note(self, name: str, parts: list[Any]) -> None:
        self.calls.append((name, [(p.topic, p.partition, p.offset) for p in parts]))

    def seek(self, part: Any) -> None:
        if self.refuse_seek:
            raise KafkaException(KafkaError(KafkaError._STATE))
        self.note("seek", [part])

    def commit(self, offsets: list[Any], asynchronous: bool) -> list[Any]:
        self.note("commit", offsets)
        if self.commit_error is not None:
            raise KafkaException(self.commit_error)
        return offsets

    def close(self) -> None:
        self.calls.append(("close", []))

    def named(self, name: str) -> list[list[tuple[str, int, int]]]:
        return [parts for call, parts in self.calls if call == name]


class Bench:
    """A consumer with a fake client; what it hands over lands in `messages`."""

    def __init__(self, **options: Any) -> None:
        self.assigned: list[set[TP]] = []
        self.revoked: list[set[TP]] = []
        app = create_app(
            "bench",
            "nowhere:1",
            TransportOptions(
                "bench",
                **{
                    "on_assigned": self.assigned.append,
                    "on_revoked": self.revoked.append,
                    "end_delay_ms": 0,
                    **options,
                },
            ),
        )
        self.app = app
        self.consumer: Consumer = app.consumer
        self.client = self.consumer._client = Client()
        self.consumer._followers = {"touches": ["mail"]}
        self.messages: list[Any] = []
        self.consumer.callback = self.receive

    async def receive(self, message: Any) -> None:
        self.messages.append(message)

    def assign(self, *tps: tuple[str, int]) -> None:
        """A rebalance that Faust has carried out."""
        self.consumer._on_assign(self.client, [ck.TopicPartition(*tp) for tp in tps])
        self.settle()

    def revoke(self, *tps: tuple[str, int]) -> None:
        self.consumer._on_revoke(self.client, [ck.TopicPartition(*tp) for tp in tps])
        self.settle()

    def settle(self) -> None:
        """What Faust does at the end of a rebalance."""
        self.consumer._told_generation = self.consumer._generation
        self.app.flow_control.resume()
        self.consumer.resume_flow()

    async def poll(self, *records: Record) -> list[Any]:
        """One turn of the pump. Returns: the batches handed over."""
        before = len(self.messages)
        self.consumer._sort(list(records))
        await self.consumer._hand_over()
        return [message.value for message in self.messages[before:]]

    def finish(self) -> None:
        """The agents take and acknowledge everything."""
        for message in self.messages:
            message.tracked = message.acked = True


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def raw(partition: int, *offsets: int) -> list[Record]:
    return [Record("raw", partition, offset) for offset in offsets]


def end(partition: int, offset: int) -> Record:
    return Record("raw", partition, offset, KafkaError(KafkaError._PARTITION_EOF))


def test_a_follower_comes_and_goes_with_its_lead() -> None:
    async def test() -> None:
        bench = Bench()
        bench.assign(("touches", 1), ("raw", 2))
        everything = {TP("touches", 1), TP("mail", 1), TP("raw", 2)}
        assert bench.assigned == [everything]
        assert bench.consumer.assignment() == everything
        [parts] = bench.client.named("incremental_assign")
        assert {tuple(part[:2]) for part in parts} == everything
        bench.revoke(("touches", 1))
        assert bench.revoked == [{TP("touches", 1), TP("mail", 1)}]
        assert bench.consumer.assignment() == {TP("raw", 2)}

    run(test())


def test_a_held_partition_is_assigned_in_the_client_when_it_begins() -> None:
    async def test() -> None:
        bench = Bench(held={"touches", "mail"})
        bench.assign(("touches", 0))
        touches = TP("touches", 0)
        assert bench.client.named("incremental_assign") == [[]]
        with pytest.raises(TransportError, match="begin"):
            bench.consumer.rewind(touches, 5)
        assert bench.consumer.begin(touches, 42)
        assert bench.client.named("incremental_assign")[1:] == [[("touches", 0, 42)]]
        [batch] = await bench.poll(Record("touches", 0, 44))
        assert (batch.position_start, batch.position_end) == (42, 45)
        with pytest.raises(TransportError, match="already"):
            bench.consumer.begin(touches, 42)
        bench.revoke(("touches", 0))
        assert bench.client.named("incremental_unassign") == [[("touches", 0, -1001)]], "mail never began"
        assert not bench.consumer.begin(touches, 1)
        assert bench.consumer.rewind(touches, 1) == 0

    run(test())


def test_each_change_of_the_assignment_is_a_generation_and_an_empty_one_is_none() -> None:
    async def test() -> None:
        bench = Bench()
        generations = []
        for change in (bench.assign, bench.assign, bench.revoke):
            change(("raw", len(generations)) if change == bench.assign else ("raw", 0))
            generations.append(bench.app.consumer_generation_id)
        assert generations == [1, 2, 3]
        bench.assign()
        assert bench.app.consumer_generation_id == 3
        [batch] = await bench.poll(*raw(1, 5), *raw(0, 5))
        assert batch.partition == 1, "records of a lost partition are dropped"
        assert bench.messages[-1].generation_id == 3

    run(test())


def test_nothing_is_handed_over_before_faust_knows_the_assignment_or_while_the_flow_is_stopped() -> None:
    async def test() -> None:
        bench = Bench()
        bench.consumer._on_assign(bench.client, [ck.TopicPartition("raw", 0)])
        assert not bench.consumer.flow_active
        assert await bench.poll(*raw(0, 0)) == []
        bench.app.flow_control.resume()
        bench.consumer.resume_flow()
        assert await bench.poll(*raw(0, 1)) == [], "an older rebalance ended late"
        bench.settle()
        bench.consumer.stop_flow()
        assert await bench.poll(*raw(0, 2)) == []
        bench.consumer.resume_flow()
        [batch] = await bench.poll()
        assert [record.offset() for record in batch.records] == [0, 1, 2]

    run(test())


def test_a_retained_partition_keeps_what_faust_drops_in_a_rebalance() -> None:
    async def test() -> None:
        bench = Bench()
        bench.assign(("raw", 0))
        await bench.poll(*raw(0, 0, 1))
        bench.finish()
        await bench.poll(*raw(0, 2, 3))
        bench.assign(("raw", 1))
        [batch] = await bench.poll(*raw(0, 4))
        assert [record.offset() for record in batch.records] == [2, 3, 4]
        assert batch.position_start == 2
        assert (bench.consumer.stats.batches_put_back, bench.consumer.stats.records_put_back) == (1, 2)

    run(test())


def test_a_partition_with_too_much_to_do_is_throttled_alone_and_fetched_again_at_half() -> None:
    async def test() -> None:
        bench = Bench(backlog_records_max=10, batches_unacked_max=1, records_max=5)
        bench.assign(("raw", 0), ("raw", 1))
        await bench.poll(*raw(0, *range(4)), *raw(1, 0))
        await bench.poll(*raw(0, *range(4, 15)), *raw(1, 1))
        assert bench.client.named("pause") == [[("raw", 0, -1001)]]
        bench.client.calls.clear()
        for _ in range(2):
            bench.finish()
            await bench.poll()
        assert bench.client.named("resume") == [[("raw", 0, -1001)]]
        assert bench.consumer.backlog(TP("raw", 0)) == 1
        assert bench.consumer.stats.throttles == 1

    run(test())


def test_a_rewind_of_a_throttled_partition_fetches_again() -> None:
    async def test() -> None:
        bench = Bench(backlog_records_max=2)
        bench.assign(("raw", 0))
        bench.consumer.pause(TP("raw", 0))
        assert await bench.poll(*raw(0, 0, 1)) == []
        bench.client.calls.clear()
        assert bench.consumer.rewind(TP("raw", 0), 0) == 1
        assert [call for call, _ in bench.client.calls] == ["resume", "seek"]
        bench.consumer.resume(TP("raw", 0))
        [batch] = await bench.poll(*raw(0, 0))
        assert (batch.position_start, batch.epoch) == (0, 1)

    run(test())


def test_records_of_the_old_position_are_ignored_until_the_client_has_carried_out_the_seek() -> None:
    async def test() -> None:
        bench = Bench()
        bench.assign(("raw", 0))
        bench.client.refuse_seek = True
        bench.consumer.rewind(TP("raw", 0), 3)
        assert await bench.poll(*raw(0, 9), end(0, 10)) == []
        bench.client.refuse_seek = False
        assert await bench.poll() == []
        assert bench.client.named("seek") == [[("raw", 0, 3)]]
        [batch] = await bench.poll(*raw(0, 3))
        assert batch.position_start == 3

    run(test())


def test_caught_up_and_lag_say_what_was_read() -> None:
    async def test() -> None:
        bench = Bench()
        tp = TP("raw", 0)
        bench.client.get_watermark_offsets = lambda part, cached: (0, 30)  # type: ignore[attr-defined]
        assert bench.consumer.caught_up(tp) is bench.consumer.lag(tp) is None
        bench.assign(tp)
        await bench.poll(*raw(0, 9), end(0, 10))
        assert bench.consumer.caught_up(tp) is not None
        assert (bench.consumer.lag(tp), bench.consumer.positions()) == (20, {tp: 10})
        await bench.poll(*raw(0, 10))
        assert bench.consumer.caught_up(tp) is None

    run(test())


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
