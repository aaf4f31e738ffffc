"""The promises of the README on a real broker with a real worker: touchpoints in, profiles, changes out."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from pipeline.core.errors import Reason
from tests.support.comparison import broken_laws
from tests.support.crowd import DEFINITIONS, Crowd, settle
from tests.support.fleet import ROOT, Fleet, MakeFleet, make_fleet  # noqa: F401  a fixture
from tests.support.kafka import Kafka
from tests.support.malformed import malformed
from tests.support.site import DECIDED_MS_MAX, Site

HOUR_MS = 3_600_000
BYTES_ONCE = 100_000  # values above this are sent once, the others until there are enough
MALFORMED = 1_000
GOOD_EVERY = 50
CONTRACT_METRICS = (
    "elo_touchpoints_total", "elo_rejected_total", "elo_duplicates_total", "elo_mail_total",
    "elo_joins_total",
    "elo_refused_links_total", "elo_membership_changes_total", "elo_commit_seconds",
    "elo_touch_to_change_seconds", "elo_partition_lag_records", "elo_partition_lag_seconds",
    "elo_restore_records_total", "elo_restore_remaining_records", "elo_timers_due",
    "elo_component_identifiers", "elo_state_bytes", "elo_segment_profiles", "elo_build_info",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The deployment of this file: two partitions, one worker."""
    directory = tmp_path_factory.mktemp("site")
    fleet = Fleet(kafka.bootstrap, f"site{time.time_ns()}.", directory, profile_interval_ms=200)
    site = Site(fleet.create_topics(2))
    site.start()
    yield site
    fleet.close()
    fleet.delete_topics()


@pytest.fixture(autouse=True)
def nobody_died(site: Site) -> Iterator[None]:
    """After each test the worker is alive."""
    yield
    assert site.worker.is_alive()


def test_who_looks_at_shoes_in_madrid_enters_and_leaves_at_the_exact_second(site: Site) -> None:
    site.define(
        "madrid-running-no-purchase",
        {
            "all": [
                {"trait": "city", "is": "Madrid"},
                {"event": "product_viewed", "where": {"category": "running shoes"}, "within": "2s"},
                {"none": [{"event": "order_completed", "within": "2s"}]},
            ]
        },
        purpose="marketing",
    )
    who = "email:ana@example.com", "anonymous_id:ana-1"
    shoes = {"category": "running shoes"}
    said = {"traits": {"city": "Madrid"}, "consent": {"marketing": True}}
    elsewhere = {"traits": {"city": "Lisboa"}, "consent": {"marketing": True}}
    site.send(
        site.touch("crm_updated", who[0], source="crm", **said),
        site.touch("product_viewed", "email:rui@example.com", properties=shoes, **elsewhere),
    )
    view = site.touch("product_viewed", *who, properties=shoes)
    site.send(view)
    entered, exited = site.await_changes("madrid-running-no-purchase", 2)
    assert (entered["change"], entered["sequence"], entered["cause"]) == ("entered", 1, "event")
    assert entered["occurred_at"] == view["occurred_at"]
    assert view["event_id"] in entered["event_ids"]
    assert {"type": "email", "value": "ana@example.com"} in entered["identifiers"]
    assert (exited["change"], exited["sequence"], exited["cause"]) == ("exited", 2, "timer")
    assert exited["occurred_at"] == view["occurred_at"] + 2_000
    assert 0 <= exited["decided_at"] - exited["occurred_at"] < DECIDED_MS_MAX
    assert exited["profile_id"] == entered["profile_id"] == site.profile(who[0])["profile_id"]

    again = site.touch("product_viewed", *who, properties=shoes)
    site.send(again, bought := site.touch("order_completed", who[0]))
    third, fourth = site.await_changes("madrid-running-no-purchase", 4)[2:]
    assert (third["change"], third["sequence"], third["occurred_at"]) == ("entered", 3, again["occurred_at"])
    assert (fourth["change"], fourth["sequence"], fourth["cause"]) == ("exited", 4, "event")
    assert fourth["occurred_at"] == bought["occurred_at"]


def test_a_login_merges_two_profiles_into_one(site: Site) -> None:
    site.define("film-lover", {"event": "film_watched"})
    first = site.touch("film_watched", "anonymous_id:bea-1")
    first["occurred_at"] -= 1_000
    site.send(first, site.touch("film_watched", "user_id:bea"))
    anonymous, known = site.profile("anonymous_id:bea-1"), site.profile("user_id:bea")
    login = site.touch("identified", "user_id:bea", "anonymous_id:bea-1")
    site.send(login)

    merged = site.profile("user_id:bea")
    assert merged == site.profile("anonymous_id:bea-1")
    assert merged["profile_id"] == anonymous["profile_id"]  # of the identifier that was seen first
    assert merged["counters"] == {"film_watched": 2, "identified": 1}
    assert merged["aliases"] == [known["profile_id"]]
    assert (merged["first_seen"], merged["last_seen"]) == (first["occurred_at"], login["occurred_at"])
    alias = site.fleet.compacted("profiles.merges")[known["profile_id"]]
    assert (alias["profile_id"], alias["cause"]) == (anonymous["profile_id"], "merge")
    *entries, left = site.await_changes("film-lover", 3)
    assert [change["change"] for change in entries] == ["entered", "entered"]
    assert (left["profile_id"], left["change"], left["cause"]) == (known["profile_id"], "exited", "merge")
    assert left["sequence"] == 2
    settle(site.fleet)
    published = site.fleet.compacted("profiles.unified")
    assert known["profile_id"] not in published
    assert published[anonymous["profile_id"]]["aliases"] == [known["profile_id"]]


def test_json_and_avro_of_one_person_count_alike(site: Site) -> None:
    touches = [site.touch("page_viewed", "user_id:carla") for _ in range(6)]
    site.send(*touches)  # every third goes as JSON
    assert site.profile("user_id:carla")["counters"] == {"page_viewed": 6}


def test_a_repetition_counts_once_also_after_a_restart_and_with_an_empty_disk(site: Site) -> None:
    touches = [site.touch("page_viewed", f"user_id:dora-{number}") for number in range(40)]
    site.send(*touches)
    site.send(*touches, *touches[:10])
    assert site.worker.metrics()["elo_duplicates_total"] >= 50
    site.stop()
    site.start()
    site.send(*touches)
    assert site.worker.metrics()["elo_duplicates_total"] == 40
    site.worker.kill()
    site.worker.wipe()
    site.start()
    site.send(*touches)
    assert site.worker.metrics()["elo_duplicates_total"] == 40
    for number in (0, 39):
        assert site.profile(f"user_id:dora-{number}")["counters"] == {"page_viewed": 1}
    site.check()


def test_every_malformed_touchpoint_is_rejected_with_its_reason_and_its_bytes(site: Site) -> None:
    every = malformed(time.time_ns() // 1_000_000 + HOUR_MS)
    assert len({one.kind for one in every}) >= 20
    sent = list(every)
    small = [one for one in every if len(one.value or b"") <= BYTES_ONCE]
    while len(sent) < MALFORMED:
        sent.extend(small[: MALFORMED - len(sent)])
    good = 0
    for number, one in enumerate(sent):
        if number % GOOD_EVERY == 0:
            site.fleet.send([site.touch("page_viewed", f"user_id:good-{number}")], flush=False)
            good += 1
        site.fleet.send_raw("web", one.value, f"bad-{number}".encode())
    assert site.fleet.producer.flush(60) == 0
    site.fleet.wait_idle()

    rejected = {message.key(): message for message in site.fleet.read("touchpoints.rejected")}
    assert len(rejected) == len(sent)
    places = set()
    for number, one in enumerate(sent):
        message = rejected[f"bad-{number}".encode()]
        headers = {name: value.decode() for name, value in message.headers()}
        told = headers["elo.reason"], headers["elo.field"], headers["elo.topic"]
        assert told == (one.reason, one.field, f"{site.fleet.prefix}touchpoints.web"), one.kind
        assert message.value() == one.value, one.kind
        places.add((headers["elo.partition"], headers["elo.offset"]))
    assert len(places) == len(sent)
    lines = [line for line in site.fleet.dump() if line["identifiers"][0]["value"].startswith("good-")]
    assert [line["counters"] for line in lines] == [{"page_viewed": 1}] * good
    counted = Counter(one.reason for one in sent)
    scraped = site.worker.get("metrics")[1]
    for reason, count in counted.items():
        assert f'elo_rejected_total{{reason="{reason}"}} {count}.0' in scraped
    assert set(counted) == set(Reason) - {Reason.INTERNAL_ERROR}


def test_a_new_definition_is_filled_from_history_beside_what_happens_meanwhile(site: Site) -> None:
    where = {"event": "photo_taken", "where": {"camera": "old"}, "within": "1h", "at_least": 2}
    old = {"properties": {"camera": "old"}}
    before = [site.touch("photo_taken", f"user_id:eva-{number}", **old) for number in range(60)]
    site.send(*before)
    site.fleet.send(site.touch("photo_taken", f"user_id:eva-{number}", **old) for number in range(20))
    site.define("photographer", where)
    site.fleet.send(site.touch("photo_taken", f"user_id:eva-{number}", **old) for number in range(20, 40))
    site.fleet.wait_idle()
    changes = site.await_changes("photographer", 40)
    assert len(changes) == 40
    assert {change["change"] for change in changes} == {"entered"}
    assert {change["cause"] for change in changes} <= {"event", "backfill"}
    assert all(change["backfill"] == (change["cause"] == "backfill") for change in changes)

    site.define("photographer-of-old", {**where, "within": "2h"})
    filled = site.await_changes("photographer-of-old", 40)
    assert [(change["cause"], change["backfill"]) for change in filled] == [("backfill", True)] * 40
    site.send(*(site.touch("photo_taken", f"user_id:eva-{number}", **old) for number in range(40, 45)))
    live = site.await_changes("photographer-of-old", 45)
    assert Counter(change["cause"] for change in live) == {"backfill": 40, "event": 5}
    site.check()


def test_an_edited_definition_tells_the_difference_and_a_deleted_one_lets_everybody_go(site: Site) -> None:
    plans = ("gold", "silver", "bronze")
    site.define("paying", {"trait": "plan", "is": "gold"})
    site.send(*(site.touch("plan_chosen", f"user_id:{plan}", traits={"plan": plan}) for plan in plans))
    gold, silver, bronze = (site.profile(f"user_id:{plan}")["profile_id"] for plan in plans)
    assert [change["profile_id"] for change in site.await_changes("paying", 1)] == [gold]

    site.define("paying", {"trait": "plan", "in": ["silver", "gold"]})
    site.fleet.wait_idle()
    _, edited = site.await_changes("paying", 2)
    assert (edited["profile_id"], edited["change"], edited["cause"]) == (silver, "entered", "definition")
    assert (edited["segment_version"], edited["sequence"], edited["backfill"]) == (2, 1, False)

    site.define("paying", {"trait": "plan", "in": ["silver", "bronze"]})
    site.fleet.wait_idle()
    told = {(one["profile_id"], one["change"]) for one in site.await_changes("paying", 4)[2:]}
    assert told == {(gold, "exited"), (bronze, "entered")}

    site.undefine("paying")
    site.fleet.wait_idle()
    *_, one, other = changes = site.await_changes("paying", 6)
    assert {one["profile_id"], other["profile_id"]} == {silver, bronze}
    assert {(change["change"], change["cause"]) for change in (one, other)} == {("exited", "definition")}
    assert len(changes) == 6


def test_a_consent_that_is_withdrawn_ends_the_membership(site: Site) -> None:
    site.define("reader", {"event": "email_opened"}, purpose="newsletter")
    email = "email:gil@example.com"
    site.send(site.touch("email_opened", email, source="email", consent={"newsletter": True}))
    site.send(refusal := site.touch("preferences_saved", email, consent={"newsletter": False}))
    entered, exited = site.await_changes("reader", 2)
    assert (entered["change"], exited["change"], exited["cause"]) == ("entered", "exited", "consent")
    assert exited["occurred_at"] == refusal["occurred_at"]


def test_a_membership_that_ends_while_no_worker_runs_ends_once_and_at_its_instant(site: Site) -> None:
    site.define("just-here", {"event": "door_opened", "within": "3s"})
    opened = site.touch("door_opened", "user_id:hal")
    site.send(opened)
    site.stop()
    time.sleep(max(0.0, (opened["occurred_at"] + 3_200) / 1_000 - time.time()))
    started_ms = time.time_ns() // 1_000_000
    site.start()
    site.fleet.wait_idle()
    entered, exited = site.await_changes("just-here", 2)
    assert (exited["occurred_at"], exited["cause"]) == (opened["occurred_at"] + 3_000, "timer")
    assert exited["decided_at"] >= started_ms > exited["occurred_at"]
    assert (entered["sequence"], exited["sequence"]) == (1, 2)


def test_a_worker_tells_its_health_and_every_metric_of_the_contract(site: Site) -> None:
    assert site.worker.get("livez")[0] == 200
    status, body = site.worker.get("readyz")
    assert (status, body.count(':"ready"')) == (200, 3)  # the whole and its two partitions
    text = site.worker.get("metrics")[1]
    known = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert [name for name in CONTRACT_METRICS if name not in known] == []
    assert [line for line in text.splitlines() if "user_id:" in line or "@example.com" in line] == []


UNUSABLE = {
    "a setting": ({"ELO_CACHE_MB": "much"}, "ELO_CACHE_MB"),
    "no topics": ({"ELO_TOPIC_PREFIX": "nobody-made-these."}, "elo topics create"),
    "no broker": ({"ELO_BOOTSTRAP": "127.0.0.1:9"}, "127.0.0.1:9"),
    "no policy": ({"ELO_IDENTITY": "/nowhere/identity.yaml"}, "/nowhere/identity.yaml"),
    "no directory": ({"ELO_DATA_DIR": "/proc/nowhere"}, "/proc/nowhere"),
    "a taken port": ({}, "--web-port"),
}
"""What is wrong: variables of the environment, and what the sentence must name."""


def test_a_worker_that_cannot_start_says_why_in_one_sentence(site: Site, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.launch", "worker"]
    started = {}
    for what, (variables, _) in UNUSABLE.items():
        own = {"ELO_WEB_PORT": str(site.worker.port), "ELO_DATA_DIR": str(tmp_path / what), **variables}
        started[what] = subprocess.Popen(
            command, cwd=ROOT, env={**site.worker.environment, **own}, stderr=subprocess.PIPE, text=True
        )
    for what, process in started.items():
        _, said = process.communicate(timeout=60)
        sentences = [line for line in said.splitlines() if line.startswith("elo: ")]
        assert process.returncode in (1, 3), said
        assert len(sentences) == 1, said
        assert UNUSABLE[what][1] in sentences[0]
        assert "Traceback" not in said


def test_partitions_and_order_of_arrival_do_not_change_the_state(make_fleet: MakeFleet) -> None:  # noqa: F811
    definitions = [one for one in DEFINITIONS if one["id"] != "here-now"]  # it ends within the test
    touchpoints = Crowd(seed=3, people=60).take(400)
    hashes, profiles = [], []
    for partitions, seed in ((1, None), (8, 9)):
        fleet = make_fleet().create_topics(partitions)
        fleet.apply(*definitions)
        fleet.start("a")
        given = touchpoints if seed is None else random.Random(seed).sample(touchpoints, len(touchpoints))
        fleet.send(given)
        fleet.wait_idle()
        hashes.append(fleet.hash())
        lines = fleet.dump()
        profiles.append(sorted((line["profile_id"], sorted(line["memberships"])) for line in lines))
        fleet.worker("a").kill()
    assert hashes[0] == hashes[1]
    assert profiles[0] == profiles[1]


def test_in_the_end_everything_ever_sent_here_is_as_the_oracle_says(site: Site) -> None:
    site.check()
    assert broken_laws(site.fleet, site.fleet.dump()) == []
    site.stop()
    site.start()
    site.check()


def test_a_change_carries_the_trace_of_its_touchpoint_as_a_header(site: Site) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    other = parent.replace("4bf", "5bf")
    site.define("traced", {"event": "traced", "within": "1h"})
    for number, context in enumerate(({"traceparent": parent}, {})):
        both = site.touch("traced", f"anonymous_id:traced-{number}", context=context)
        site.fleet.send_raw("web", orjson.dumps(both), headers=[("traceparent", other)])
    site.fleet.producer.flush(60)
    site.send(site.touch("traced", "anonymous_id:traced-2"))
    changes = {change["profile_id"] for change in site.await_changes("traced", 3)}
    headers = [
        record.headers()
        for record in site.fleet.read("segments.membership")
        if (record.key() or b"").decode() in changes
    ]
    told = [[("traceparent", one.encode())] for one in (parent, other)]
    assert sorted(headers, key=str) == [None, *told]
