"""A real Prometheus scrapes two workers, a collector, a delivery and the reconciliation: every panel of every
dashboard has data, or its data is made by a drill (tests/drills).

Left out of the default run, for it needs `prometheus` on the PATH (`apt-get install prometheus`):
`python -m pytest tests/integration/test_prometheus.py -m soak`.
"""

from __future__ import annotations

import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson
import pytest

from tests.support.collector import KEY, make_collector
from tests.support.delivering import QUICK, Deliverer
from tests.support.deployment import Deployment
from tests.support.fleet import Fleet, MakeFleet, make_fleet, wait_for  # noqa: F401  a fixture
from tests.support.monitoring import DRILLED, Prometheus, panel_queries
from tests.support.promql import declared_series
from tests.support.receiver import Receiver
from tests.support.scene import Follower

pytestmark = pytest.mark.soak
SEEN: Final = {"id": "seen", "where": {"event": "product_viewed", "within": "1h"}}
DATA_S: Final = 60.0
TRACE: Final = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver().start()
    yield found
    found.stop()


def feed(fleet: Fleet, port: int, number: int) -> None:
    """People at one kiosk, each with an e-mail that is none; one event that the collector takes, one not."""
    items = [
        {"type": "track", "event": "Seen", "userId": f"c{number}", "messageId": f"c{number}"},
        {"type": "no such type", "messageId": f"x{number}"},
    ]
    body = orjson.dumps({"batch": items, "writeKey": KEY})
    urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/batch", body, timeout=10).close()
    known = {"user_id": f"p{number}", "anonymous_id": "kiosk", "email": "none"}
    fleet.send([{
        "event_id": f"p{number}", "source": "web", "type": "product_viewed",
        "occurred_at": time.time_ns() // 1_000_000,
        "identifiers": [{"type": name, "value": value} for name, value in known.items()],
        "context": {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
    }])  # fmt: skip


def test_each_panel_has_data_and_a_killed_worker_is_seen(
    make_fleet: MakeFleet,  # noqa: F811
    receiver: Receiver,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet = make_fleet()
    fleet.create_topics(2).apply(SEEN)
    worker, other = fleet.start("a", "b")
    follower = Follower("follower", fleet.directory, {**os.environ, **fleet.environment})
    fleet.workers["follower"] = follower.start()
    collector = make_collector(fleet)
    deployment = Deployment(fleet.bootstrap, fleet.prefix, capsys)
    deliverer = Deliverer(deployment, tmp_path, {"name": "crm", "url": receiver.url("crm"), **QUICK})
    deliverer.start()
    jobs = {
        "worker": [worker.port, other.port],
        "collect": [collector.port],
        "deliver": [deliverer.processes[0][1]],
        "reconcile": [follower.port],
    }
    prometheus = Prometheus(tmp_path, jobs)
    try:
        missing = [query for query in panel_queries() if not any(part in query for part in DRILLED)]
        number, deadline = 0, time.monotonic() + DATA_S
        while missing:
            assert time.monotonic() < deadline, missing
            number += 1
            feed(fleet, collector.port, number)
            if number == 3:
                reason = ("--by", "ana", "--reason", "a test")
                fleet.elo("identity", "merge", "user_id:p1", "user_id:p2", *reason)
            time.sleep(1)
            missing = [query for query in missing if not prometheus.has_data(query)]
        check_series(prometheus)
        check_exemplars(prometheus)
        both = ("pending", "firing")
        assert "EloTargetDown" not in prometheus.alerts(*both)
        worker.kill()
        wait_for(lambda: "EloTargetDown" in prometheus.alerts(*both), "a dead worker is seen", 30)
        fleet.start("a")
        wait_for(lambda: "EloTargetDown" not in prometheus.alerts(*both), "it is back", 60)
        check_given_up(prometheus)
        deliverer.stop()
    finally:
        prometheus.stop()
        deliverer.kill()


def check_series(prometheus: Prometheus) -> None:
    """What was scraped has the names and labels that the tests of rules and dashboards go by."""
    declared = declared_series()
    for one in prometheus.ask("series", **{"match[]": '{__name__=~"elo_.+"}'}):
        name = one.pop("__name__")
        if not name.endswith("_created"):
            assert set(one) == declared[name], name


def check_exemplars(prometheus: Prometheus) -> None:
    """Prometheus has kept the trace of a touch beside the latency of the change that it caused."""
    query = {"query": "elo_touch_to_change_seconds_bucket", "start": "0", "end": str(time.time() + 60)}
    found = prometheus.ask("query_exemplars", **query)
    assert {one["labels"]["trace_id"] for series in found for one in series["exemplars"]} == {TRACE}


def check_given_up(prometheus: Prometheus) -> None:
    """No two workers tell of one partition: a worker that has given one up does not speak of it any more."""

    def told_twice() -> bool:
        series = "{job='elo-worker', partition!=''}"
        return prometheus.has_data(f"count by (__name__, topic, partition) ({series}) > 1")

    wait_for(lambda: not told_twice(), "each partition is told of by one worker", 30)
