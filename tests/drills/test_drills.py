"""A drill for each alert: something is broken on purpose, the alert fires, comes over its route, and ends.

The rules are those of deploy/prometheus with every duration divided by one number, the routes those of its
Alertmanager. `make drills`; it needs `prometheus` and `prometheus-alertmanager` (Debian's) on the PATH, and
takes six minutes. The tests share one deployment and follow each other in this order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import pytest
import yaml

from pipeline.cli.app import app
from pipeline.cli.options import run_app
from tests.support.fleet import wait_for
from tests.support.monitoring import DRILLED, RULES, panel_queries
from tests.support.promql import grouped
from tests.support.receiver import Faults
from tests.support.scene import SEGMENTS, SESSION_MS, Scene, open_scene

pytestmark = pytest.mark.soak
CALM_S: Final = 5.0
HELD_S: Final = 15.0  # three times what a change may take
FULL_BYTES: Final = 64 * 1024
BIG: Final = 200_000
SLOW_S: Final = 260.0  # six hours, shortened, and some more
FATAL: Final = 3


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with open_scene(tmp_path_factory.mktemp("drills")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _drill(scene: Scene) -> None:
    scene.begin()


def test_nothing_fires_while_all_is_well(scene: Scene) -> None:
    calm_since = time.monotonic()

    def is_calm() -> bool:
        nonlocal calm_since
        if scene.prometheus.alerts("firing"):
            calm_since = time.monotonic()
        return time.monotonic() - calm_since > CALM_S

    wait_for(
        is_calm, f"nothing fires for {CALM_S:.0f} s", 60
    )  # the first ones may be late: all has just begun


def test_a_storm_of_bad_touchpoints(scene: Scene) -> None:
    scene.fires("EloRejectedMany", "ticket", lambda: scene.send(
        [scene.touchpoint(f"bad-{time.monotonic_ns()}", type="No Such Type") for _ in range(10)]
    ))  # fmt: skip
    scene.resolves("EloRejectedMany", "ticket", 60)


def test_touchpoints_on_which_elo_fails(scene: Scene) -> None:
    def poison() -> None:
        scene.send([scene.touchpoint(f"poison-{time.monotonic_ns()}")])

    scene.fires("EloLossBudget", "page", poison)
    scene.fires("EloLossBudget", "ticket")  # once the page is over: until then it is held back


def test_a_touchpoint_of_which_nothing_comes(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.send([scene.touchpoint("lost-1")])
    scene.fires("EloTouchpointsMissing", "page")
    (query,) = {one for one in panel_queries() if DRILLED[1] in one}
    scene.has(query)
    options = ["--bootstrap", scene.fleet.bootstrap, "--topic-prefix", scene.fleet.prefix]
    assert run_app(app, [*options, "reconcile", "--since", "10m", "--to-rejected"]) == 1
    assert "1 touchpoints are missing" in capsys.readouterr().err
    assert run_app(app, [*options, "reconcile", "--since", "10m"]) == 0
    scene.resolves("EloTouchpointsMissing", "page", 60)


def test_timers_that_do_not_fire(scene: Scene) -> None:
    held = scene.hold / "timers"
    held.touch()
    scene.fires("EloExitsLate", "page")
    held.unlink()
    scene.resolves("EloExitsLate", "page", 60)


def test_records_that_do_not_move(scene: Scene) -> None:
    held = scene.hold / "records"
    held.touch()
    scene.fires("EloPartitionStale", "page")
    time.sleep(HELD_S)
    held.unlink()
    scene.fires("EloFreshnessBudget", "page")  # what has waited is late
    scene.resolves("EloPartitionStale", "page", 60)
    scene.fires("EloFreshnessBudget", "ticket")


def test_a_worker_that_stands_still(scene: Scene) -> None:
    paused_at = time.monotonic()
    scene.b.pause()
    try:
        scene.fleet.apply(*SEGMENTS, {"id": "new", "where": {"event": "order_completed", "within": "2h"}})
        scene.fires("EloTargetDown", "ticket")
        scene.fires("EloChangeStuck", "ticket")
    finally:
        scene.b.resume()
    assert time.monotonic() - paused_at < SESSION_MS / 1000, "the group must not have given its work away"
    for name in ("EloTargetDown", "EloChangeStuck"):
        scene.resolves(name, "ticket", 60)


def test_a_worker_is_killed_and_comes_back_on_a_full_disk(scene: Scene) -> None:
    scene.b.kill()
    scene.fires("EloPartitionUnserved", "page")
    scene.b.wipe()
    scene.b.start(**scene.sabotage, ELO_TEST_FILE_BYTES=FULL_BYTES)
    assert scene.b.wait_end(120) == FATAL
    scene.b.start(data_dir=scene.directory / "roomy", **scene.sabotage).wait_ready(120)
    scene.resolves("EloPartitionUnserved", "page", 120)


def test_a_broker_that_is_away(scene: Scene) -> None:
    number = 0

    def fill() -> None:
        nonlocal number
        number += 1
        scene.post(f"big-{number}", BIG)

    scene.broker.stop()
    try:
        scene.fires("EloSpoolFilled", "page", fill)
        scene.fires("EloCollectBudget", "page", fill)
        (query,) = {one for one in panel_queries() if DRILLED[0] in one}
        scene.has(query)
    finally:
        scene.broker.start()
    scene.resolves("EloSpoolFilled", "page", 90)
    scene.fires("EloCollectBudget", "ticket")
    # People come all the time: it is never idle but by chance.
    fresh = "max(elo_partition_lag_seconds) < 1"
    wait_for(lambda: scene.prometheus.has_data(fresh), "what has waited is worked off", SLOW_S)


def test_destinations_that_fail(scene: Scene) -> None:
    scene.receiver.faults |= {
        "late": Faults(answer=503), "gone": Faults(answer=410), "strict": Faults(answer=400)
    }  # fmt: skip
    for name in ("EloDeliveryDisabled", "EloDeliveryLetters", "EloDeliveryLate"):
        scene.fires(name, "ticket")
    scene.receiver.faults.clear()
    scene.fleet.elo("deliver", "resume", "gone", "--destinations", scene.deliverer.file,
                    "--by", "ana", "--reason", "a drill")  # fmt: skip
    for name in ("EloDeliveryDisabled", "EloDeliveryLetters", "EloDeliveryLate"):
        scene.resolves(name, "ticket", 90)


def test_every_alert_has_fired_and_is_over(scene: Scene) -> None:
    rules = [rule for rule in grouped(yaml.safe_load(RULES.read_text("utf-8"))) if "alert" in rule]
    every = {(rule["alert"], rule["labels"]["severity"]) for rule in rules}
    assert scene.fired == every
    for name, severity in sorted(every):
        scene.resolves(name, severity, SLOW_S)
    wait_for(lambda: not scene.prometheus.alerts("firing"), "nothing fires any more", SLOW_S)
    scene.fleet.check_alive()
