"""The broker or the collector goes away under load: nothing that was acknowledged is lost, order is kept."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.broker import EmbeddedBroker
from tests.support.collector import Sender, check_arrived, make_collector
from tests.support.fleet import Fleet, wait_for

SENDERS = 6


@pytest.fixture
def fleet(own_broker: EmbeddedBroker, tmp_path: Path) -> Iterator[Fleet]:
    own_broker.start()
    fleet = Fleet(own_broker.bootstrap, "c.", tmp_path)
    fleet.create_topics(4)
    yield fleet
    fleet.close()


def test_nothing_acknowledged_is_lost_when_broker_and_collector_go(
    fleet: Fleet, own_broker: EmbeddedBroker
) -> None:
    """The broker stands still, the spool fills up, the collector is killed, and again when all is well."""
    collector = make_collector(fleet, spool_mb=1)
    senders = [Sender(collector.port, f"s{number}", batch=50) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    time.sleep(1)
    broker_pid = own_broker.pid
    assert broker_pid is not None
    os.kill(broker_pid, signal.SIGSTOP)
    try:
        wait_for(lambda: sum(sender.statuses.get(503, 0) for sender in senders) > 5, "the spool is full")
        wait_for(lambda: collector.get("readyz")[0] == 503, "it says so")
        collector.kill()
        collector.start()
        wait_for(lambda: collector.get("livez")[0] == 200, "a collector without a broker")
    finally:
        os.kill(broker_pid, signal.SIGCONT)
    wait_for(lambda: '"broker":true' in collector.get("readyz")[1], "the disk is drained")
    time.sleep(0.5)
    collector.kill()
    collector.start().wait_ready()
    time.sleep(0.5)
    for sender in senders:
        sender.finish()
    assert collector.terminate() == 0
    check_arrived(fleet, senders)


@pytest.mark.soak
def test_a_minute_without_a_broker_under_load(fleet: Fleet, own_broker: EmbeddedBroker) -> None:
    """60 s at full speed: memory is bounded, order is kept, nobody waits for long."""
    import psutil

    collector = make_collector(fleet)
    senders = [Sender(collector.port, f"s{number}", batch=100) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    time.sleep(5)
    process = psutil.Process(collector.process.pid)
    before = process.memory_info().rss
    own_broker.kill()
    deadline, most = time.monotonic() + 60, 0
    while time.monotonic() < deadline:
        most = max(most, process.memory_info().rss)
        time.sleep(0.5)
    spooled = collector.metrics()["elo_collect_spooled_total"]
    own_broker.start()
    time.sleep(10)  # The load goes on beside the draining; at full speed for ever it need not come to an end.
    most = max(most, process.memory_info().rss)
    for sender in senders:
        sender.finish()
    wait_for(lambda: collector.metrics()["elo_collect_spool_bytes"] == 0, "the disk is drained", 120)
    most = max(most, process.memory_info().rss)
    assert collector.terminate() == 0
    repeated = check_arrived(fleet, senders)
    total = sum(len(sender.acknowledged) for sender in senders)
    slowest_s = max(sender.slowest_s for sender in senders)
    print(f"{total} events, {spooled:.0f} over the disk, {repeated} twice, slowest answer {slowest_s:.2f} s")
    print(f"memory {before >> 20} to {most >> 20} MB")
    assert most < before + 200 * 1024 * 1024
    assert slowest_s < 10
