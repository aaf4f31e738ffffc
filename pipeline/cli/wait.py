"""`elo wait`: return when everything produced so far has had its effect."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from .options import EXIT_FAILURE, Common, Json, command, say_error, say_json

NAMED_MAX: Final = 6  # what is named in the sentence; --json names all


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "wait")(wait)


def wait(
    common: Common,
    timeout: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="give up after so long")] = 60.0,
    json_output: Json = False,
) -> None:
    """Wait until all input is consumed and committed and no due timer is open.

    At the timeout: exit code 1, and what is behind is named.
    """
    from .idle import wait_until_idle

    started = time.monotonic()
    behind = wait_until_idle(common.settings(), timeout)
    if json_output:
        entries = [entry.to_json() for entry in behind]
        say_json({"idle": not behind, "seconds": round(time.monotonic() - started, 3), "behind": entries})
    if behind:
        now_ms = time.time_ns() // 1_000_000
        named = ", ".join(entry.sentence(now_ms) for entry in behind[:NAMED_MAX])
        more = f" and {len(behind) - NAMED_MAX} more" if len(behind) > NAMED_MAX else ""
        say_error(f"still behind after {timeout:g} s: {named}{more}; is a worker running (`elo worker`)?")
        raise typer.Exit(EXIT_FAILURE)
