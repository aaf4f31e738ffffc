"""Nodes as they are stored: pinned bytes, pages, and decoding as the inverse of encoding."""

from __future__ import annotations

import json
import random
from pathlib import Path
from sys import getrefcount
from typing import Any

import pytest

from pipeline.core import node
from pipeline.core.comparing import BlockNode, RecordNode, block_key, record_key
from pipeline.core.errors import InvariantViolation
from pipeline.core.facet import NEVER, Facet
from pipeline.core.likeness import blocks_of
from pipeline.core.node import (
    CLAIMANT,
    Component,
    Entry,
    IdentifierNode,
    armed_of,
    component_key,
    identifier_key,
    page_key,
)
from pipeline.runtime.growing import node_of

GOLDEN = Path(__file__).parents[1] / "golden" / "state_v1.json"
"""Bytes of earlier versions must stay readable; change this file only together with a new version."""


def full_identifier() -> IdentifierNode:
    made = IdentifierNode("user_id:u1")
    made.shared, made.closed, made.seen = True, True, {"user_id": ["user_id:u1", "user_id:u2"]}
    return made


def full_component() -> Component:
    """A component in which everything is set, on two pages."""
    made = Component("user_id:u1")
    for at in range(18):
        made.add_identifier("user_id:u1" if at == 0 else f"device_id:d{at:02d}")
    facet = made.own_facet("user_id:u1")
    facet.touch("order_completed", 1_790_000_000_000)
    facet.see_traits({"city": "São Paulo", "likes": ["hats"]}, 1_790_000_000_000, {})
    facet.see_consent({"marketing": False}, 1_790_000_000_000)
    facet.see_leaf("order_completed#0123456789abcdef", 2, 1_790_000_000_000, "e1")
    facet.see_link("device_id:d01", 1_790_000_000_000, "e1")
    made.own_facet("device_id:d17").touch("page_viewed", 1_780_000_000_000)
    made.make_inert(["device_id:d02"])
    made.close_to("email:kiosk@example.com", "shared")
    made.add_claim("device_id:d03")
    made.add_claim(f"email:x@example.com{CLAIMANT}device_id:d04")
    made.hold_until, made.unsettled, made.trigger = 1_790_000_000_250, True, ("e1", 1_790_000_000_000)
    made.entries = {
        "0" * 32: Entry("user_id:u1", "", {"everybody": [True, 3, 1_790_000_000_000, 2]}),
        "1" * 32: Entry("device_id:d17", "0" * 32, {"everybody": [False, 2, 1_790_000_000_000, 1]}),
    }
    made.window_due, made.publish_due, made.armed = 1_790_600_000_000, 1_790_000_001_000, 1_790_000_000_250
    made.last_active, made.reviewed, made.refused = 1_790_000_000_100, True, 4
    return made


def decided_component() -> Component:
    made = Component("user_id:u1")
    made.decisions = {
        "decision:d1": ["merge", 1_790_000_000_000, "", ["user_id:u1", "email:e"], [], "maria", "one person"],
        "source:crm:e7": ["part", 1_790_000_000_001, "crm", ["user_id:u2"], ["user_id:u1"], "", ""],
        "undo:d1": ["undo", 1_790_000_000_002, "", [], [], "joão", "it was not"],
    }
    return made


def matched_component() -> Component:
    made = Component("email:a@example.com")
    made.matches = {
        "email:a@example.com": (1_790_000_000_000, {"phone:+5511999990000": 12.36}),
        "phone:+5511999990000": (1_790_000_000_001, {}),
    }
    return made


def full_record() -> RecordNode:
    made = RecordNode()
    made.record, made.mark, made.by = '{"full_name":"Ana Sikorski"}', "shipped 10.0 4.0 60", "user_id:u1"
    made.stamp, made.edition, made.full, made.asked = 3, 1_790_000_000_000, [":" + "0" * 16], [1 << 63]
    made.pairs = {"email:a@example.com": (12.36, [":" + "0" * 16, ":" + "1" * 16])}
    return made


def full_block() -> BlockNode:
    made = BlockNode()
    made.count, made.open, made.closed_once, made.known = 241, False, True, None
    return made


def small_block() -> BlockNode:
    made = BlockNode()
    made.count, made.known = 1, ["email:a@example.com"]
    return made


def redirect() -> Component:
    made = full_component()
    made.become_redirect("user_id:u0", 1_792_592_000_000)
    made.armed = 1_790_000_000_250
    return made


def stored() -> dict[str, str]:
    component = full_component()
    return {
        "identifier, new": IdentifierNode("email:ana@example.com").encode().hex(),
        "identifier, full": full_identifier().encode().hex(),
        "component, new": Component("anonymous_id:a1").encode().hex(),
        "component, full": component.encode().hex(),
        "component, full, page 1": component.encode_page(1).hex(),
        "component, redirect": redirect().encode().hex(),
        "component, decided": decided_component().encode().hex(),
        "component, matched": matched_component().encode().hex(),
        "record": full_record().encode().hex(),
        "block": small_block().encode().hex(),
        "block, full": full_block().encode().hex(),
        "key of a record": record_key("user_id:u1").hex(),
        "key of a block": block_key(":0123456789abcdef").hex(),
        "key of an identifier": identifier_key("user_id:u1").hex(),
        "key of a component": component_key("user_id:u1").hex(),
        "key of a page": page_key("user_id:u1", 300).hex(),
    }


def plain(component: Component) -> dict[str, Any]:
    """All that is stored of a component, for comparison."""
    kept = {
        name: getattr(component, name)
        for name in ("root", "redirect", "armed", "identifiers", "pages", "inert", "claims", "hold_until",
                     "trigger", "unsettled", "window_due", "publish_due", "last_active", "reviewed",
                     "refused", "decisions", "matches")
    }  # fmt: skip
    kept["closed"] = dict(component.closed)
    kept["entries"] = {
        pid: [one.anchor, one.alias_of, one.memberships] for pid, one in component.entries.items()
    }
    kept["facets"] = {one: facet and facet.to_list() for one in component.identifiers
                      for facet in [component.facet(one)]}  # fmt: skip
    return kept


@pytest.mark.parametrize("name", list(stored()))
def test_the_stored_bytes_are_those_of_the_golden_file(name: str) -> None:
    assert stored()[name] == json.loads(GOLDEN.read_text("utf-8"))[name]


def test_the_golden_file_names_nothing_else() -> None:
    assert set(json.loads(GOLDEN.read_text("utf-8"))) == set(stored())


def test_a_component_is_read_as_it_was_written() -> None:
    made = full_component()
    read = Component.decode(made.root, made.encode())
    read.load_page(1, made.encode_page(1))
    assert plain(read) == plain(made)
    assert read.encode() == made.encode()
    assert read.encode_page(1) == made.encode_page(1)
    assert not read.stale


def test_decisions_are_read_as_they_were_written_and_cost_nothing_where_there_are_none() -> None:
    made = decided_component()
    read = Component.decode(made.root, made.encode())
    assert plain(read) == plain(made)
    assert read.encode() == made.encode()
    made.decisions = {}
    assert made.encode() == Component("user_id:u1").encode()
    made.become_redirect("user_id:u0", 0)
    assert not made.decisions


def test_matches_are_read_as_they_were_written_and_cost_nothing_where_there_are_none() -> None:
    made = matched_component()
    read = Component.decode(made.root, made.encode())
    assert {one: tuple(row) for one, row in read.matches.items()} == made.matches
    assert read.encode() == made.encode()
    made.matches = {}
    assert made.encode() == Component("email:a@example.com").encode()


def test_records_and_blocks_are_read_as_they_were_written() -> None:
    for made in (full_record(), RecordNode()):
        assert RecordNode.decode(made.encode()).encode() == made.encode()
    for block in (full_block(), small_block(), BlockNode()):
        assert BlockNode.decode(block.encode()).encode() == block.encode()


def test_a_pair_counts_while_one_of_its_blocks_is_open() -> None:
    made = full_record()
    assert made.edges() == {"email:a@example.com": 12.36}
    made.full.append(":" + "1" * 16)
    assert made.edges() == {}


def test_a_redirect_keeps_its_target_its_end_its_timer_and_what_it_owned() -> None:
    made = redirect()
    read = Component.decode(made.root, made.encode())
    assert (read.redirect, read.window_due, read.armed) == (
        "user_id:u0",
        1_792_592_000_000,
        1_790_000_000_250,
    )
    assert read.pages == [list(full_component().identifiers)]
    assert (read.identifiers, read.entries, read.unsettled) == ({}, {}, False)


def test_an_identifier_node_is_read_as_it_was_written() -> None:
    made = full_identifier()
    read = IdentifierNode.decode(made.encode())
    assert (read.owner, read.shared, read.closed, read.seen) == (made.owner, True, True, made.seen)


def test_the_next_timer_is_read_without_decoding_and_so_is_a_publication_that_waits() -> None:
    component = full_component()
    assert armed_of(component.encode()) == 1_790_000_000_250
    component.publish_due = 1_790_000_000_100
    assert armed_of(component.encode()) == 1_790_000_000_100
    assert Component.decode(component.root, component.encode()).armed == 1_790_000_000_250
    assert armed_of(Component("user_id:u").encode()) == NEVER


@pytest.mark.parametrize("seed", range(50))
def test_pages_fit_their_component_whatever_comes_and_goes(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "PAGE_FACETS", 2)
    rng = random.Random(seed)
    component, pages, expected = Component("user_id:u"), dict[int, bytes](), dict[str, int]()
    for step in range(40):
        kind = rng.choice(["add", "touch", "remove", "reload"])
        if kind == "add":
            component.add_identifier(f"device_id:{step}")
            expected[f"device_id:{step}"] = 0
        elif kind == "touch" and expected:
            one = rng.choice(sorted(expected))
            component.own_facet(one).touch("page_viewed", 1)
            expected[one] += 1
        elif kind == "remove" and (empty := sorted(one for one, count in expected.items() if not count)):
            one = rng.choice(empty)
            component.remove_identifier(one)
            del expected[one]
        else:
            value = component.encode()
            pages |= {page: component.encode_page(page) for page in component.dirty_pages if page}
            component = Component.decode(component.root, value)
            for page in range(1, len(component.pages)):
                component.load_page(page, pages[page])
        found = {one: facet.counters["page_viewed"] if (facet := component.facet(one)) else 0
                 for one in component.identifiers}  # fmt: skip
        assert found == expected


def test_a_page_that_does_not_fit_its_component_stops_the_worker() -> None:
    component = full_component()
    with pytest.raises(InvariantViolation, match="facet page does not fit"):
        Component.decode(component.root, component.encode()).load_page(1, b"\x90")


def test_an_identifier_that_was_only_seen_beside_others_has_no_facet_also_after_reading() -> None:
    made = Component("user_id:u")
    made.add_identifier("user_id:u")
    assert made.facet("user_id:u") is None
    assert Component.decode("user_id:u", made.encode()).facet("user_id:u") is None


def test_claims_name_the_identifiers_that_are_awaited() -> None:
    made = Component("user_id:u")
    assert set(made.awaited()) == set()
    made.add_claim("device_id:d")
    made.add_claim(f"user_id:v{CLAIMANT}email:e")
    made.add_claim(f"{CLAIMANT}user_id:w")
    assert set(made.awaited()) == {"device_id:d", "email:e", "user_id:w"}
    made.end_claim("device_id:d")
    made.end_claim("device_id:d")
    assert set(made.awaited()) == {"email:e", "user_id:w"}


def test_what_was_closed_as_shared_is_inert_once_it_is_inside() -> None:
    made = Component("user_id:u")
    made.close_to("email:e", "shared")
    made.close_to("email:f", "full")
    made.open_to("email:e")
    made.open_to("email:f")
    made.open_to("email:g")
    assert (set(made.inert), dict(made.closed)) == ({"email:e"}, {})


def test_components_that_have_nothing_to_remember_do_not_share_what_one_of_them_gets() -> None:
    one, other = Component("user_id:u"), Component("user_id:v")
    one.add_claim("email:e")
    one.make_inert(["email:f"])
    one.close_to("email:g", "full")
    assert (set(other.claims), set(other.inert), dict(other.closed)) == (set(), set(), {})


def test_a_redirect_lets_go_of_what_its_component_held() -> None:
    component, facet, entry = Component("device_id:d1"), Facet(), Entry("device_id:d1", "", {})
    component.add_identifier("device_id:d1")
    before = getrefcount(facet), getrefcount(entry)
    component.facets["device_id:d1"], component.entries["p"] = facet, entry
    component.become_redirect("user_id:1", 5)
    assert (getrefcount(facet), getrefcount(entry)) == before
    assert (component.redirect, component.pages, component.window_due) == ("user_id:1", [["device_id:d1"]], 5)


def test_a_growth_moves_records_and_blocks_to_where_their_mail_goes() -> None:
    (block, *_) = blocks_of('{"full_name":"Ana Sikorski"}')
    assert node_of(block_key(block)).decode() == block
    assert node_of(record_key("user_id:u1")) == b"user_id:u1"
    assert ":" in block  # Mail to what has no type is not moved.
