"""Three brokers, each killed and started again under load: nothing lost or doubled, and fresh again soon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka.admin import ConfigResource, ResourceType

from pipeline.cli.kafka import connect
from tests.support.cluster import Cluster
from tests.support.comparison import assert_equal_to_oracle
from tests.support.crowd import DEFINITIONS, Crowd, Load, settle
from tests.support.fleet import Fleet
from tests.support.freshness import LANDED, Newcomers, Stopwatch, percentile

pytestmark = pytest.mark.soak
SEGMENTS = (*DEFINITIONS, LANDED)
SESSION_MS = 10_000  # as it is shipped
FRESH_AGAIN_S = 30.0
FRESH_S = 2.0
RATE = 200  # of each kind, a second
DOWN_S = 8.0
AFTER_S = 10.0  # how long is looked at, once it must be fresh again


def least_copies(fleet: Fleet) -> str:
    """How many brokers must have a record of `elo.state` before it counts."""
    admin, resource = connect(fleet.settings), ConfigResource(ResourceType.TOPIC, f"{fleet.prefix}elo.state")
    described = admin.describe_configs([resource], request_timeout=30)[resource].result()
    return str(described["min.insync.replicas"].value)


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
            time.sleep(5)
            for node in cluster.nodes:
                killed_at.append(time.time())
                node.kill()
                time.sleep(DOWN_S)
                node.start()
                time.sleep(FRESH_AGAIN_S - DOWN_S + AFTER_S)
        settle(fleet)
        watch.stop()
        fresh_again_s = []
        for at in killed_at:
            late = [
                sent_at - at
                for event_id, sent_at in newcomers.sent_at.items()
                if at <= sent_at < at + FRESH_AGAIN_S + AFTER_S
                and watch.seen_at[event_id] - sent_at > FRESH_S
            ]
            fresh_again_s.append(max(late, default=0.0))
        slowest = percentile(watch.delays(newcomers, 0, time.time()), 1.0)
        print(f"fresh again after {[round(one, 1) for one in fresh_again_s]} s, slowest {slowest:.1f} s")
        assert_equal_to_oracle(fleet, [*crowd.sent, *newcomers.sent], SEGMENTS)
        assert [worker.process.poll() for worker in fleet.workers.values()] == [None, None]
        assert max(fresh_again_s) < FRESH_AGAIN_S
    finally:
        fleet.close()
