"""The sample of a small real deployment: equal to its part of the state, and what a preview makes of it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.cli.kafka import connect
from pipeline.runtime.sample import is_sampled
from tests.support.comparison import sample_faults
from tests.support.deployment import Elo
from tests.support.kafka import Kafka
from tests.support.site import Site, open_site

PEOPLE: Final = 500
WANTED: Final = [
    {"id": "lookers", "where": {"event": "product_viewed", "where": {"category": "hats"}, "within": "7d"}},
    {"id": "golden", "where": {"trait": "plan", "is": "gold"}},
    {"id": "nobody", "where": {"event": "order_completed"}},
    {"trait": "views", "compute": "count", "event": "product_viewed"},
]


@pytest.fixture(scope="module")
def site(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Many people, some of whom came without a name first; one of them has more than a page of devices."""
    with open_site(kafka.bootstrap, "sample", tmp_path_factory.mktemp("sample")) as site:
        site.start()
        send_people(site)
        yield site


def send_people(site: Site) -> None:
    rng = random.Random(1)
    plans = ["gold", "tin", "tin"]
    visits = [
        site.touch(
            "product_viewed",
            f"anonymous_id:a{number}",
            properties={"category": rng.choice(["hats", "books"])},
        )
        for number in range(PEOPLE)
    ]
    site.fleet.send(visits)
    logins = [
        site.touch(
            "identified", f"user_id:u{number}", f"anonymous_id:a{number}", traits={"plan": rng.choice(plans)}
        )
        for number in range(0, PEOPLE, 2)
    ]
    devices = [site.touch("identified", "user_id:u0", f"device_id:d{number}") for number in range(20)]
    site.send(*logins, *devices)


def preview(elo: Elo, file: Path, *options: str) -> dict[str, Any]:
    file.write_text(json.dumps(WANTED))
    return dict(elo("segments", "preview", file, "--json", *options).document)


def test_the_sample_follows_the_state_through_merges_undone_merges_and_a_killed_worker(
    site: Site, elo: Elo
) -> None:
    fleet = site.fleet
    before = len({one.key() for one in fleet.read("elo.sample")})
    assert before > PEOPLE / 32 / 2
    assert not sample_faults(fleet)
    who = ("--by", "ana", "--reason", "a test", "--json")
    users = range(0, PEOPLE - 2, 2)
    sampled = [number for number in users if is_sampled(f"user_id:u{number}".encode())][:5]
    made = [
        elo("identity", "merge", f"user_id:u{number}", f"user_id:u{number + 2}", *who).document["decision_id"]
        for number in sampled
    ]
    fleet.wait_idle()
    assert not sample_faults(fleet)
    for decision in made[:3]:
        elo("identity", "undo", decision, *who)
    fleet.send([site.touch("page_viewed", f"user_id:u{number}") for number in range(0, PEOPLE, 2)])
    site.worker.kill()
    site.worker.wipe()
    site.start()
    fleet.wait_idle()
    assert not sample_faults(fleet)


def test_a_preview_of_a_sample_says_between_which_numbers_the_exact_one_lies(
    site: Site, elo: Elo, tmp_path: Path
) -> None:
    file = tmp_path / "wanted.yaml"
    exact, small = preview(elo, file, "--exact"), preview(elo, file)
    assert {**small, "evaluated_at": ""} == {**exact, "evaluated_at": ""}
    assert exact["estimated"] is False
    about = preview(elo, file, "--sample", "1000")
    assert (about["estimated"], about["history_read"]) == (True, True)
    assert about["sample"] >= PEOPLE / 32 / 2
    pairs = [(exact["profiles"], about["interval"])]
    for one, other in zip(exact["segments"], about["segments"], strict=True):
        groups = ("values", "changing") if "values" in one else ("inside", "entering", "leaving")
        pairs += [(one[name]["count"], other[name]["interval"]) for name in groups]
    assert len(pairs) == 12
    inside = [low <= count <= high for count, (low, high) in pairs]
    assert all(inside), pairs
    hats = exact["segments"][0]["inside"]
    assert set(about["segments"][0]["inside"]["examples"]) - set(hats["examples"]) or hats["count"] < 21
    said = elo("segments", "preview", file, "--sample", "1000").out
    assert said.startswith("about ")
    assert " of them (--exact counts all) at 20" in said
    planned = elo("segments", "plan", file, "--sample", "1000", "--json").document
    assert planned["segments"][0]["intervals"]["inside"] == about["segments"][0]["inside"]["interval"]
    assert elo("segments", "plan", file, "--sample", "9", "--exact").code == 2


def test_a_deployment_without_a_sample_is_counted_exactly_and_gets_one_from_the_next_worker(
    site: Site, elo: Elo, tmp_path: Path
) -> None:
    fleet, file = site.fleet, tmp_path / "wanted.yaml"
    site.stop()
    admin = connect(fleet.settings)
    admin.delete_topics([fleet.topics.sample])[fleet.topics.sample].result(30)
    assert preview(elo, file, "--sample", "10")["estimated"] is False
    fleet.create_topics(2)
    assert preview(elo, file, "--sample", "10")["estimated"] is False  # It is there, and empty.
    site.start()
    site.send(site.touch("page_viewed", "user_id:u2"))
    assert not sample_faults(fleet)
    assert preview(elo, file, "--sample", "10")["estimated"] is True
