"""A real Prometheus scrapes a worker, a collector and a delivery: every panel of every dashboard has data.

Left out of the default run, for it needs `prometheus` on the PATH (`apt-get install prometheus`):
`python -m pytest tests/integration/test_prometheus.py -m soak`.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from tests.support.collector import KEY, make_collector
from tests.support.delivering import QUICK, Deliverer
from tests.support.deployment import Deployment
from tests.support.fleet import (  # noqa: F401  a fixture
    ROOT,
    Fleet,
    MakeFleet,
    _free_port,
    make_fleet,
    wait_for,
)
from tests.support.promql import as_sent, declared_series
from tests.support.receiver import Receiver

pytestmark = pytest.mark.soak
SEEN: Final = {"id": "seen", "where": {"event": "product_viewed", "within": "1h"}}
DATA_S: Final = 60.0
TURNED_AWAY: Final = 'status=~"5.."'
"""The one query that stays empty here: the collector has room for what it is sent."""
RULES: Final = ROOT / "deploy/prometheus/elo.rules.yml"


class Prometheus:
    """A server on a free port that scrapes every second."""

    def __init__(self, directory: Path, **jobs: int) -> None:
        """`jobs`: the port of each, by what follows `elo-` in its name."""
        self.port = _free_port()
        self.log = directory / "prometheus.log"
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {"job_name": f"elo-{name}", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
                for name, port in jobs.items()
            ],
        }
        file = directory / "prometheus.yml"
        file.write_text(json.dumps(config))  # JSON is YAML
        command = shutil.which("prometheus")
        if command is None:
            pytest.skip("prometheus is not on the PATH: apt-get install prometheus, or see prometheus.io")
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [command, f"--config.file={file}", f"--storage.tsdb.path={directory / 'tsdb'}",
                 f"--web.listen-address=127.0.0.1:{self.port}"], stdout=output, stderr=output,
            )  # fmt: skip

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API, None while it does not answer. A bad query raises."""
        try:
            url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            with refused:
                raise AssertionError(f"{parameters}: {refused.read().decode()}") from None
        except OSError:
            assert self._process.poll() is None, self.log.read_text()
            return None

    def has_data(self, expression: str) -> bool:
        """Whether a query returns a number."""
        found = self.ask("query", query=expression)
        return found is not None and any(not math.isnan(float(one["value"][1])) for one in found["result"])

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver().start()
    yield found
    found.stop()


def queries() -> list[str]:
    """The expressions of all dashboards, as Grafana would send them."""
    boards = [json.loads(path.read_text("utf-8")) for path in (ROOT / "deploy/grafana").glob("*.json")]
    panels = [panel for board in boards for panel in board["panels"]]
    return [as_sent(target["expr"]) for panel in panels for target in panel["targets"]]


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
    }])  # fmt: skip


def pending(prometheus: Prometheus) -> set[str]:
    """The names of alerts that are pending or fire."""
    return {one["labels"]["alertname"] for one in (prometheus.ask("alerts") or {"alerts": []})["alerts"]}


def test_each_panel_has_data_and_a_killed_worker_raises_alerts(
    make_fleet: MakeFleet,  # noqa: F811
    receiver: Receiver,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet = make_fleet()
    fleet.create_topics(2).apply(SEEN)
    (worker,) = fleet.start("a")
    collector = make_collector(fleet)
    deployment = Deployment(fleet.bootstrap, fleet.prefix, capsys)
    deliverer = Deliverer(deployment, tmp_path, {"name": "crm", "url": receiver.url("crm"), **QUICK})
    deliverer.start()
    prometheus = Prometheus(
        tmp_path, worker=worker.port, collect=collector.port, deliver=deliverer.processes[0][1]
    )
    try:
        missing = [query for query in queries() if TURNED_AWAY not in query]
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
        assert "EloPartitionUnserved" not in pending(prometheus)
        worker.kill()
        raised = {"EloPartitionUnserved", "EloTargetDown"}
        wait_for(lambda: pending(prometheus) >= raised, "the alerts of a dead worker are pending", 30)
        fleet.start("a")
        wait_for(lambda: not pending(prometheus) & raised, "they are gone", 60)
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
