"""`elo demo`: the whole of Elo on this machine, with a live shop in front of it."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Common, command


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "demo")(demo)


def demo(
    common: Common,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=1,
            envvar="DEMO_SECONDS",
            metavar="SECONDS",
            help="close the shop after so long [until Ctrl-C]",
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=1, max=5_000, help="touchpoints a second")] = 200.0,
    seed: Annotated[int, typer.Option(min=0, help="equal seeds play the same people")] = 7,
    keep: Annotated[bool, typer.Option("--keep", help="keep data and logs for a look afterwards")] = False,
) -> None:
    """Start a Kafka and a worker of its own, play a live shop, and check the outcome against its truth.

    Ctrl-C closes the shop and prints the checked summary; a second one ends at once. Exit code 1 when the
    outcome differs from the truth. The demo has a deployment of its own: --bootstrap and --topic-prefix
    change nothing.
    """
    from connectors.demo import run

    raise typer.Exit(run(common.settings(), seconds, rate, keep, seed))
