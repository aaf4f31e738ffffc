"""The commands of `elo`, put together. Contract: docs/contract.md, "Command line"."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from . import (
    broker,
    cdc,
    collect,
    deliver,
    demo,
    doctor,
    export,
    identity,
    importing,
    produce,
    profile,
    reconcile,
    rejected,
    schemas,
    segments,
    state,
    tail,
    topics,
    wait,
    why,
    worker,
)
from .options import Bootstrap, Common, Config, TopicPrefix

app = typer.Typer(
    name="elo",
    help="Touchpoints in, one profile per person and segment changes out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"elo {__version__}")
        raise typer.Exit


@app.callback()
def elo(
    context: typer.Context,
    bootstrap: Bootstrap = None,
    topic_prefix: TopicPrefix = None,
    config: Config = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Touchpoints in, one profile per person and segment changes out."""
    context.obj = Common(bootstrap, topic_prefix, config)


demo.add_to(app)
app.add_typer(broker.app, name="broker")
app.add_typer(topics.app, name="topics")
worker.add_to(app)
produce.add_to(app)
collect.add_to(app)
importing.add_to(app)
cdc.add_to(app)
app.add_typer(segments.app, name="segments")
app.add_typer(identity.app, name="identity")
tail.add_to(app)
wait.add_to(app)
app.add_typer(profile.app, name="profile")
why.add_to(app)
export.add_to(app)
app.add_typer(deliver.app, name="deliver")
app.add_typer(rejected.app, name="rejected")
reconcile.add_to(app)
app.add_typer(schemas.app, name="schemas")
app.add_typer(state.app, name="state")
doctor.add_to(app)
