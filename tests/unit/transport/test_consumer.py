"""The consumer against a client that does what each test says: rebalances, chains, pauses."""

from __future__ import annotations

import confluent_kafka as ck
import pytest
from faust.types.tuples import TP

from pipeline.transport import TransportError
from tests.support.transport import Bench, Record, end, raw, run


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


def test_who_starts_again_is_not_kept_waiting_by_the_pause_of_who_read_before() -> None:
    async def test() -> None:
        bench = Bench(held={"touches", "mail"})
        touches = TP("touches", 0)
        bench.assign(("touches", 0))
        assert bench.consumer.begin_at(touches, 0) == 0
        bench.consumer.pause(touches)
        assert await bench.poll(Record("touches", 0, 0)) == []
        assert bench.consumer.begin_at(touches, 0) == 1
        [batch] = await bench.poll(Record("touches", 0, 0))
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
