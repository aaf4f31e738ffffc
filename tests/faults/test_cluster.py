"""Three brokers under load, one or two of them killed and started again: nothing is lost or doubled.

python -m pytest tests/faults/test_cluster.py -m soak -s
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka.admin import ConfigResource, ResourceType

from pipeline.cli.kafka import connect
from tests.support.cluster import Cluster
from tests.support.comparison import assert_equal_to_oracle
from tests.support.crowd import DEFINITIONS, Crowd, Load, settle
from tests.support.fleet import Fleet, wait_for
from tests.support.freshness import LANDED, Newcomers, Stopwatch, percentile

pytestmark = pytest.mark.soak
SEGMENTS = (*DEFINITIONS, LANDED)
SESSION_MS = 10_000  # as it is shipped
FRESH_AGAIN_S = 30.0
FRESH_S = 2.0
RATE = 50  # of each kind, a second
WARM_S = 90.0  # at most, until it is fresh
SPAN_S = 3.0
BACK_S = SPAN_S + FRESH_S  # when the newest span began that can be judged
LOOK_S = 0.5
NEVER = float("inf")
DOWN_S = 15.0  # longer than the session of a broker: others take over what it had
BOTH_DOWN_S = 30.0
WARM_UP_S = 10.0
AFTER_S = 10.0  # how long is looked at, once it must be fresh again


def least_copies(fleet: Fleet) -> str:
    """How many brokers must have a record of `elo.state` before it counts."""
    admin, resource = connect(fleet.settings), ConfigResource(ResourceType.TOPIC, f"{fleet.prefix}elo.state")
    described = admin.describe_configs([resource], request_timeout=30)[resource].result()
    return str(described["min.insync.replicas"].value)


def is_fresh(watch: Stopwatch, newcomers: Newcomers, from_s: float) -> bool:
    """Whether the changes of those who came in the `SPAN_S` from an instant on were seen in time."""
    span = [
        (event_id, sent_at)
        for event_id, sent_at in list(newcomers.sent_at.items())
        if from_s <= sent_at < from_s + SPAN_S
    ]
    return bool(span) and all(watch.seen_at.get(one, NEVER) - sent_at <= FRESH_S for one, sent_at in span)


def fresh_again_s(watch: Stopwatch, newcomers: Newcomers, killed_at: float) -> float:
    """How long after a kill changes come in time again: the first span that does after the latest change."""
    slowest, seen_at = max(
        (watch.seen_at[event_id] - sent_at, watch.seen_at[event_id])
        for event_id, sent_at in newcomers.sent_at.items()
        if killed_at - FRESH_S <= sent_at < killed_at + FRESH_AGAIN_S
    )
    if slowest <= FRESH_S:
        return 0.0
    while not is_fresh(watch, newcomers, seen_at):
        seen_at += LOOK_S
        if seen_at > killed_at + FRESH_AGAIN_S + AFTER_S:
            return NEVER
    return seen_at - killed_at


def test_any_one_of_three_brokers_may_die_and_come_back(cluster: Cluster, tmp_path: Path) -> None:
    fleet = Fleet(cluster.bootstrap, "c.", tmp_path, session_timeout_ms=SESSION_MS)
    crowd, newcomers = Crowd(seed=95, people=400), Newcomers(seed=95)
    try:
        fleet.elo("topics", "create", "--partitions", 4, "--replication-factor", 3)
        assert least_copies(fleet) == "2"
        fleet.apply(*SEGMENTS)
        fleet.start("a", "b")
        watch = Stopwatch(fleet)
        killed_at = []
        with Load(fleet, lambda count: crowd.take(count) + newcomers.take(count), RATE):
            for node in cluster.nodes:
                cluster.wait_in_sync()
                wait_for(lambda: is_fresh(watch, newcomers, time.time() - BACK_S), "fresh changes", WARM_S)
                killed_at.append(time.time())
                node.kill()
                time.sleep(DOWN_S)
                node.start()
                time.sleep(max(0.0, killed_at[-1] + FRESH_AGAIN_S + AFTER_S - time.time()))
                assert [worker.process.poll() for worker in fleet.workers.values()] == [None, None]
        settle(fleet)
        watch.stop()
        delays = watch.delays(newcomers, 0, time.time())
        again_s = [fresh_again_s(watch, newcomers, at) for at in killed_at]
        print(f"fresh again after {[round(one, 1) for one in again_s]} s, slowest {delays[-1]:.1f} s, "
              f"median {percentile(delays, 0.5):.3f} s")  # fmt: skip
        assert_equal_to_oracle(fleet, [*crowd.sent, *newcomers.sent], SEGMENTS)
        assert [worker.process.poll() for worker in fleet.workers.values()] == [None, None]
        assert max(again_s) < FRESH_AGAIN_S
    finally:
        fleet.close()


def test_two_of_three_brokers_may_be_away_for_half_a_minute(cluster: Cluster, tmp_path: Path) -> None:
    fleet = Fleet(cluster.bootstrap, "c.", tmp_path, session_timeout_ms=SESSION_MS)
    crowd = Crowd(seed=96, people=400)
    try:
        fleet.elo("topics", "create", "--partitions", 4, "--replication-factor", 3)
        fleet.apply(*DEFINITIONS)
        fleet.start("a", "b")
        cluster.wait_in_sync()
        with Load(fleet, crowd.take, RATE):
            time.sleep(WARM_UP_S)
            for node in cluster.nodes[:2]:
                node.kill()
            time.sleep(BOTH_DOWN_S)
            cluster.start()
            time.sleep(AFTER_S)
        settle(fleet)
        assert_equal_to_oracle(fleet, crowd.sent)
        assert [worker.process.poll() for worker in fleet.workers.values()] == [None, None]
    finally:
        fleet.close()
