"""Local state that is damaged is rebuilt; what somebody else uses is left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rocksdict import Cache

from pipeline.core.errors import Retryable
from pipeline.runtime.opening import open_or_rebuild
from pipeline.runtime.position import Position
from pipeline.runtime.store import Store

MEMORY = 1_000_000


def opened(path: Path) -> Store:
    return open_or_rebuild(path, Cache(MEMORY), MEMORY)


def written(path: Path) -> None:
    """A store with a value, closed in order."""
    store = opened(path)
    store.restore([(b"k", b"v")], Position("topic", 7))
    store.close()


def test_whole_state_is_kept(tmp_path: Path) -> None:
    written(tmp_path / "p")
    store = opened(tmp_path / "p")
    assert store.get(b"k") == b"v"
    store.close()


def without_manifest(path: Path) -> None:
    for file in path.glob("MANIFEST-*"):
        file.unlink()


def with_bad_current(path: Path) -> None:
    (path / "CURRENT").write_bytes(b"nonsense")


def with_bad_manifest(path: Path) -> None:
    for file in path.glob("MANIFEST-*"):
        file.write_bytes(b"\xff" * file.stat().st_size)


@pytest.mark.parametrize("damage", [without_manifest, with_bad_current, with_bad_manifest])
def test_damaged_state_is_given_up(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    written(tmp_path / "p")
    damage(tmp_path / "p")
    store = opened(tmp_path / "p")
    assert (store.get(b"k"), store.position()) == (None, None)
    store.close()
    written(tmp_path / "p")


def test_state_that_is_in_use_is_not_touched(tmp_path: Path) -> None:
    store = opened(tmp_path / "p")
    store.restore([(b"k", b"v")], Position("topic", 7))
    with pytest.raises(Retryable, match="cannot be opened"):
        opened(tmp_path / "p")
    assert store.get(b"k") == b"v"
    store.close()
