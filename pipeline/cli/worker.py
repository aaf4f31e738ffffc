"""`elo worker`: one worker of the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Common, command


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "worker")(worker)


def worker(
    common: Common,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="local state [ELO_DATA_DIR]")
    ] = None,
    web_port: Annotated[
        int | None,
        typer.Option("--web-port", help="metrics and health; 0 is off [ELO_WEB_PORT, default 6066]"),
    ] = None,
) -> None:
    """Run one worker until SIGTERM or Ctrl-C; it drains and commits first. Exit code 3: fatal error."""
    from ..runtime import worker as runtime

    code = runtime.run(common.settings(data_dir=data_dir, web_port=web_port))
    raise typer.Exit(code)
