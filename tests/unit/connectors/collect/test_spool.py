"""The spool: what was appended comes out once, in order, also after a kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from connectors.collect import spool as module
from connectors.collect.spool import Record, Spool
from pipeline.core.errors import ConfigError

Start = Callable[[], Spool]


def records(first: int, count: int) -> list[Record]:
    return [
        Record("t", None if n % 2 else b"k", b"%d" % n, (("h", "x"),) if n % 3 else ())
        for n in range(first, first + count)
    ]


def drained(spool: Spool, count: int = 7) -> list[Record]:
    found: list[Record] = []
    while step := spool.read(count):
        found += step
    return found


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", 300)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Open the spool; what is open at the end is closed."""
    with ExitStack() as opened:

        def start() -> Spool:
            spool = Spool(tmp_path)
            opened.callback(spool.close)
            return spool

        yield start


def test_what_was_appended_is_read_in_order_over_many_files(start: Start, tmp_path: Path) -> None:
    spool = start()
    for first in range(0, 100, 5):
        spool.append(records(first, 5))
    assert len(list(tmp_path.glob("*.spool"))) > 5
    assert drained(spool) == records(0, 100)
    assert spool.unread_bytes == 0
    assert len(list(tmp_path.glob("*.spool"))) == 1  # the others are done with
    spool.append(records(100, 3))
    assert drained(spool) == records(100, 3)
    spool.clear()
    assert (spool.bytes, list(tmp_path.glob("*.spool"))) == (0, [])
    spool.append(records(0, 2))
    assert drained(spool) == records(0, 2)


def test_what_could_not_be_delivered_is_read_again(start: Start, tmp_path: Path) -> None:
    spool = start()
    spool.append(records(0, 30))
    spool.append(records(30, 30))
    whole = spool.unread_bytes
    first = spool.read(4)
    assert 0 < spool.unread_bytes < whole == spool.bytes
    spool.again()
    assert spool.unread_bytes == whole
    assert spool.read(4) == first
    assert drained(spool) == records(4, 56)


def test_after_a_kill_everything_that_was_synced_is_there(start: Start, tmp_path: Path) -> None:
    spool = start()
    for first in range(0, 40, 5):
        spool.append(records(first, 5))
    spool.read(3)
    spool.close()  # a kill closes files as well, and writes nothing
    again = start()
    assert drained(again) == records(0, 40)


@pytest.mark.parametrize("cut", [1, 5, 9, 17])
def test_a_write_that_a_kill_has_cut_is_left_out(start: Start, tmp_path: Path, cut: int) -> None:
    spool = start()
    spool.append(records(0, 3))
    spool.close()
    [file] = tmp_path.glob("*.spool")
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:cut])
    again = start()
    again.append(records(3, 3))
    assert drained(again) == records(0, 6)
    assert again.unreadable_bytes == cut


def test_a_full_disk_loses_nothing_that_was_synced(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = start()
    spool.append(records(0, 3))

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        spool.append(records(3, 3))
    monkeypatch.undo()
    spool.append(records(6, 3))
    assert drained(spool) == [*records(0, 3), *records(6, 3)]


def test_two_processes_cannot_share_a_spool(start: Start, tmp_path: Path) -> None:
    first = start()
    with pytest.raises(ConfigError, match="used by another collector"):
        start()
    first.close()
    start()
