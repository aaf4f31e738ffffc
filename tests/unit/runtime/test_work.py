"""A batch in which a touch is neither new nor a repetition is not committed."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.errors import InvariantViolation
from pipeline.core.outbox import Outbox
from pipeline.runtime.work import Work


def work_with(touches: int, duplicates: int) -> Work:
    """A batch with so many touches, of which some are repetitions."""
    before: Any = ()
    return Work({"elo.touches": 8}, Outbox(), [], [], touches, before, {}, touches=touches,
                duplicates=duplicates)  # fmt: skip


def test_a_batch_that_adds_up_may_be_committed() -> None:
    work_with(touches=5, duplicates=2).check(partition=3, new=3)


@pytest.mark.parametrize(("new", "duplicates"), [(2, 2), (3, 1), (4, 2), (0, 0)])
def test_a_batch_that_does_not_add_up_stops_the_worker(new: int, duplicates: int) -> None:
    with pytest.raises(InvariantViolation, match="unaccounted"):
        work_with(5, duplicates).check(partition=3, new=new)
