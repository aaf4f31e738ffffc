"""`elo tail`: follow an output topic, for people or as JSON Lines."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from .options import Common, Json, command


class Stream(StrEnum):
    """The outputs that can be followed."""

    MEMBERSHIP = "membership"
    CURRENT = "current"
    PROFILES = "profiles"
    MERGES = "merges"
    REJECTED = "rejected"
    REVIEW = "review"


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "tail")(tail)


def tail(
    common: Common,
    stream: Annotated[Stream, typer.Argument(help="what to follow")],
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="start at the first record")
    ] = False,
    exit_at_end: Annotated[
        bool, typer.Option("--exit-at-end", help="stop where the topic ends now instead of waiting for more")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="stop after so many records")] = None,
    json_output: Json = False,
) -> None:
    """Follow an output: only what is committed, one record a line."""
    from .records import follow_output

    follow_output(
        common.settings(),
        stream,
        from_beginning=from_beginning,
        exit_at_end=exit_at_end,
        limit=limit,
        as_json=json_output,
    )
