"""The store of a partition on a real RocksDB: overlay, commit, rollback, flush, reopening, timers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rocksdict import Cache

from pipeline.core import node
from pipeline.core.facet import NEVER
from pipeline.core.node import Component, IdentifierNode, component_key, identifier_key, page_key
from pipeline.runtime.rocks import wipe
from pipeline.runtime.store import (
    POSITION_KEY,
    Position,
    Store,
    history_key,
    pack_seen,
    touch_offset,
)
from pipeline.runtime.timers import timer_key

ROOT = "user_id:u1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "partition-0"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = open_store(path)
    yield opened
    opened.close()


def open_store(path: Path) -> Store:
    return Store(path, Cache(1024 * 1024), 1)


def component(identifiers: int = 1) -> Component:
    made = Component(ROOT)
    for at in range(identifiers):
        made.add_identifier(f"device_id:d{at}")
        made.own_facet(f"device_id:d{at}").touch("page_viewed", at)
    return made


def commit(store: Store) -> dict[bytes, bytes | None]:
    records = store.stage()
    store.applied()
    store.begin()
    return records


def flush(store: Store, position: Position | None = None) -> None:
    store.begin_flush({})
    store.flush(position or Position("t"))
    store.end_flush()


def forget_decoded(store: Store) -> None:
    store.components.clear()
    store.identifiers.clear()


def test_nodes_are_found_in_the_batch_after_the_commit_and_after_the_flush(store: Store) -> None:
    assert store.component(ROOT) is None
    assert store.identifier(ROOT) is None
    made = component()
    store.save_component(made)
    store.save_identifier(ROOT, IdentifierNode(ROOT))
    assert store.component(ROOT) is made
    records = commit(store)
    assert set(records) == {component_key(ROOT), identifier_key(ROOT)}
    assert store.component(ROOT) is made
    for step in (lambda: None, lambda: flush(store)):
        step()
        forget_decoded(store)
        found, owner = store.component(ROOT), store.identifier(ROOT)
        assert found is not None
        assert found is not made
        assert found.encode() == made.encode()
        assert owner is not None
        assert owner.owner == ROOT


def test_pages_are_written_when_they_changed_and_read_with_their_component(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "PAGE_FACETS", 2)
    store.save_component(component(5))
    assert set(commit(store)) == {component_key(ROOT), page_key(ROOT, 1), page_key(ROOT, 2)}
    forget_decoded(store)
    found = store.component(ROOT)
    assert found is not None
    found.own_facet("device_id:d3").touch("page_viewed", 99)
    store.save_component(found)
    assert set(commit(store)) == {component_key(ROOT), page_key(ROOT, 1)}
    forget_decoded(store)
    again = store.component(ROOT)
    assert again is not None
    facet = again.facet("device_id:d3")
    assert facet is not None
    assert facet.last_seen == 99


def test_a_dropped_node_is_gone_at_once_and_leaves_tombstones(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "PAGE_FACETS", 2)
    store.save_component(component(5))
    store.save_identifier(ROOT, IdentifierNode(ROOT))
    commit(store)
    found = store.component(ROOT)
    assert found is not None
    store.drop_component(found)
    store.drop_identifier(ROOT)
    assert store.component(ROOT) is None
    assert store.identifier(ROOT) is None
    assert commit(store) == dict.fromkeys(
        [component_key(ROOT), page_key(ROOT, 1), page_key(ROOT, 2), identifier_key(ROOT)]
    )
    forget_decoded(store)
    assert store.component(ROOT) is None


def test_a_node_that_comes_back_in_the_batch_that_dropped_it_is_kept(store: Store) -> None:
    store.save_component(component(3))
    commit(store)
    found = store.component(ROOT)
    assert found is not None
    store.drop_component(found)
    store.save_component(component(1))
    commit(store)
    forget_decoded(store)
    again = store.component(ROOT)
    assert again is not None
    assert list(again.identifiers) == ["device_id:d0"]


def test_a_component_that_gives_its_pages_up_is_a_redirect_without_pages(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "PAGE_FACETS", 2)
    made = component(5)
    store.save_component(made)
    commit(store)
    store.drop_pages(made)
    made.become_redirect("user_id:u0", 99)
    store.save_component(made)
    records = commit(store)
    assert records[page_key(ROOT, 1)] is None
    assert records[page_key(ROOT, 2)] is None
    forget_decoded(store)
    found = store.component(ROOT)
    assert found is not None
    assert found.redirect == "user_id:u0"


def test_a_rolled_back_batch_leaves_nothing(store: Store) -> None:
    store.save_component(component())
    commit(store)
    found = store.component(ROOT)
    assert found is not None
    found.own_facet("device_id:d0").touch("page_viewed", 50)
    store.save_component(found)
    store.see(b"h1", 7, 100)
    store.put(b"sx", b"{}")
    store.rollback()
    again = store.component(ROOT)
    assert again is not None
    facet = again.facet("device_id:d0")
    assert facet is not None
    assert facet.counters == {"page_viewed": 1}
    assert store.stage() == {}
    assert store.known([b"h1"], 0) == set()


def test_a_touch_is_known_from_its_batch_on_until_the_history_has_passed(store: Store) -> None:
    key, other = history_key(b"user_id:u1", b"12345678"), history_key(b"user_id:u1", b"87654321")
    store.see(key, 7, 100)
    assert store.known([key, other], 50) == {key}
    commit(store)
    assert store.known([key, other], 50) == {key}
    flush(store)
    assert store.known([key, other], 50) == {key}
    assert store.known([key, other], 101) == set()
    seen = store.get(key)
    assert seen is not None
    assert touch_offset(seen) == 7


def test_reading_goes_on_beside_a_flush(store: Store) -> None:
    store.save_component(component())
    store.see(b"h1", 1, 100)
    commit(store)
    store.begin_flush({})
    forget_decoded(store)
    assert store.component(ROOT) is not None
    assert store.known([b"h1"], 0) == {b"h1"}
    store.put(b"sx", b"new")
    commit(store)
    store.flush(Position("t"))
    store.end_flush()
    assert store.get(b"sx") == b"new"


def test_what_was_flushed_is_there_after_reopening_and_the_rest_is_not(path: Path) -> None:
    store = open_store(path)
    assert store.position() is None
    store.put(b"s1", b"flushed")
    commit(store)
    flush(store, Position("topic", 5, 6, 7))
    store.put(b"s2", b"lost")
    commit(store)
    store.close()
    store = open_store(path)
    position = store.position()
    assert position is not None
    assert (position.topic_id, position.state_next, position.touches_next, position.at_ms) == (
        "topic",
        5,
        6,
        7,
    )
    assert (store.get(b"s1"), store.get(b"s2")) == (b"flushed", None)
    store.close()
    wipe(path)
    store = open_store(path)
    assert store.position() is None
    assert store.get(b"s1") is None
    store.close()


def test_a_position_of_another_version_is_worth_nothing(store: Store) -> None:
    store.db.put(POSITION_KEY, b'[0,"topic",5,6,7]')
    assert store.position() is None


def test_a_scan_gives_the_keys_of_a_prefix_in_order_from_a_key_on(store: Store) -> None:
    for key in (b"ca", b"cb", b"cc", b"d", b"b"):
        store.put(key, key)
    commit(store)
    flush(store)
    assert [key for key, _ in store.scan(b"c")] == [b"ca", b"cb", b"cc"]
    assert [key for key, _ in store.scan(b"c", b"cb")] == [b"cb", b"cc"]


def test_a_replay_keeps_the_last_value_removes_tombstones_and_finds_the_timers_again(store: Store) -> None:
    timed, still = component(), component()
    timed.armed = 500
    components = [(component_key(ROOT), timed.encode()), (component_key("d"), still.encode())]
    store.restore([*components, (b"sx", b"1")], Position("t", 3))
    store.restore([(b"sx", None)], Position("t", 4))
    assert store.get(b"sx") is None
    store.extend_timers(0)
    assert store.timers.due(10_000, 10) == [(500, ROOT)]
    position = store.position()
    assert position is not None
    assert position.state_next == 4


def test_a_replayed_repetition_does_not_take_the_place_of_the_first_touch(store: Store) -> None:
    store.restore_history([(b"h1", pack_seen(1, 100)), (b"h1", pack_seen(2, 200))], Position("t"))
    store.restore_history([(b"h1", pack_seen(3, 300)), (b"h2", pack_seen(4, 400))], Position("t"))
    store.restore_history([], Position("t"))
    first, second = store.get(b"h1"), store.get(b"h2")
    assert first is not None
    assert second is not None
    assert (touch_offset(first), touch_offset(second)) == (1, 4)


def test_timers_come_from_memory_and_disk_alike_and_a_fired_one_is_gone(path: Path) -> None:
    store = open_store(path)
    store.extend_timers(0)
    store.set_timer(400, "a")
    store.set_timer(NEVER - 1, "far")
    flush(store)
    store.set_timer(500, "b")
    assert store.timers.due(1_000, 10) == [(400, "a"), (500, "b")]
    store.clear_timer(400, "a")
    flush(store)
    store.close()
    store = open_store(path)
    store.extend_timers(0)
    assert store.timers.due(1_000, 10) == [(500, "b")]
    store.close()


def test_a_component_that_waits_for_publication_is_found_again_by_a_timer_until_it_is_published(
    path: Path,
) -> None:
    store = open_store(path)
    store.put(b"s", b"1")
    commit(store)
    store.begin_flush({ROOT: 700})
    store.flush(Position("t"))
    store.end_flush()
    assert store.get(timer_key(700, ROOT)) == b""
    store.close()
    store = open_store(path)
    store.extend_timers(0)
    assert store.timers.due(1_000, 10) == [(700, ROOT)]
    store.close()


def test_a_reminder_that_is_no_longer_needed_is_taken_back_with_the_next_flush(store: Store) -> None:
    for unpublished in ({ROOT: 700}, {ROOT: 900}, {}):
        store.put(b"s", str(unpublished).encode())
        commit(store)
        store.begin_flush(unpublished)
        store.flush(Position("t"))
        store.end_flush()
        found = [key for key, _ in store.scan(b"t")]
        assert found == [timer_key(due_ms, root) for root, due_ms in unpublished.items()]
