"""A copy of a partition that another worker has: what a restore would make, and no touch too many."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rocksdict import Cache

from pipeline.core.facet import NEVER
from pipeline.core.node import Component, component_key
from pipeline.runtime.environment import wall_ms
from pipeline.runtime.standby import Copy
from pipeline.runtime.store import POSITION_KEY, Position, Store, history_key
from pipeline.runtime.timers import TIMER_KEY, timer_key

TOPIC_ID = "here"
HASH = b"\x00" * 8


@dataclass
class Record:
    """A record of the changelog, or a touch."""

    at: int
    name: bytes
    content: bytes | None
    ms: int = 1_000

    def key(self) -> bytes:
        return self.name

    def value(self) -> bytes | None:
        return self.content

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 1, self.ms


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[Store]]:
    made = [Store(tmp_path / name, Cache(1024 * 1024), 1) for name in ("copy", "restored")]
    yield made
    for store in made:
        store.close()


def armed(root: str, due_ms: int) -> bytes:
    component = Component(root)
    component.armed = due_ms
    return component.encode()


def content(store: Store) -> dict[bytes, bytes]:
    return {key: value for key, value in store.scan(b"") if key != POSITION_KEY}


@pytest.mark.parametrize("seed", range(20))
def test_a_copy_that_was_followed_holds_what_a_full_restore_makes(seed: int, stores: list[Store]) -> None:
    rng = random.Random(seed)
    followed, restored = stores
    log = []
    for at in range(200):
        root = f"user_id:u{rng.randrange(8)}"
        value = None if rng.random() < 0.1 else armed(root, rng.choice((NEVER, rng.randrange(1, 50))))
        log.append(Record(at, component_key(root), value))
    copy = Copy(0, followed, Position(TOPIC_ID))
    rest = log
    while rest:
        step = rng.randrange(1, 30)
        copy.follow(rest[:step])
        rest = rest[step:]
    restored.restore({one.name: one.content for one in log}.items(), Position(TOPIC_ID, len(log)))
    assert content(followed) == content(restored)
    position = followed.position()
    assert position is not None
    assert position.state_next == len(log)


def test_a_timer_that_was_set_anew_is_not_kept(stores: list[Store]) -> None:
    copy = Copy(0, stores[0], Position(TOPIC_ID))
    for at, due_ms in enumerate((30, 20, 25)):
        copy.follow([Record(at, component_key("user_id:u1"), armed("user_id:u1", due_ms))])
    assert [key for key, _ in copy.store.scan(TIMER_KEY)] == [timer_key(25, "user_id:u1")]


def test_a_touch_counts_as_seen_only_once_the_owner_has_committed_it(stores: list[Store]) -> None:
    copy = Copy(0, stores[0], Position(TOPIC_ID))
    touches = [Record(at, b"user_id:u%d" % at, b"\x01" + HASH) for at in range(5)]
    keys = [history_key(one.name, HASH) for one in touches]
    copy.early.extend(touches)
    for bound in (0, 2, 2, 5):
        copy.bound = bound
        copy.remember(history_since_ms=0)
        assert copy.store.known(keys, 0) == set(keys[:bound])
        assert copy.position.touches_next == bound


def test_a_copy_in_which_nothing_changes_stays_young(stores: list[Store]) -> None:
    copy = Copy(0, stores[0], Position(TOPIC_ID, at_ms=1))
    before_ms = wall_ms()
    copy.marked_at = float("-inf")
    copy.mark()
    position = copy.store.position()
    assert position is not None
    assert position.at_ms >= before_ms
