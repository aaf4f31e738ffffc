"""`elo produce`: touchpoints as JSON Lines to their topics, as Avro."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from .options import EXIT_FAILURE, Common, Json, command, fail, say, say_error, say_json

REPORTED_MAX: Final = 20  # refused lines that are named; the rest is only counted


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "produce")(produce)


def produce(
    common: Common,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE…", help="JSON Lines, also as .gz; - is standard input")
    ],
    rate: Annotated[float | None, typer.Option(min=0.01, help="at most so many touchpoints a second")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="send each line as it is, good or bad, to the topic of --source")
    ] = False,
    source: Annotated[str | None, typer.Option(metavar="SOURCE", help="only with --raw")] = None,
    json_output: Json = False,
) -> None:
    """Send touchpoints, one JSON object a line, and wait until the broker has them all.

    The source of a touchpoint names its topic; touchpoints of a source without a topic of its own go to
    touchpoints.crm. A line that is no touchpoint is named with its number and left out: exit code 1. What is
    wrong only by meaning (a date in the future, an e-mail address that is none) is sent: workers judge that.
    """
    from .feed import Feed

    if raw != (source is not None):
        raise typer.BadParameter("--raw and --source go together, for example --raw --source web")
    for name in files:
        if name != "-" and (not Path(name).exists() or Path(name).is_dir()):  # a pipe is one
            fail(f"{name}: there is no such file")
    settings = common.settings()
    started = time.monotonic()
    feed = Feed(settings, rate, source)
    for name in files:
        for line, problem in feed.send_file(name):
            if feed.refused <= REPORTED_MAX:
                say_error(f"{name}:{line}: {problem}")
    feed.finish()
    seconds = time.monotonic() - started
    if json_output:
        say_json({"produced": feed.produced, "refused": feed.refused})
    else:
        each = ", ".join(f"{name} {count:,}" for name, count in sorted(feed.by_source.items()))
        pace = f"{feed.produced / max(seconds, 1e-3):,.0f}/s"
        say(
            f"produced {feed.produced} touchpoints in {seconds:.1f} s, {pace}"
            + (f" ({each})" if each else "")
        )
    if feed.refused:
        say_error(
            f"{feed.refused} lines were refused and not sent, mend them or send them with --raw --source"
        )
        raise typer.Exit(EXIT_FAILURE)
