"""A batch in which a touch is neither new nor a repetition is not committed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.core.errors import InvariantViolation
from pipeline.core.outbox import Outbox
from pipeline.runtime.task import Task
from pipeline.runtime.work import Work


def task_with(new: int) -> Any:
    """A task of which only what `conclude` asks for is there."""
    store = SimpleNamespace(
        seen={bytes([number]): b"" for number in range(new)}, changed_components={}, stage=dict
    )
    return SimpleNamespace(
        store=store, partition=3, ahead={"elo.touches": 7}, noted="", now_ms=0, _arm=lambda work: None,
        _make_note=lambda work: "", outputs=SimpleNamespace(publish_all=lambda now_ms, at_rest, most: 0),
    )  # fmt: skip


def work_with(touches: int, duplicates: int) -> Work:
    """A batch with so many touches, of which some are repetitions."""
    before: Any = ()
    return Work({"elo.touches": 8}, Outbox(), [], [], touches, before, {}, touches=touches,
                duplicates=duplicates)  # fmt: skip


def test_a_batch_that_adds_up_is_concluded() -> None:
    work = work_with(touches=5, duplicates=2)
    assert Task.conclude(task_with(new=3), work, 1_000) == 0
    assert work.changed


@pytest.mark.parametrize(("new", "duplicates"), [(2, 2), (3, 1), (4, 2), (0, 0)])
def test_a_batch_that_does_not_add_up_stops_the_worker(new: int, duplicates: int) -> None:
    with pytest.raises(InvariantViolation, match="unaccounted"):
        Task.conclude(task_with(new), work_with(5, duplicates), 1_000)
