"""A real Prometheus, a real Alertmanager and whom it wakes: what tests of alerts and dashboards look at."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.fleet import ROOT, _free_port
from tests.support.promql import as_sent

RULES: Final = ROOT / "deploy/prometheus/elo.rules.yml"
ALERTMANAGER: Final = ROOT / "deploy/prometheus/alertmanager.yml"
END_S: Final = 30.0
STARTING: Final = 503


class Server:
    """One of the two, on a free port, with its log."""

    def __init__(self, commands: Sequence[str], log: Path, *arguments: str) -> None:
        """`commands`: names under which the program is looked for."""
        self.port = _free_port()
        self.log = log
        command = next((found for one in commands if (found := shutil.which(one))), None)
        if command is None:
            pytest.skip(
                f"{commands[0]} is not on the PATH: apt-get install {commands[0]}, or see prometheus.io"
            )
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [command, f"--web.listen-address=127.0.0.1:{self.port}", *arguments],
                stdout=output, stderr=output,
            )  # fmt: skip

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(END_S)


class Prometheus(Server):
    """Scrapes and evaluates every `interval`; keeps exemplars."""

    def __init__(
        self,
        directory: Path,
        jobs: Mapping[str, Sequence[int]],
        *,
        rules: Path = RULES,
        interval: str = "1s",
        alertmanager: int = 0,
    ) -> None:
        """`jobs`: ports by what follows `elo-` in the name of the job. `alertmanager`: its port."""
        config: dict[str, Any] = {
            "global": dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), interval),
            "rule_files": [str(rules)],
            "scrape_configs": [
                {
                    "job_name": f"elo-{name}",
                    "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}],
                }
                for name, ports in jobs.items()
            ],
        }
        if alertmanager:
            target = {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}
            config["alerting"] = {"alertmanagers": [target]}
        file = directory / "prometheus.yml"
        file.write_text(json.dumps(config))  # JSON is YAML
        super().__init__(
            ["prometheus"], directory / "prometheus.log", f"--config.file={file}",
            f"--storage.tsdb.path={directory / 'tsdb'}", "--enable-feature=exemplar-storage",
        )  # fmt: skip

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API, None while it does not answer. A bad query raises."""
        try:
            url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            with refused:
                if refused.code == STARTING:
                    return None
                raise AssertionError(f"{parameters}: {refused.read().decode()}") from None
        except OSError:
            assert self.process.poll() is None, self.log.read_text()
            return None

    def has_data(self, expression: str) -> bool:
        """Whether a query returns a number."""
        found = self.ask("query", query=expression)
        return found is not None and any(not math.isnan(float(one["value"][1])) for one in found["result"])

    def alerts(self, *states: str) -> set[str]:
        """The names of alerts in these states: `pending`, `firing`."""
        found = (self.ask("alerts") or {"alerts": []})["alerts"]
        return {one["labels"]["alertname"] for one in found if one["state"] in states}


class Alertmanager(Server):
    """With the shipped routes and inhibitions; only its times are shorter and its receivers are a pager."""

    def __init__(self, directory: Path, pager: Pager) -> None:
        config = yaml.safe_load(ALERTMANAGER.read_text("utf-8"))
        config["route"] |= {"group_wait": "100ms", "group_interval": "1s"}
        for receiver in config["receivers"]:
            (webhook,) = receiver["webhook_configs"]
            webhook["url"] = f"http://127.0.0.1:{pager.port}/{receiver['name']}"
        file = directory / "alertmanager.yml"
        file.write_text(json.dumps(config))
        super().__init__(
            ["prometheus-alertmanager", "alertmanager"], directory / "alertmanager.log",
            f"--config.file={file}", f"--storage.path={directory / 'alertmanager'}",
            "--cluster.listen-address=",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert of a notification. `route`: the receiver. `status`: firing or resolved."""

    route: str
    status: str
    name: str
    severity: str


class Pager:
    """Takes the notifications of an Alertmanager."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        pager = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                pager.notices += [
                    Notice(self.path.strip("/"), one["status"], one["labels"]["alertname"],
                           one["labels"]["severity"])
                    for one in body["alerts"]
                ]  # fmt: skip
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Nothing: the notices are kept."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def last(self, name: str, severity: str) -> str:
        """What was told last of an alert: firing, resolved, or nothing."""
        told = [one.status for one in list(self.notices) if (one.name, one.severity) == (name, severity)]
        return told[-1] if told else ""

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


DRILLED: Final = ('status=~"5.."', "elo_reconcile_first_missing_offset")
"""Parts of the queries of dashboards that are empty while all is well: tests/drills makes their data."""


def panel_queries() -> list[str]:
    """The expressions of all dashboards, as Grafana would send them."""
    boards = [json.loads(path.read_text("utf-8")) for path in (ROOT / "deploy/grafana").glob("*.json")]
    panels = [panel for board in boards for panel in board["panels"]]
    return [as_sent(target["expr"]) for panel in panels for target in panel["targets"]]
