"""`elo deliver` from the side of its users: signatures, letters, pauses, back-fills, several processes."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.delivering import QUICK, Changes, Deliverer, assert_in_order, await_all, changes_of
from tests.support.deployment import Deployment, touchpoint
from tests.support.fleet import MakeFleet, make_fleet, wait_for  # noqa: F401  a fixture
from tests.support.receiver import Faults, Receiver, Request

OLD, NEW, OTHER = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver().start()
    yield found
    found.stop()


def status(deployment: Deployment, deliverer: Deliverer) -> dict[str, dict[str, Any]]:
    done = deployment.elo("deliver", "status", "--destinations", deliverer.file, "--json")
    assert done.code == 0, done.err
    return {one["destination"]: one for one in done.document}


def letters_of(deployment: Deployment, deliverer: Deliverer) -> dict[str, int]:
    return {name: one["letters"] for name, one in status(deployment, deliverer).items()}


def verifies(secret: str, request: Request) -> bool:
    try:
        Webhook(secret).verify(request.raw, dict(request.headers))
    except WebhookVerificationError:
        return False
    return True


def test_changes_are_signed_with_every_key_and_letters_are_sent_again_exactly(
    deployment: Deployment, receiver: Receiver, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text(OLD + "\n")
    deliverer = Deliverer(
        deployment, tmp_path,
        {"name": "signed", "url": receiver.url("signed"), **QUICK, "changes": ["entered"],
         "signing": [{"file": str(key)}, {"file": str(tmp_path / "second")}]},
        {"name": "picky", "url": receiver.url("picky"), **QUICK, "batch": 20, "segments": ["a"]},
        {"name": "braze", "url": receiver.url("braze"), **QUICK, "template": "braze"},
    )  # fmt: skip
    (tmp_path / "second").write_text(NEW)
    receiver.judge = lambda request: 422 if request.path == "picky" and b'"p7"' in request.raw else 200
    changes = Changes(deployment)
    try:
        deliverer.start()
        made = changes.crowd(60, profiles=10, seed=1)
        made.append(changes.make("[p3]", "c", identifiers=()))
        changes.send(made)
        refused = {one.change_id for one in made if (one.profile_id, one.segment_id) == ("p7", "a")}
        wanted = {one.change_id for one in made if one.segment_id == "a"} - refused
        await_all(receiver, "picky", wanted, 30, deliverer)
        entered = {one.change_id for one in made if one.change == "entered"}
        await_all(receiver, "signed", entered, 30, deliverer)
        wait_for(lambda: len(receiver.of("braze")) == 60, "braze has all that name somebody", 30)

        for request in receiver.of("signed"):
            assert request.headers["webhook-id"] == request.body["data"]["change_id"]
            assert request.headers["Idempotency-Key"] == request.headers["webhook-id"]
            assert verifies(OLD, request)
            assert verifies(NEW, request)
            assert not verifies(OTHER, request)
        assert {one["change_id"] for one in changes_of(receiver.of("signed"))} == entered

        assert refused
        kept = {"signed": 0, "picky": len(refused), "braze": 1}
        wait_for(lambda: letters_of(deployment, deliverer) == kept, "all letters are kept", 30)
        letters = deployment.elo("deliver", "letters", "--destination", "picky", "--json")
        assert {one["change_id"] for one in letters.documents} == refused
        assert {(one["reason"], one["detail"]) for one in letters.documents} == {("refused", "HTTP 422")}
        assert "example.com" not in letters.out
        assert " entered c [p3] #1\n" in deployment.elo("deliver", "letters", "--destination", "braze").out
        for others in (("--reason", "exhausted"), ("--until", "1h"), ("--destination", "signed")):
            assert deployment.elo("deliver", "redrive", *others, "--json").document["letters"] == 0

        receiver.judge = None
        before = len(receiver.accepted)
        dry = deployment.elo("deliver", "redrive", "--destination", "picky", "--dry-run", "--json")
        count = len(refused)
        assert dry.document == {"redriven": 0, "letters": count, "destinations": {"picky": count}}
        assert deployment.elo("deliver", "redrive", "--destination", "picky").code == 0
        await_all(receiver, "picky", wanted | refused, 30, deliverer)
        again = changes_of(receiver.accepted[before:])
        assert [one["change_id"] for one in again] == sorted(refused, key=lambda one: int(one[5:]))
        wait_for(lambda: status(deployment, deliverer)["picky"]["letters"] == 0, "no letter is left", 30)
        assert deployment.elo("deliver", "redrive", "--destination", "picky").code == 1
        deliverer.stop()
    finally:
        deliverer.kill()


def test_gone_disables_pause_holds_and_a_backfill_asks_first(
    deployment: Deployment, receiver: Receiver, tmp_path: Path
) -> None:
    deliverer = Deliverer(
        deployment, tmp_path,
        {"name": "gone", "url": receiver.url("gone"), **QUICK},
        {"name": "asking", "url": receiver.url("asking"), **QUICK, "segments": ["a", "big"]},
        {"name": "silent", "url": receiver.url("silent"), **QUICK, "backfill": "skip"},
    )  # fmt: skip
    file = ("--destinations", deliverer.file)
    by = ("--by", "ana", "--reason", "a test")
    receiver.faults["gone"] = Faults(answer=410)
    assert deployment.elo("deliver", "pause", "silent", *by, *file).code == 0
    changes = Changes(deployment)
    try:
        deliverer.start()
        changes.send(changes.make(f"p{n}", "a") for n in range(10))
        first = {one.change_id for one in changes.sent}
        await_all(receiver, "asking", first, 30, deliverer)
        changes.send(changes.make(f"p{n}", "big", cause="backfill", backfill=True) for n in range(30))
        changes.send(changes.make(f"p{n}", "a") for n in range(10))
        live = {one.change_id for one in changes.sent if not one.backfill}
        everything = {one.change_id for one in changes.sent}

        def waits() -> bool:
            shown = status(deployment, deliverer)
            return shown["asking"]["backfills"] == [{"segment": "big", "version": 1, "changes": 30}] and (
                shown["gone"]["state"] == "disabled"
            )

        wait_for(waits, "the back-fill is counted and the destination that is gone is disabled", 30)
        time.sleep(1)
        assert {one["change_id"] for one in changes_of(receiver.of("asking"))} == first
        assert receiver.of("silent") == []
        assert "would send 30" in deployment.elo("deliver", "status", *file).out
        assert deployment.elo("deliver", "backfill", "asking", "other", "send", *by, *file).code == 1
        done = deployment.elo("deliver", "backfill", "asking", "big", "send", *by, *file)
        assert "30 changes" in done.out
        await_all(receiver, "asking", everything, 30, deliverer)

        assert deployment.elo("deliver", "resume", "silent", *by, *file).code == 0
        await_all(receiver, "silent", live, 30, deliverer)
        assert {one["change_id"] for one in changes_of(receiver.of("silent"))} == live
        receiver.faults.clear()
        assert deployment.elo("deliver", "backfill", "gone", "big", "skip", *by, *file).code == 0
        assert deployment.elo("deliver", "resume", "gone", *by, *file).code == 0
        await_all(receiver, "gone", live, 30, deliverer)
        assert deployment.elo("deliver", "pause", "nobody", *by, *file).err.startswith("elo: nobody is no")
        deliverer.stop()
    finally:
        deliverer.kill()


@pytest.mark.soak
def test_two_processes_share_the_partitions_and_one_takes_over(
    deployment: Deployment, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.faults["shared"] = Faults(fail=0.2)
    deliverer = Deliverer(
        deployment, tmp_path, {"name": "shared", "url": receiver.url("shared"), **QUICK, "rate": 400}
    )
    changes = Changes(deployment)
    try:
        first = deliverer.start()
        deliverer.start()
        changes.send(changes.crowd(500, profiles=60, seed=5))
        time.sleep(0.5)
        first.terminate()
        assert first.wait(60) == 0
        changes.send(changes.crowd(200, profiles=60, seed=6))
        await_all(receiver, "shared", {one.change_id for one in changes.sent}, 60, deliverer)
        deliverer.stop()
    finally:
        deliverer.kill()
    assert_in_order(changes_of(receiver.of("shared")))


def test_the_consumer_class_tells_each_change_once_also_after_a_restart(
    deployment: Deployment, tmp_path: Path
) -> None:
    from connectors.membership import Arrival, MembershipConsumer, SqliteStore

    changes = Changes(deployment)
    changes.send(changes.crowd(300, profiles=20, seed=9))
    topic = deployment.prefix + "segments.membership"
    kafka = {"bootstrap.servers": deployment.bootstrap, "group.id": topic}
    told: list[tuple[str, Arrival]] = []

    def read(count: int, *, crash: bool) -> None:
        store = SqliteStore(tmp_path / "seen")
        consumer = MembershipConsumer(kafka, store, topic)
        for number, (change, arrival) in enumerate(consumer, start=1):
            told.append((change["change_id"], arrival))
            if number == count:
                break
        if not crash:
            consumer.close()
        else:
            store.save()  # and no commit: what was saved comes again
            consumer._consumer.close()
        store.close()

    read(100, crash=True)
    read(150, crash=False)  # the last one was not done
    read(151, crash=False)
    first, second, third = told[:100], told[100:250], told[250:]
    assert [arrival for _, arrival in first + third] == [Arrival.NEW] * 251
    assert second[:100] == [(name, Arrival.REPEATED) for name, _ in first]
    assert [arrival for _, arrival in second[100:]] == [Arrival.NEW] * 50
    assert third[0] == second[-1]
    assert {name for name, _ in told} == {one.change_id for one in changes.sent}


@pytest.mark.soak
def test_changes_of_a_real_worker_arrive_as_they_were_published(
    make_fleet: MakeFleet,  # noqa: F811
    receiver: Receiver,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet = make_fleet().create_topics(2)
    fleet.apply({"id": "seen", "name": "Seen", "where": {"all": [{"event": "page_viewed", "within": "7d"}]}})
    fleet.start("w0")
    deployment = Deployment(fleet.bootstrap, fleet.prefix, capsys)
    deliverer = Deliverer(deployment, tmp_path, {"name": "all", "url": receiver.url("all"), **QUICK})
    now_ms = time.time_ns() // 1_000_000
    try:
        deliverer.start()
        for number in range(40):
            who = {"type": "email", "value": f"p{number}@example.com"}
            fleet.send([touchpoint(number, occurred_at=now_ms, identifiers=[who])])
        fleet.wait_idle()
        published = fleet.records("segments.membership")
        assert len(published) == 40
        await_all(receiver, "all", {one["change_id"] for one in published}, 30, deliverer)
        deliverer.stop()
        assert status(deployment, deliverer)["all"]["behind"] == 0
    finally:
        deliverer.kill()
    by_id = {one["change_id"]: one for one in published}
    for change in changes_of(receiver.of("all")):
        assert change == by_id[change["change_id"]]
