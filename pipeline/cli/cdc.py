"""`elo cdc`: change events of a database, as Debezium writes them, as touchpoints."""

from __future__ import annotations

import re
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from .options import Common, Json, command, say, say_json


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "cdc")(cdc)


def cdc(
    common: Common,
    topics: Annotated[
        list[str], typer.Argument(metavar="TOPIC…", help="of Debezium, with their whole names")
    ],
    mapping: Annotated[
        Path, typer.Option("--mapping", metavar="M.yaml", help="columns to identifiers and traits")
    ],
    exit_at_end: Annotated[bool, typer.Option("--exit-at-end", help="end when all was read")] = False,
    json_output: Json = False,
) -> None:
    """Follow change events of tables until SIGTERM or Ctrl-C; rows become touchpoints by a mapping.

    A deleted row takes its traits back. How far it is, is kept in Kafka by the name of the mapping file.
    Values are JSON, with or without schemas, or Avro of the registry of ELO_SCHEMA_REGISTRY.
    """
    from connectors.crm.changes import Changes

    from .importing import read_mapping_file
    from .kafka import connect, partitions_of

    settings = common.settings()
    _, read = read_mapping_file(mapping, settings)
    names = settings.topics()
    partitions_of(connect(settings), [*topics, *names.touchpoints, names.rejected])
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    group = re.sub(r"[^A-Za-z0-9._-]", "_", mapping.stem)
    changes = Changes(settings, topics, read, group)
    changes.follow(lambda: not stopped.is_set(), exit_at_end=exit_at_end)
    if json_output:
        say_json({"sent": changes.sent, "refused": changes.refused})
    else:
        say(f"{changes.sent} changes sent, {changes.refused} refused")
