"""Matching on a small real deployment: people without a common identifier, from the user's side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from tests.support.deployment import Elo
from tests.support.kafka import Kafka
from tests.support.people import make_people
from tests.support.site import Site, open_site
from tests.support.touchpoints import DEFAULTS

ANA: Final = {"name": "Ana Beatriz Sikorski", "birth_date": "1980-03-12", "city": "Recife"}
SLIPPED: Final = {"name": "Sikorsky, Ana B.", "birth_date": "12/03/1980"}
RUI: Final = {"name": "Rui Quintela Prado", "birth_date": "1955-07-01"}


@pytest.fixture(scope="module")
def site(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A worker with the shipped policy, which compares nobody."""
    with open_site(kafka.bootstrap, "matched", tmp_path_factory.mktemp("matched"), 3) as site:
        site.define("from-recife", {"trait": "city", "is": "Recife"})
        site.start()
        site.fleet.wait_idle()
        yield site


def tell(site: Site, identifier: str, traits: dict[str, Any]) -> None:
    """A form that somebody filled in, with the only identifier that they gave."""
    site.send(site.touch("form_sent", identifier, source="crm", traits=traits))


def people(site: Site) -> list[list[str]]:
    """The identifiers of all profiles."""
    return sorted(
        [f"{one['type']}:{one['value']}" for one in line["identifiers"]] for line in site.fleet.dump()
    )


def publish(site: Site, version: int, **section: Any) -> None:
    """Put the shipped policy in force with a section `matching`."""
    policy = yaml.safe_load(DEFAULTS.read_text("utf-8"))
    site.fleet.publish(policy | {"version": version, "matching": {"model": "shipped"} | section})
    site.fleet.wait_idle()


def test_two_touchpoints_without_a_common_identifier_become_one_profile(site: Site, elo: Elo) -> None:
    tell(site, "email:ana@example.com", ANA)
    tell(site, "phone:+5511999990000", SLIPPED)
    assert people(site) == [["email:ana@example.com"], ["phone:+5511999990000"]]
    publish(site, 2, merge_above=8, review_above=2)  # Also for those who are known already.
    assert people(site) == [["email:ana@example.com", "phone:+5511999990000"]]
    tell(site, "device_id:d1", SLIPPED | {"city": "Recife"})
    assert people(site) == [["device_id:d1", "email:ana@example.com", "phone:+5511999990000"]]
    why = elo("why", "email:ana@example.com", "phone:+5511999990000")
    assert "match of weight" in why.out


def test_a_correction_takes_back_what_the_wrong_name_had_caused(site: Site) -> None:
    tell(site, "device_id:d1", RUI)
    assert people(site) == [["device_id:d1"], ["email:ana@example.com", "phone:+5511999990000"]]
    own = site.profile("device_id:d1")["profile_id"]
    told = [one for one in site.fleet.records("profiles.merges") if one["old_profile_id"] == own]
    assert [(one["profile_id"], one["cause"]) for one in told][-1] == ("", "unmerge")
    tell(site, "phone:+5511999990000", RUI)
    assert people(site) == [["device_id:d1", "phone:+5511999990000"], ["email:ana@example.com"]]


def test_a_pair_in_between_is_on_the_review_topic_and_a_steward_decides_it(site: Site, elo: Elo) -> None:
    publish(site, 3, merge_above=40, review_above=2)
    tell(site, "email:bia@example.com", {"name": "Beatriz Fontoura Lins", "birth_date": "1991-01-02"})
    tell(site, "email:bea@example.com", {"name": "Beatriz F Lins", "birth_date": "1991-02-01"})
    (review,) = [
        one for one in site.fleet.records("identity.review")
        if {"type": "email", "value": "bia@example.com"} in one["identifiers"]
    ]  # fmt: skip
    assert review["kind"] == "pair"
    assert {"type": "email", "value": "bea@example.com"} in review["identifiers"]
    assert 2 <= review["score"] < 40
    assert "less than merge_above: 40" in json.loads(review["evidence"])["detail"]
    assert ["email:bia@example.com"] in people(site)
    who = ("--by", "maria", "--reason", "she said so")
    assert elo("identity", "merge", "email:bia@example.com", "email:bea@example.com", *who).code == 0
    site.fleet.wait_idle()
    assert ["email:bea@example.com", "email:bia@example.com"] in people(site)


def test_matches_outlive_a_lost_disk_and_are_found_across_workers(site: Site) -> None:
    publish(site, 4, merge_above=8, review_above=2)
    before, hashed = people(site), site.fleet.hash()
    site.stop()
    site.worker.wipe()
    other = site.fleet.worker("b")
    other.start().wait_ready()
    site.start()
    site.fleet.wait_idle()
    assert (people(site), site.fleet.hash()) == (before, hashed)
    names = [f"device_id:w{number}" for number in range(4)]
    for name in names:  # On both workers; every message between two of them goes through Kafka.
        tell(site, name, {"name": "Otávio Brandão Telles", "birth_date": "1969-05-20"})
    assert names in people(site)
    tell(site, "device_id:w3", RUI)
    assert [one for one in names if one != "device_id:w3"] in people(site)
    compared = sum(
        float(line.rpartition(" ")[2])
        for worker in (site.worker, other)
        for line in worker.get("metrics")[1].splitlines()
        if line.startswith("elo_comparisons_total")
    )
    assert compared > 0
    assert other.terminate() == 0


def test_a_trained_model_is_rehearsed_published_and_used_by_all_workers_without_its_file(
    site: Site, elo: Elo
) -> None:
    fleet = site.fleet
    people_file, model = fleet.directory / "people.jsonl", fleet.directory / "model.json"
    people_file.write_text("\n".join(map(json.dumps, made_people())), "utf-8")
    trained = elo("identity", "train", people_file, "-o", model, "--json").document
    publish(site, 5, merge_above=40, review_above=2)
    tell(site, "email:eva@example.com", {"name": "Eva Sikorski Prado", "birth_date": "1977-04-05"})
    tell(site, "device_id:eva", {"name": "Eva Prado", "birth_date": "1977-05-04"})
    policy = fleet.directory / "next.yaml"
    section = {"model": "model.json", "merge_above": 4, "review_above": 2}
    shipped = yaml.safe_load(DEFAULTS.read_text("utf-8"))
    policy.write_text(json.dumps(shipped | {"version": 6, "matching": section}), "utf-8")
    foretold = elo("identity", "rehearse", policy, "--json").document["records"]
    joined = ["device_id:eva", "email:eva@example.com"]
    gained = next(one for one in foretold["pairs"]["gained"]["examples"] if one["identifiers"] == joined)
    assert "matches gained" in elo("identity", "rehearse", policy).out
    assert joined not in people(site)
    publish(site, 6, **section)
    assert joined in people(site)
    model.unlink()
    why = elo("why", *joined, "--json").document["match"]
    assert (why["model_version"], why["verdict"]) == (trained["version"], "one_person")
    assert why["match_weight"] == gained["weight"]["after"] == round(why["pair"]["total"], 2)
    assert elo("why", *joined, "--weights").out.startswith("<svg")
    text = elo("why", "device_id:eva").out
    assert "given_name: exact" in text
    assert f"by model {trained['version']}" in text
    assert f"matching model {trained['version']}" in elo("identity", "show").out
    before, hashed = people(site), fleet.hash()
    site.stop()
    site.worker.wipe()
    site.start()
    fleet.wait_idle()
    assert (people(site), fleet.hash()) == (before, hashed)
    tell(site, "device_id:eva2", {"name": "Eva Prado", "birth_date": "1977-05-04"})
    assert sorted([*joined, "device_id:eva2"]) in people(site)


def test_a_model_that_was_edited_is_refused_and_nothing_is_published(site: Site, elo: Elo) -> None:
    fleet = site.fleet
    people_file, model = fleet.directory / "people.jsonl", fleet.directory / "edited.json"
    people_file.write_text("\n".join(map(json.dumps, made_people())), "utf-8")
    elo("identity", "train", people_file, "-o", model)
    model.write_bytes(model.read_bytes().replace(b'"records": ', b'"records": 1'))
    policy = fleet.directory / "next.yaml"
    shipped = yaml.safe_load(DEFAULTS.read_text("utf-8"))
    policy.write_text(json.dumps(shipped | {"version": 9, "matching": {"model": "edited.json"}}), "utf-8")
    for command in ("rehearse", "publish"):
        refused = elo("identity", command, policy)
        assert refused.code == 1
        assert "its version does not fit its content" in refused.err
        assert len(refused.err.strip().splitlines()) == 1
    assert elo("identity", "show", "--json").document["version"] < 9


def made_people() -> list[dict[str, Any]]:
    """Records as a CRM would export them."""
    return [
        {"record_id": one.record_id, "source": "crm", "fields": dict(one.fields)}
        for one in make_people(7, 60)
    ]
