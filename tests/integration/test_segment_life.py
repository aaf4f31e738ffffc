"""A segment from its plan to its deletion on a small real deployment: one worker, two partitions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.cli.definitions import Edit, read_history
from pipeline.cli.options import CommandFailed
from pipeline.core.segments.parse import definition_from_json
from tests.support.deployment import Elo
from tests.support.kafka import Kafka
from tests.support.site import Site, open_site

WINDOW_S: Final = 1
VIEWED: Final = {"event": "film_watched", "within": f"{WINDOW_S}s"}


@pytest.fixture(scope="module")
def site(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Nobody yet."""
    with open_site(kafka.bootstrap, "life", tmp_path_factory.mktemp("life")) as site:
        site.start()
        yield site


def who(site: Site, name: str) -> str:
    return str(site.profile(f"user_id:{name}")["profile_id"])


def write(directory: Path, *definitions: dict[str, Any]) -> Path:
    """A directory with one file for each definition."""
    directory.mkdir(exist_ok=True)
    for file in directory.iterdir():
        file.unlink()
    for definition in definitions:
        (directory / f"{definition['id']}.yaml").write_text(json.dumps(definition))
    return directory


def test_what_was_told_of_a_paused_segment_stands_still_until_it_is_resumed(site: Site, elo: Elo) -> None:
    gold, tin = {"traits": {"plan": "gold"}}, {"traits": {"plan": "tin"}}
    site.define("watching", {"any": [VIEWED, {"trait": "plan", "is": "gold"}]})
    site.send(site.touch("plan_chosen", "user_id:ana", **gold))
    assert [one["change"] for one in site.await_changes("watching", 1)] == ["entered"]
    said = elo("segments", "pause", "watching", "--by", "ana", "--json")
    assert said.document == {"segments": [{"id": "watching", "change": "paused"}]}
    assert elo("segments", "pause", "watching").out == "watching: unchanged\n"
    assert elo("segments", "pause", "nothing").code == 1
    site.fleet.wait_idle()
    assert "  paused" in elo("segments", "list").out
    film = site.touch("film_watched", "user_id:eva")
    site.send(
        film,
        site.touch("plan_chosen", "user_id:ana", **tin),
        site.touch("plan_chosen", "user_id:bea", **gold),
    )
    time.sleep(max(0.0, film["occurred_at"] / 1_000 + WINDOW_S + 0.5 - time.time()))
    assert len(site.changes("watching")) == 1
    assert "  not told: the segment is paused, see" in elo("why", "user_id:bea", "watching").out

    elo("segments", "resume", "watching")
    site.fleet.wait_idle()
    _, *resumed = site.changes("watching")
    told = {(one["profile_id"], one["change"], one["sequence"], one["cause"]) for one in resumed}
    assert told == {  # Eva has come and gone meanwhile.
        (who(site, "ana"), "exited", 2, "definition"),
        (who(site, "bea"), "entered", 1, "definition"),
    }
    assert {one["segment_version"] for one in resumed} == {1}
    site.send(film := site.touch("film_watched", "user_id:rui"))
    *_, left = site.await_changes("watching", 5)
    assert (left["cause"], left["occurred_at"]) == ("timer", film["occurred_at"] + WINDOW_S * 1_000)


def test_a_silent_population_is_on_the_current_members_only(site: Site, elo: Elo, tmp_path: Path) -> None:
    for name in ("ana", "bea"):
        site.fleet.send([site.touch("plan_chosen", f"user_id:{name}", traits={"plan": "gold"})])
    site.fleet.wait_idle()
    files = write(tmp_path / "silent", {"id": "golden", "where": {"trait": "plan", "is": "gold"}})
    answer = elo("segments", "apply", files, "--silent", "--json").document
    assert answer == {"segments": [{"id": "golden", "version": 1, "change": "created", "silent": True}]}
    site.fleet.wait_idle()
    assert site.changes("golden") == []
    current = {
        key.partition("|")[0]: one
        for key, one in site.fleet.compacted("segments.current").items()
        if one["segment_id"] == "golden"
    }
    assert set(current) == {who(site, "ana"), who(site, "bea")}
    assert {(one["sequence"], one["change"], one["backfill"]) for one in current.values()} == {
        (0, "entered", True)
    }
    site.send(
        site.touch("plan_chosen", "user_id:ana", traits={"plan": "tin"}),
        site.touch("plan_chosen", "user_id:eva", traits={"plan": "gold"}),
    )
    told = {(one["profile_id"], one["change"], one["sequence"]) for one in site.await_changes("golden", 2)}
    assert told == {(who(site, "ana"), "exited", 1), (who(site, "eva"), "entered", 1)}


def test_a_plan_says_what_applying_a_directory_would_do_and_applying_does_it(
    site: Site, elo: Elo, tmp_path: Path
) -> None:
    for name, plan in (("ana", "tin"), ("bea", "gold"), ("eva", "gold"), ("rui", "tin")):
        site.fleet.send([site.touch("plan_chosen", f"user_id:{name}", traits={"plan": plan})])
    site.fleet.wait_idle()
    gold: dict[str, Any] = {"id": "golden", "where": {"trait": "plan", "is": "gold"}}
    inner = {"id": "not-golden", "where": {"none": [{"segment": "golden"}]}}
    watching = {"id": "watching", "where": VIEWED}
    files = write(tmp_path / "wanted", gold, inner, watching)
    elo("segments", "apply", files, "--prune")
    site.fleet.wait_idle()

    tin = {"id": "golden", "where": {"trait": "plan", "is": "tin"}}
    new = {"id": "planned", "where": {"trait": "plan", "exists": True}}
    write(files, tin, inner, new)
    before = len(site.fleet.read("segments.definitions"))
    planned = elo("segments", "plan", files, "--json").document
    moved = {
        one["id"]: (one["change"], one["entering"], one["leaving"], one["inside"])
        for one in planned["segments"]
    }
    assert moved == {
        "golden": ("updated", 2, 2, 2),
        "not-golden": ("affected", 2, 2, 2),
        "planned": ("created", 4, 0, 4),
        "watching": ("deleted", 0, 0, 0),
    }
    sampled = elo("segments", "plan", files, "--sample", 1_000, "--json").document  # All of them: exact.
    assert (sampled["segments"], sampled["estimated"]) == (planned["segments"], False)
    said = elo("segments", "plan", files).out
    assert "  updated golden: 2 enter, 2 leave, 2 inside\n" in said
    assert len(site.fleet.read("segments.definitions")) == before

    told = len(site.changes("golden"))
    elo("segments", "apply", files, "--prune", "--by", "bea")
    site.fleet.wait_idle()
    assert sorted(one["change"] for one in site.changes("golden")[told:]) == ["entered"] * 2 + ["exited"] * 2
    assert elo("segments", "plan", files).out.endswith("nothing to do\n")
    used = elo("segments", "usage", "--json").document
    assert used["traits"] == {"plan": ["golden", "planned"]}
    assert used["segments"] == {"golden": ["not-golden"]}
    assert elo("segments", "usage", "golden").out.splitlines()[1].split() == [
        "segments", "golden", "not-golden",
    ]  # fmt: skip


def test_every_change_is_kept_with_who_made_it_and_a_deleted_id_is_never_taken_again(
    site: Site, elo: Elo
) -> None:
    changes = elo("segments", "history", "--json").documents
    golden = [(one["change"], one["version"]) for one in changes if one["segment_id"] == "golden"]
    assert golden == [("created", 1), ("updated", 2)]
    watching = [
        (one["change"], one["version"], one["by"]) for one in changes if one["segment_id"] == "watching"
    ]
    assert watching[1] == ("paused", 1, "ana")
    assert watching[2][:2] == ("resumed", 1)
    assert watching[-1] == ("deleted", 2, "bea")
    (planned,) = elo("segments", "history", "planned", "--json").documents
    assert planned["definition"] == {
        "id": "planned", "name": "planned", "version": 1, "where": {"trait": "plan", "exists": True},
    }  # fmt: skip
    assert len(planned["content_hash"]) == 64
    refused = elo("segments", "apply", "-", stdin=b"id: watching\nwhere: {trait: plan, is: gold}\n")
    assert (refused.code, refused.out) == (1, "")
    assert "segment watching was deleted and ids are never reused" in refused.err
    assert elo("segments", "history", "--json").documents == changes


def test_a_definition_says_where_its_answer_is_not_exact(elo: Elo) -> None:
    where = {"all": [{"event": "tax_paid", "within": "300d"}, {"trait": "town", "matches": "^San"}]}
    answer = elo("segments", "apply", "-", "--json", stdin=json.dumps({"id": "old", "where": where}).encode())
    (entry,) = answer.document["segments"]
    assert entry["notes"] == [
        "event tax_paid within 300d, at least 1: the window is longer than the history, which goes back 30d",
        "trait town matches ^San: matches looks at the first 1,024 characters of a text",
    ]


def test_of_two_commands_at_a_time_the_one_that_began_first_does_nothing_and_says_so(site: Site) -> None:
    first, second = Edit(site.fleet.settings), Edit(site.fleet.settings)
    wanted = definition_from_json({"id": "contested", "where": {"trait": "plan", "is": "gold"}})
    with pytest.raises(CommandFailed, match="another command changes segments at this moment"):
        first.publish([("contested", "created", wanted)], "ana")
    second.publish([("contested", "created", wanted)], "bea")
    kept = [one for one in read_history(site.fleet.settings) if one.segment_id == "contested"]
    assert [one.by for one in kept] == ["bea"]
