"""`python -m tests.support.launch ARGUMENTS`: `elo` in a process that dies with the test.

It may be sabotaged. `ELO_TEST_POISON=stage` makes touches whose event id begins with `poison` raise inside
the program, at a stage: `intake` before anything else, `resolver` before the state is touched, `half-way`
after half of the work was done, with messages already queued. `ELO_TEST_FILE_BYTES=n` forbids files above n
bytes, as a full disk would. `ELO_TEST_LOSE=1`: the intake passes over touchpoints that hold `lost-`.
`ELO_TEST_HOLD=directory`: no timer fires while it has a file `timers`, and no record is handled while it has
a file `records`. `ELO_TEST_STUCK=where` makes it hang: the `loop`, or the whole `interpreter`, as soon as
`/livez` is asked for; the `disk` at the first write.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
STUCK_S = 600


class Poison(Exception):
    """What sabotaged code raises: nothing in the program knows it."""


def die_with_parent() -> None:
    """Linux only: the kernel kills this process when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:
            os._exit(1)


def poison(stage: str) -> None:
    """Make the program raise for poisonous touches."""
    from pipeline.core import absorb, resolver, touchpoint

    def raising(owner: Any, name: str, id_of: Any, *, after: bool) -> None:
        method = getattr(owner, name)

        def poisoned(*arguments: Any) -> Any:
            result = method(*arguments) if after else None
            if id_of(arguments).startswith("poison"):
                raise Poison
            return result if after else method(*arguments)

        setattr(owner, name, poisoned)

    if stage == "intake":
        reader = touchpoint.TouchpointReader
        raising(reader, "read", lambda a: "poison" if b"poison-" in (a[1] or b"") else "", after=False)
    elif stage == "resolver":
        raising(resolver.Resolver, "touch", lambda a: a[1].event_id, after=False)
    else:
        raising(absorb.Absorber, "_see_links", lambda a: a[4].event_id, after=True)


def lose() -> None:
    """Let the intake commit past some touchpoints without a trace."""
    from pipeline.runtime.intake import Intake

    handle = Intake._handle_touchpoints

    def losing(intake: Intake, records: list[Any]) -> None:
        kept = [record for record in records if b"lost-" not in (record.value() or b"")]
        if kept:
            handle(intake, kept)

    Intake._handle_touchpoints = losing  # type: ignore[method-assign]


def hold(directory: Path) -> None:
    """Let timers come due and stay so, and records wait."""
    from pipeline.runtime.inbox import Inbox
    from pipeline.runtime.timers import Timers

    def held(owner: Any, name: str, file: Path) -> None:
        method = getattr(owner, name)

        def holding(*arguments: Any, **more: Any) -> Any:
            return [] if file.exists() else method(*arguments, **more)

        setattr(owner, name, holding)

    held(Timers, "due", directory / "timers")
    held(Inbox, "take", directory / "records")


def get_stuck(where: str) -> None:
    """Make the program hang."""
    from pipeline.runtime import health, store

    async def hang(*_: Any) -> None:
        if where == "loop":
            time.sleep(STUCK_S)  # noqa: ASYNC251  this is the fault
        re.match(r"(a+)+$", "a" * 60 + "b")  # for years, with the lock of the interpreter

    if where == "disk":
        store.Store.flush = lambda *_: time.sleep(STUCK_S)  # type: ignore[method-assign]
    else:
        health.Health.live = hang  # type: ignore[method-assign, assignment]


def main() -> None:
    """Prepare this process, then be `elo`."""
    die_with_parent()
    if stage := os.environ.get("ELO_TEST_POISON"):
        poison(stage)
    if os.environ.get("ELO_TEST_LOSE"):
        lose()
    if directory := os.environ.get("ELO_TEST_HOLD"):
        hold(Path(directory))
    if where := os.environ.get("ELO_TEST_STUCK"):
        get_stuck(where)
    if limit := os.environ.get("ELO_TEST_FILE_BYTES"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write that is too long fails with EFBIG instead
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    from pipeline.__main__ import main as elo

    elo()


if __name__ == "__main__":
    main()
