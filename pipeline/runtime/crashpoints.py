"""Named points at which a test may kill the worker as the kernel would: no handler runs, nothing is flushed.

`ELO_CRASH_AT=name` kills at the first time that the point is reached, `ELO_CRASH_AT=name:7` at the seventh.
They stand at every commit boundary, once per batch and never once per record.
tests/faults/test_crash_points.py walks all of them.
"""

from __future__ import annotations

import os
import signal
from typing import Final

VARIABLE: Final = "ELO_CRASH_AT"
POINTS: Final = (
    "intake.before_flush",  # touches are with the producer, maybe not with the broker
    "intake.after_flush",  # the broker has them, the offsets of the touchpoints are not committed
    "task.fenced",  # where the old owner stopped is known, nothing was read
    "restore.state",  # part of the changelog is on disk
    "restore.history",  # part of the de-dup table is on disk
    "task.known",  # the group knows whose the partition is, nothing of it was written
    "definitions.taken",  # new definitions are in use in memory only
    "definitions.step",  # one step of a back-fill is computed
    "policy.taken",  # a new identity policy is in use in memory only
    "policy.step",  # one step of its work is computed
    "batch.computed",  # everything is decided, the transaction is empty
    "transaction.written",  # its records are on their way
    "transaction.offsets",  # it holds the offsets too
    "transaction.committed",  # it is committed, memory does not know yet
    "batch.applied",  # memory knows, the disk does not
    "flush.begun",  # what goes to disk was set aside
    "flush.written",  # it is on disk
)
"""In the order of a worker's life."""
GROWING: Final = (
    "grow.sent",  # a transaction holds its records
    "grow.touches",  # some of the history was copied
    "grow.handed",  # the new partitions know where they begin
    "grow.state",  # some of the nodes were moved
    "grow.changes",  # the new partitions of one old one know definitions and policy
)
"""Those of `elo topics grow`."""


def _parse(wanted: str) -> tuple[str, int]:
    name, _, count = wanted.partition(":")
    if name not in POINTS + GROWING:
        raise ValueError(f"{VARIABLE}: {name!r} is not a crash point")
    return name, int(count or 1)


_armed: tuple[str, int] | None = _parse(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def reach(name: str) -> None:
    """Say that the worker is at the point `name`. Ends the process there if the environment asks for it."""
    if _armed is not None:
        _count_down(name)


def _count_down(name: str) -> None:
    global _armed  # noqa: PLW0603  read once per batch, written by tests only
    assert _armed is not None
    wanted, left = _armed
    if name != wanted:
        return
    if left <= 1:
        os.kill(os.getpid(), signal.SIGKILL)
    _armed = wanted, left - 1
