"""Computed traits and why of past changes on a small real deployment: one worker, two partitions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.core.instant import format_instant
from tests.support.deployment import Elo
from tests.support.fleet import wait_for
from tests.support.kafka import Kafka
from tests.support.site import Site, open_site

WINDOW_MS: Final = 4_000
DEFINITIONS: Final = """
trait: spent
compute: sum
of: total
event: order_completed
---
trait: views_lately
compute: count
event: product_viewed
within: 4s
---
trait: interest
score:
  - {points: 10, when: {trait: spent, gte: 50}}
  - {points: 5, when: {trait: views_lately, gte: 1}}
---
id: interested
where: {trait: interest, gte: 15}
"""


@pytest.fixture(scope="module")
def site(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(kafka.bootstrap, "traits", tmp_path_factory.mktemp("traits")) as site:
        site.start()
        yield site


def computed(site: Site) -> dict[str, Any]:
    """What is published of Ana, which the state must say too."""
    shown = {one["profile_id"]: one for one in site.fleet.records("profiles.unified")}
    ana = site.profile("user_id:ana")
    assert ana["traits"] == json.loads(shown[ana["profile_id"]]["traits"])
    return dict(ana["traits"])


def check_explained(elo: Elo, changes: list[dict[str, Any]], view: dict[str, Any]) -> None:
    """An entry by an event, an exit by time, an entry by an edit: each by its own version."""
    explained = [elo("why", "--change", one["change_id"], "--json").document for one in changes]
    assert [one["agrees"] for one in explained] == [True] * 3
    assert [one["segment_version"] for one in explained] == [1, 1, 2]
    assert [one["where"]["condition"]["gte"] for one in explained] == [15, 15, 10]
    assert [one["where"]["found"]["value"] for one in explained] == [15, 10, 10]
    assert explained[0]["where"]["conditions"][1]["events"] == [
        {"event_id": view["event_id"], "at": format_instant(view["occurred_at"])}
    ]
    assert explained[1]["evaluated_at"] == format_instant(changes[1]["occurred_at"])
    assert {one["complete"] for one in explained} == {True}
    said = elo("why", "--change", changes[1]["change_id"]).out
    assert f" exited interested version 1 at {format_instant(changes[1]['occurred_at'])}" in said
    assert "no  trait interest gte 15: found 10, score of 2 rules" in said
    assert elo("why", "--change", "nothing").code == 1


def check_why(elo: Elo) -> None:
    """What the values are made of, after Ana's view has left the window."""
    spent = elo("why", "user_id:ana", "trait:spent", "--json").document
    assert (spent["value"], spent["trait_version"], spent["changes_at"]) == (60, 1, None)
    assert spent["computed"] == {"compute": "sum", "of": "total", "event": "order_completed"}
    assert spent["values"] == [
        {"identifier": "anonymous_id:ana-web", "value": 20.5}, {"identifier": "user_id:ana", "value": 39.5},
    ]  # fmt: skip
    assert [(one["event_id"], one["value"], one["identifier"]) for one in spent["events"]] == [
        ("s1", 39.5, "user_id:ana"), ("s0", 20.5, "anonymous_id:ana-web"),
    ]  # fmt: skip
    interest = elo("why", "user_id:ana", "trait:interest", "--json").document
    assert (interest["value"], interest["policy_version"]) == (10, 1)
    assert [(one["points"], one["holds"]) for one in interest["conditions"]] == [(10, True), (5, False)]
    said = elo("why", "user_id:ana", "trait:interest").out
    assert "\n  10 of 10 points\n    yes trait spent gte 50: found 60, sum of total: order_completed" in said
    assert "\n  0 of 5 points\n    no  trait views_lately gte 1: found 0, " in said
    lately = elo("why", "user_id:ana", "trait:views_lately").out
    assert ": count: product_viewed within 4s, of 0 events\n" in lately
    assert lately.endswith("by itself it never changes\n")


def test_traits_are_filled_kept_by_time_used_explained_and_withdrawn(
    site: Site, elo: Elo, tmp_path: Path
) -> None:
    site.send(
        site.touch("order_completed", "anonymous_id:ana-web", properties={"total": 20.5}),
        site.touch("order_completed", "user_id:ana", properties={"total": 39.5}),
    )
    site.send(site.touch("identified", "user_id:ana", "anonymous_id:ana-web"))
    file = tmp_path / "traits.yaml"
    file.write_text(DEFINITIONS)
    applied = elo("segments", "apply", file, "--json").document["segments"]
    assert [one["id"] for one in applied] == [
        "trait:spent",
        "trait:views_lately",
        "trait:interest",
        "interested",
    ]
    site.fleet.wait_idle()
    assert computed(site) == {"spent": 60, "views_lately": 0, "interest": 10}
    assert '"spent": 60' in elo("export", "user_id:ana").out

    view = site.touch("product_viewed", "anonymous_id:ana-web")
    site.send(view)
    entered, exited = site.await_changes("interested", 2)
    due_ms = view["occurred_at"] + WINDOW_MS
    assert [(one["change"], one["cause"]) for one in (entered, exited)] == [
        ("entered", "event"),
        ("exited", "timer"),
    ]
    assert exited["occurred_at"] == due_ms
    wait_for(lambda: computed(site)["views_lately"] == 0, "the count to fall", 10)
    assert computed(site) == {"spent": 60, "views_lately": 0, "interest": 10}

    check_why(elo)

    file.write_text("id: interested\nwhere: {trait: interest, gte: 10}\n")
    elo("segments", "apply", file)
    site.fleet.wait_idle()
    (_, _, edited) = site.await_changes("interested", 3)
    check_explained(elo, [entered, exited, edited], view)

    refused = elo("segments", "delete", "trait:spent")
    assert (refused.code, "uses what you delete" in refused.err) == (1, True)
    elo("segments", "delete", "interested", "trait:interest", "trait:spent")
    site.fleet.wait_idle()
    assert computed(site) == {"views_lately": 0}
    assert "the computed trait spent was deleted" in elo("why", "user_id:ana", "trait:spent").err
    (*_, gone) = site.await_changes("interested", 4)
    assert (
        elo("why", "--change", gone["change_id"], "--json").document["instead"]
        == "the definition was deleted"
    )
