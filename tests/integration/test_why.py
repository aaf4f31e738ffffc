"""`elo why`, `elo export`, `elo segments preview` on a small real deployment: one worker, two partitions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest

from pipeline.core.instant import format_instant
from tests.support.crowd import Touchpoint
from tests.support.deployment import Elo
from tests.support.kafka import Kafka
from tests.support.site import Site, open_site

DAY_MS: Final = 86_400_000
DEVICES: Final = 20  # more than one page of facets


@pytest.fixture(scope="module")
def site(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Ana, who looked first and logged in later; Bea and Rui with one e-mail; Eva with many devices."""
    with open_site(kafka.bootstrap, "why", tmp_path_factory.mktemp("why")) as site:
        site.start()
        tell_story(site)
        yield site


def tell_story(site: Site) -> None:
    """What everybody does. Touch n has the event id `sn`."""
    now_ms = time.time_ns() // 1_000_000
    shoes = {"properties": {"category": "running shoes"}}

    def at(ago_ms: int, kind: str, *identifiers: str, **fields: Any) -> Touchpoint:
        touchpoint = site.touch(kind, *identifiers, **fields)
        touchpoint["occurred_at"] = now_ms - ago_ms
        return touchpoint

    site.define(
        "madrid-running-no-purchase",
        {"all": [
            {"trait": "city", "is": "Madrid"},
            {"event": "product_viewed", "where": {"category": "running shoes"}, "within": "7d"},
            {"none": [{"event": "order_completed", "within": "7d"}]},
        ]},
        purpose="marketing",
    )  # fmt: skip
    site.fleet.wait_idle()
    lisbon = {"traits": {"city": "Lisbon"}}
    site.send(at(2 * DAY_MS, "product_viewed", "anonymous_id:ana-web", **shoes, **lisbon))
    site.send(at(DAY_MS + 60_000, "crm_updated", "user_id:ana", traits={"city": "Madrid"}, source="crm"))
    site.send(at(DAY_MS, "identified", "email:ana@example.com", "anonymous_id:ana-web"))
    site.send(
        at(60_000, "identified", "user_id:ana", "email:ana@example.com", consent={"marketing": True}),
        at(50_000, "page_viewed", "user_id:bea", "email:home@example.com"),
    )
    site.send(
        at(40_000, "order_completed", "user_id:rui", "email:home@example.com", properties={"total": 20}),
        at(30_000, "product_viewed", "user_id:bea", **shoes),
    )
    site.send(*(at(DAY_MS, "app_opened", "user_id:eva", f"device_id:eva-{n}") for n in range(DEVICES)))
    site.send(at(DAY_MS, "app_opened", f"device_id:eva-{DEVICES - 1}"))
    site.send(at(20_000, "crm_updated", "user_id:bea", traits={"city": "Madrid"}, source="crm"))


def test_an_identifier_is_shown_with_its_profile_and_the_links_from_the_anchor(site: Site, elo: Elo) -> None:
    answer = elo("why", "email: ANA@example.com", "--json").document
    assert answer["identifier"] == "email:ana@example.com"
    assert answer["profile_id"] == site.profile("user_id:ana")["profile_id"]
    assert answer["anchor"] == "anonymous_id:ana-web"
    paths = {one["identifier"]: one["path"] for one in answer["identifiers"]}
    assert [(step["from"], step["to"], step["first_event_id"]) for step in paths["user_id:ana"]] == [
        ("anonymous_id:ana-web", "email:ana@example.com", "s2"),
        ("email:ana@example.com", "user_id:ana", "s3"),
    ]
    said = elo("why", "user_id:ana").out
    assert said.startswith(
        f"user_id:ana belongs to profile {answer['profile_id']} (identity policy version 1)"
    )
    assert "  anonymous_id:ana-web: the anchor, first seen 20" in said


def test_two_identifiers_are_told_to_be_one_or_not_and_why(elo: Elo) -> None:
    same = elo("why", "user_id:ana", "anonymous_id:ana-web", "--json").document
    assert (same["one_profile"], len(same["path"]), same["refused_links"]) == (True, 2, [])
    apart = elo("why", "user_id:bea", "user_id:rui", "--json").document
    assert apart["one_profile"] is False
    assert len(set(apart["profile_ids"])) == 2
    assert [step["refused"] for step in apart["path"]] == [None, "limit_user_id"]
    assert apart["refused_links"][0]["first_event_id"] == "s5"
    said = elo("why", "user_id:bea", "user_id:rui").out
    assert "user_id:bea and user_id:rui are not one profile (identity policy version 1)" in said
    assert "with limit user_id: 2 they would be one profile" in said
    strangers = elo("why", "user_id:ana", "user_id:rui").out
    assert "no link that is kept leads from one to the other" in strangers
    assert "limit user_id: 1 would keep them apart even with a link between them" in strangers


def test_a_profile_on_several_pages_is_read_whole(elo: Elo) -> None:
    eva = elo("why", "device_id:eva-19", "--json").document
    assert {one["identifier"] for one in eva["identifiers"]} == {
        "user_id:eva", *(f"device_id:eva-{n}" for n in range(DEVICES)),
    }  # fmt: skip
    assert all(one["path"] is not None for one in eva["identifiers"])
    assert elo("why", "device_id:eva-0", "device_id:eva-19", "--json").document["one_profile"] is True
    made = elo("export", "user_id:eva").document
    assert len(made["history"]) == made["counters"]["app_opened"] == DEVICES + 1


def test_evidence_is_drawn(elo: Elo) -> None:
    dot = elo("why", "user_id:bea", "user_id:rui", "--dot").out
    assert dot.startswith("graph identity {")
    assert '"user_id:rui" -- "email:home@example.com" [label="limit_user_id' in dot
    svg = ElementTree.fromstring(elo("why", "user_id:ana", "--svg").out)
    assert "email:ana@example.com" in {element.text for element in svg.iter()}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("why", "email:nobody@example.com"),
            "email:nobody@example.com belongs to nobody: it was never seen",
        ),
        (("why", "user_id:ana", "email:nobody@example.com"), "email:nobody@example.com belongs to nobody"),
        (("why", "ana@example.com"), "write the identifier as type:value with one of the types user_id, cpf"),
        (("why", "email:nobody"), "cannot identify anybody as email"),
        (("why", "user_id:ana", "--dot", "--svg"), "--json, --dot, --svg and --weights exclude each other"),
        (("export", "email:nobody@example.com"), "email:nobody@example.com belongs to nobody"),
        (("why", "user_id:ana", "no-such-segment"), "there is no segment no-such-segment"),
        (("why", "0" * 32, "madrid-running-no-purchase"), f"there is no profile {'0' * 32}"),
        (("why", "user_id:ana", "madrid-running-no-purchase", "--svg"), "pictures are of identifiers"),
        (("why", "user_id:ana", "trait:city", "--dot"), "pictures are of identifiers"),
        (("why", "user_id:ana", "trait:citty"), "has no trait citty, did you mean city?"),
        (("why", "user_id:eva", "trait:city"), "has no trait city, and no other"),
        (("why", "email:nobody@example.com", "trait:city"), "email:nobody@example.com belongs to nobody"),
        (("why", "user_id:ana", "--weights"), "--weights is about two identifiers"),
        (("why", "user_id:ana", "user_id:bea", "--weights"), "there are no weights: nobody is compared"),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_sentence(
    elo: Elo, arguments: tuple[str, ...], sentence: str
) -> None:
    done = elo(*arguments)
    assert (done.code, done.out) == (1, "")
    assert sentence in done.err
    assert done.err.count("\n") == 1


def test_a_membership_is_explained_by_the_events_behind_it(site: Site, elo: Elo) -> None:
    ana = site.profile("user_id:ana")
    segment = "madrid-running-no-purchase"
    answer = elo("why", "anonymous_id:ana-web", segment, "--json").document
    assert (answer["profile_id"], answer["inside"], answer["told"]["inside"]) == (
        ana["profile_id"],
        True,
        True,
    )
    assert (answer["segment_version"], answer["policy_version"], answer["told"]["sequence"]) == (1, 1, 1)
    assert answer["purpose"]["found"]["granted"] is True
    city, viewed, none = answer["where"]["conditions"]
    assert (city["found"]["value"], none["holds"]) == ("Madrid", True)
    assert [event["event_id"] for event in viewed["events"]] == ["s0"]
    leaves_ms = site.sent[0]["occurred_at"] + 7 * DAY_MS
    assert answer["changes_at"] == viewed["changes_at"] == format_instant(leaves_ms)
    for name in (ana["profile_id"], *ana["aliases"]):
        assert elo("why", name, segment, "--json").document["profile_id"] == ana["profile_id"]
    assert ana["aliases"]

    outside = elo("why", "user_id:bea", segment)
    assert " is outside madrid-running-no-purchase (version 1) at 20" in outside.out
    assert "no  consent marketing: never asked" in outside.out
    assert (
        "yes event product_viewed (category is running shoes) within 7d, at least 1: found 1" in outside.out
    )
    assert outside.out.endswith("consent marketing: would have to become true\n")
    by_id = elo("why", ana["profile_id"]).out
    assert by_id.startswith(f"anonymous_id:ana-web belongs to profile {ana['profile_id']}")


def test_a_trait_is_explained_by_who_told_it_and_what_lost(site: Site, elo: Elo) -> None:
    ana = site.profile("user_id:ana")
    answer = elo("why", "email:ana@example.com", "trait:city", "--json").document
    assert (answer["profile_id"], answer["value"], answer["rule"], answer["policy_version"]) == (
        ana["profile_id"], "Madrid", "newest", 1,
    )  # fmt: skip
    madrid, lisbon = answer["values"]
    assert (madrid["event_id"], madrid["source"], madrid["identifier"]) == ("s1", "crm", "user_id:ana")
    assert madrid["at"] == format_instant(site.sent[1]["occurred_at"])
    assert (lisbon["value"], lisbon["wins"], lisbon["event_id"]) == ("Lisbon", False, "s0")
    said = elo("why", ana["aliases"][0], "trait:city").out
    assert said.startswith(f'profile {ana["profile_id"]} has "Madrid" as city')
    assert f'\n  yes "Madrid", told {madrid["at"]} by user_id:ana: s1 of crm\n' in said
    assert f'\n  no  "Lisbon", told {lisbon["at"]} by anonymous_id:ana-web: s0 of web\n' in said


def test_everything_about_a_person_is_exported(site: Site, elo: Elo, tmp_path: Path) -> None:
    site.send(site.sent[0])  # A repetition is on elo.touches twice, and counts once.
    ana = site.profile("user_id:ana")
    made = elo("export", "email:ana@example.com", "--json").document
    assert (made["profile_id"], made["aliases"]) == (ana["profile_id"], ana["aliases"])
    assert {(one["type"], one["value"]) for one in made["identifiers"]} == {
        ("user_id", "ana"), ("email", "ana@example.com"), ("anonymous_id", "ana-web"),
    }  # fmt: skip
    assert [touch["event_id"] for touch in made["history"]] == ["s0", "s1", "s2", "s3"]
    assert made["history"][0]["properties"] == {"category": "running shoes"}
    assert made["traits"]["city"] == {"value": "Madrid", "at": format_instant(site.sent[1]["occurred_at"])}
    assert made["consent"]["marketing"]["granted"] is True
    assert made["counters"] == ana["counters"]
    assert set(made["memberships"]) == {"madrid-running-no-purchase"}
    assert [len(made["links"]), made["links_to_others"], made["policy_version"]] == [2, 0, 1]

    file = tmp_path / "ana.json"
    file.write_text("old and longer than nothing")
    done = elo("export", ana["profile_id"], "-o", file)
    assert done.out == f"profile {ana['profile_id']} with 4 touches is in {file}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    written = json.loads(file.read_text())
    assert {**written, "exported_at": ""} == {**made, "exported_at": ""}
    assert elo("export", "user_id:rui").document["links_to_others"] == 1
    assert elo("export", "user_id:ana", "-o", tmp_path).code == 1


def test_a_preview_tells_what_applying_would_do_and_applies_nothing(
    site: Site, elo: Elo, tmp_path: Path
) -> None:
    segment = "madrid-running-no-purchase"
    shoes = {"event": "product_viewed", "where": {"category": "running shoes"}, "within": "1d"}
    file = tmp_path / "wanted.yaml"
    file.write_text(json.dumps([
        {"id": segment, "purpose": "marketing", "where": {"all": [{"trait": "city", "is": "Madrid"}, shoes]}},
        {"id": "buyers", "where": {"event": "order_completed", "where": {"total": {"gte": 20}}}},
    ]))  # fmt: skip
    listed = elo("segments", "list", "--json").documents
    people = ("ana", "bea", "eva", "rui")
    ana, bea, eva, rui = (site.profile(f"user_id:{name}")["profile_id"] for name in people)
    answer = elo("segments", "preview", file, "--json").document
    assert (answer["profiles"], answer["history_read"]) == (4, True)
    edited, buyers = answer["segments"]
    assert (edited["change"], edited["today"], edited["inside"]["count"]) == ("updated", 1, 0)
    assert (edited["leaving"], edited["entering"]["count"]) == ({"count": 1, "examples": [ana]}, 0)
    assert (buyers["change"], buyers["today"]) == ("created", 0)
    assert buyers["inside"] == buyers["entering"] == {"count": 1, "examples": [rui]}
    (note,) = buyers["notes"]
    assert note.endswith("total gte 20), at least 1: counted from the history only, which goes back 30d")
    said = elo("segments", "preview", file).out
    assert said.startswith("4 profiles at 20")
    assert f"buyers: created\n  inside 1, today 0: {rui}\n  entering 1: {rui}\n  leaving 0\n" in said
    assert elo("segments", "list", "--json").documents == listed
    assert bea not in said

    elo("segments", "apply", file)
    site.fleet.wait_idle()
    now = {line["profile_id"]: set(line["memberships"]) for line in site.fleet.dump()}
    assert now == {ana: set(), bea: set(), eva: set(), rui: {"buyers"}}
    after = elo("segments", "preview", file, "--json").document
    assert (after["history_read"], [one["change"] for one in after["segments"]]) == (False, ["unchanged"] * 2)
    assert [one["today"] for one in after["segments"]] == [0, 1]

    elo("segments", "delete", "buyers")
    gone = elo("segments", "preview", file)
    assert (gone.code, gone.out) == (1, "")
    assert "segment buyers was deleted and ids are never reused" in gone.err
    assert "segment buyers was deleted, nobody is inside" in elo("why", "user_id:rui", "buyers").err
    file.write_text("id: x\nwhere: {trait: city, iss: Madrid}\n")
    assert elo("segments", "preview", file).err.startswith(f"elo: {file}:2:22: ")
