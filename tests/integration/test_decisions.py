"""Decisions of stewards and of a CRM on a small real deployment: one worker, three partitions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
import yaml

from tests.support.deployment import Elo
from tests.support.kafka import Kafka
from tests.support.site import Site, open_site
from tests.support.touchpoints import DEFAULTS

BOUGHT: Final = {"event": "order_completed"}
VIEWED: Final = {"event": "page_viewed", "within": "7d"}


@pytest.fixture(scope="module")
def site(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A worker and two segments."""
    with open_site(kafka.bootstrap, "ruled", tmp_path_factory.mktemp("ruled"), 3) as site:
        site.define("buyers", BOUGHT)
        site.define("viewers", VIEWED)
        site.start()
        site.fleet.wait_idle()
        yield site


def decide(site: Site, decision_id: str, action: str, *identifiers: str, **more: Any) -> None:
    """Put a decision on the topic as any producer may, and wait until it has had its effect."""
    pairs = [dict(zip(("type", "value"), one.split(":", 1), strict=True)) for one in identifiers]
    document = {"decision_id": decision_id, "action": action, "identifiers": pairs, "by": "maria",
                "reason": "she said so"}  # fmt: skip
    send_raw(site, json.dumps(document | more).encode())


def send_raw(site: Site, value: bytes, key: str | None = None) -> None:
    site.fleet.producer.produce(f"{site.fleet.prefix}identity.decisions", value, key)
    assert site.fleet.producer.flush(30) == 0
    site.fleet.wait_idle()


def groups(site: Site) -> dict[str, list[str]]:
    """Profile id → identifiers."""
    return {
        line["profile_id"]: [f"{one['type']}:{one['value']}" for one in line["identifiers"]]
        for line in site.fleet.dump()
    }


def told(site: Site, profile_id: str) -> list[tuple[str, str, int, str]]:
    """What consumers were told of a profile: segment, change, sequence, cause."""
    changes = [one for one in site.fleet.records("segments.membership") if one["profile_id"] == profile_id]
    changes.sort(key=lambda one: (one["segment_id"], one["sequence"]))
    return [(one["segment_id"], one["change"], one["sequence"], one["cause"]) for one in changes]


def aliases(site: Site, old: str) -> list[tuple[str, str, str]]:
    """What was told about an old profile id: for whom it stands, why, by which edge."""
    records = [one for one in site.fleet.records("profiles.merges") if one["old_profile_id"] == old]
    return [(one["profile_id"], one["cause"], one["edge"]) for one in records]


def test_a_merge_and_its_undo_restore_both_sides(site: Site, elo: Elo) -> None:
    site.send(site.touch("order_completed", "user_id:ana"))
    site.send(site.touch("page_viewed", "user_id:ann"))
    ana = site.profile("user_id:ana")["profile_id"]
    ann = site.profile("user_id:ann")["profile_id"]
    before = [site.profile("user_id:ana"), site.profile("user_id:ann")]
    trial = elo("identity", "merge", "user_id:ana", "user_id:ann", "--by", "m", "--reason", "r",
                "--dry-run", "--json").document  # fmt: skip
    assert [one["identifiers"] for one in trial["after"]] == [["user_id:ana", "user_id:ann"]]
    assert trial["memberships"] == [
        {"profile_id": ann, "segment_id": "viewers", "change": "exited", "sequence": 2, "cause": "merge"},
        {"profile_id": ana, "segment_id": "viewers", "change": "entered", "sequence": 1, "cause": "merge"},
    ]
    assert [site.profile("user_id:ana"), site.profile("user_id:ann")] == before

    decide(site, "m1", "merge", "user_id:ana", "user_id:ann")
    assert groups(site)[ana] == ["user_id:ana", "user_id:ann"]
    assert aliases(site, ann) == [(ana, "merge", "decision:m1")]
    assert told(site, ann) == [("viewers", "entered", 1, "event"), ("viewers", "exited", 2, "merge")]
    assert told(site, ana) == [("buyers", "entered", 1, "event"), ("viewers", "entered", 1, "merge")]
    why = elo("why", "user_id:ana", "user_id:ann").out
    assert "decision m1 of maria: she said so" in why

    decide(site, "m1", "undo", "user_id:ann")
    assert [site.profile("user_id:ana"), site.profile("user_id:ann")][0]["memberships"] == (
        before[0]["memberships"]
    )
    assert aliases(site, ann)[-1] == ("", "unmerge", "undo:m1")
    assert told(site, ann)[-1] == ("viewers", "entered", 3, "unmerge")
    assert told(site, ana)[-1] == ("viewers", "exited", 2, "unmerge")


def test_a_split_parts_a_profile_and_outlives_later_links(site: Site, elo: Elo) -> None:
    site.send(site.touch("page_viewed", "user_id:bia", "device_id:b"))
    site.send(site.touch("order_completed", "device_id:b"))
    one = site.profile("user_id:bia")["profile_id"]
    decide(site, "s1", "split", "device_id:b")
    device = site.profile("device_id:b")["profile_id"]
    assert device != one
    assert (site.profile("user_id:bia")["identifiers"], site.profile("device_id:b")["identifiers"]) == (
        [{"type": "user_id", "value": "bia"}], [{"type": "device_id", "value": "b"}],
    )  # fmt: skip
    assert told(site, one)[-2:] == [
        ("buyers", "exited", 2, "unmerge"), ("viewers", "entered", 1, "event"),
    ]  # fmt: skip
    assert told(site, device) == [("buyers", "entered", 1, "unmerge")]
    site.send(site.touch("page_viewed", "user_id:bia", "device_id:b"))
    assert site.profile("device_id:b")["profile_id"] == device
    why = elo("why", "user_id:bia", "device_id:b", "--json").document
    assert [step["refused"] for step in why["path"]] == ["decision_s1"]
    assert "decision s1 of maria keeps" in elo("why", "user_id:bia", "device_id:b").out
    assert elo("identity", "undo", "s1", "--by", "rui", "--reason", "my mistake").code == 0
    site.fleet.wait_idle()
    assert site.profile("device_id:b")["profile_id"] == one
    assert told(site, one)[-3:-1] == [("buyers", "exited", 2, "unmerge"), ("buyers", "entered", 3, "merge")]
    listed = {one["decision_id"]: one for one in elo("identity", "decisions", "--json").documents}
    assert (listed["s1"]["state"], listed["s1"]["undone"]) == (
        "undone", {"by": "rui", "reason": "my mistake"},
    )  # fmt: skip


def test_an_undo_may_name_its_decision_by_the_key_alone_and_come_first(site: Site) -> None:
    site.send(site.touch("page_viewed", "user_id:eva", "device_id:e"))
    undo = {"decision_id": "s2", "action": "undo", "by": "maria", "reason": "a slip"}
    send_raw(site, json.dumps(undo).encode(), "device_id:e")
    decide(site, "s2", "split", "device_id:e")
    assert ["device_id:e", "user_id:eva"] in [sorted(one) for one in groups(site).values()]


def test_a_crm_merges_and_parts_its_contacts(site: Site) -> None:
    def contact(kind: str, kept: str, merged: str, **fields: Any) -> Mapping[str, Any]:
        listed = [{"type": "user_id", "value": merged}]
        return site.touch(kind, kept, source="crm", properties={"merged": listed}, **fields)

    site.send(site.touch("page_viewed", "user_id:c1"), site.touch("order_completed", "user_id:c2"))
    merged = contact("contact_merged", "user_id:c1", "c2")
    site.send(merged)
    one = site.profile("user_id:c1")
    assert [pair["value"] for pair in one["identifiers"]] == ["c1", "c2"]
    assert one["counters"] == {"contact_merged": 1, "order_completed": 1, "page_viewed": 1}
    site.send(contact("contact_split", "user_id:c1", "c2"))
    assert [pair["value"] for pair in site.profile("user_id:c2")["identifiers"]] == ["c2"]


def test_a_bad_decision_is_kept_with_its_reason(site: Site, elo: Elo) -> None:
    bad = b'{"decision_id": "x1", "action": "merge", "reason": "no name"}'
    send_raw(site, bad)
    rejected = [message for message in site.fleet.read("touchpoints.rejected") if message.value() == bad]
    headers = dict(rejected[0].headers() or ())
    assert (headers["elo.reason"], headers["elo.field"]) == (b"missing_field", b"by")
    assert headers["elo.topic"] == f"{site.fleet.prefix}identity.decisions".encode()
    assert any(one["state"] == "rejected: missing_field by" for one in
               elo("identity", "decisions", "--json").documents)  # fmt: skip


def test_commands_refuse_what_workers_would(site: Site, elo: Elo) -> None:
    who = ("--by", "maria", "--reason", "x")
    alone = elo("identity", "merge", "user_id:7", "user_id: 7", *who)
    assert (alone.code, "a merge needs two different identifiers" in alone.err) == (1, True)
    nobody = elo("identity", "split", "user_id:null", *who)
    assert (nobody.code, "cannot identify anybody" in nobody.err) == (1, True)
    empty = elo("identity", "split", "user_id:7", "--by", " ", "--reason", "x")
    assert (empty.code, "would be rejected (invalid_field): by" in empty.err) == (1, True)
    gone = elo("identity", "undo", "nowhere", *who)
    assert (gone.code, "there is no decision nowhere" in gone.err) == (1, True)
    assert elo("identity", "merge", "user_id:7", "user_id:8", "--by", "maria").code == 2


def test_a_decision_is_tried_made_listed_and_a_source_is_overruled_by_commands(site: Site, elo: Elo) -> None:
    who = ("--by", "maria", "--reason", "two sisters")
    site.send(site.touch("page_viewed", "user_id:k1"), site.touch("page_viewed", "user_id:k2"))
    listed = [{"type": "user_id", "value": "k2"}]
    made = site.touch("contact_merged", "user_id:k1", source="crm", properties={"merged": listed})
    site.send(made)
    tried = elo("identity", "undo", f"crm:{made['event_id']}", *who, "--dry-run").out
    assert "before: 1 profiles" in tried
    assert "after: 2 profiles" in tried
    assert "stands for itself again" in tried
    assert "nothing was decided" in tried
    assert elo("identity", "undo", f"crm:{made['event_id']}", *who).code == 0
    site.fleet.wait_idle()
    assert len(site.profile("user_id:k1")["identifiers"]) == 1
    said = elo("identity", "merge", "user_id:k1", "user_id:k2", *who, "--json").document
    site.fleet.wait_idle()
    assert len(site.profile("user_id:k1")["identifiers"]) == 2
    assert said["decision_id"] in elo("identity", "decisions").out
    assert "two sisters" in elo("why", "user_id:k1").out
    again = elo("identity", "undo", said["decision_id"], *who)
    assert again.code == 0
    twice = elo("identity", "undo", said["decision_id"], *who)
    assert (twice.code, "is undone already" in twice.err) == (1, True)
    site.fleet.wait_idle()


def test_decisions_outlive_a_lost_disk_and_another_worker_reads_on(site: Site) -> None:
    site.send(site.touch("page_viewed", "user_id:o1"), site.touch("page_viewed", "user_id:o2"))
    decide(site, "o", "merge", "user_id:o1", "user_id:o2")
    before, hashed = groups(site), site.fleet.hash()
    site.stop()
    site.worker.wipe()
    other = site.fleet.worker("b")
    other.start().wait_ready()
    site.start()
    site.fleet.wait_idle()
    assert (groups(site), site.fleet.hash()) == (before, hashed)
    decide(site, "o", "undo", "user_id:o1")
    assert other.terminate() == 0
    assert ["user_id:o1"] in groups(site).values()
    decide(site, "o2", "merge", "user_id:o1", "user_id:o2")
    assert ["user_id:o1", "user_id:o2"] in groups(site).values()
    assert site.fleet.hash() != hashed


def test_a_component_that_is_full_is_seen_on_the_review_topic_and_in_the_metric(site: Site) -> None:
    policy = yaml.safe_load(DEFAULTS.read_text("utf-8"))
    site.fleet.publish(policy | {"version": 2, "component_identifiers_max": 20})
    site.fleet.wait_idle()
    name = 'elo_refused_links_total{reason="component_full"}'
    before = refused_in(site, name)
    site.send(*(site.touch("page_viewed", "user_id:agent", f"device_id:call-{n}") for n in range(30)))
    assert refused_in(site, name) - before >= 30 - 20
    (review,) = [one for one in site.fleet.records("identity.review") if one["component"] == "user_id:agent"]
    assert review["kind"] == "oversized"
    assert {"type": "user_id", "value": "agent"} in review["identifiers"]
    assert "holds 20 identifiers and absorbs no more" in review["evidence"]
    site.send(site.touch("page_viewed", "user_id:somebody", "device_id:else"))
    assert len(site.profile("user_id:somebody")["identifiers"]) == 2


def refused_in(site: Site, series: str) -> float:
    """What the worker says of a series; 0 before it is there."""
    lines = site.worker.get("metrics")[1].splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))
