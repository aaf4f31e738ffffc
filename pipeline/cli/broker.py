"""`elo broker`: the embedded Kafka of this machine, for development, demos and tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .options import EXIT_FAILURE, Common, Json, command, group, say, say_json

if TYPE_CHECKING:
    from ..broker import EmbeddedBroker
    from ..broker.jars import Report

app = group("A real Apache Kafka on this machine; no Docker, no Java needed.")

PORT_DEFAULT: Final = 9092

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="what it keeps [default: `broker` in ELO_DATA_DIR]"),
]


@command(app, "start")
def start(
    common: Common,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help=f"port on 127.0.0.1 [default: {PORT_DEFAULT}]"),
    ] = None,
    data_dir: DataDir = None,
    json_output: Json = False,
) -> None:
    """Start the broker, and return when it answers; the first time downloads it (44 MB)."""
    from ..broker import KAFKA_VERSION, BrokerError
    from ..broker.progress import OnStream

    broker = _broker(common, data_dir)
    running = broker.status()
    if running is None or port is not None:
        broker = _broker(common, data_dir, port or PORT_DEFAULT, OnStream())
    try:
        started = broker.start()
    except BrokerError as error:
        for line in error.log_lines:
            typer.echo(f"  {line}", err=True)
        raise
    if json_output:
        say_json({"started": started, **_document(broker)})
        return
    verb = "is up" if started else "runs already"
    say(f"Kafka {KAFKA_VERSION} {verb} at {broker.bootstrap} (pid {broker.pid}, data in {broker.data_dir})")


@command(app, "stop")
def stop(common: Common, data_dir: DataDir = None, json_output: Json = False) -> None:
    """Stop the broker; it is no error when none runs."""
    broker = _broker(common, data_dir)
    stopped = broker.stop()
    if json_output:
        say_json({"stopped": stopped, "data_dir": str(broker.data_dir)})
        return
    say(f"{'stopped the broker' if stopped else 'no broker runs'} of {broker.data_dir}")


@command(app, "status")
def status(common: Common, data_dir: DataDir = None, json_output: Json = False) -> None:
    """Say whether the broker runs: exit code 0 if it does, 1 if not."""
    broker = _broker(common, data_dir)
    document = _document(broker)
    if json_output:
        say_json(document)
    elif document["running"]:
        say(f"Kafka runs at {document['bootstrap']} (pid {document['pid']}, data in {document['data_dir']})")
    else:
        say(f"no broker runs in {document['data_dir']}, start one with `elo broker start`")
    if not document["running"]:
        raise typer.Exit(EXIT_FAILURE)


def _broker(
    common: Common, data_dir: Path | None, port: int = 0, report: Report | None = None
) -> EmbeddedBroker:
    from ..broker import EmbeddedBroker

    return EmbeddedBroker(data_dir or common.settings().data_dir / "broker", port, report=report)


def _document(broker: EmbeddedBroker) -> dict[str, object]:
    """What `--json` prints; the same fields whether it runs or not."""
    found = broker.status()
    return {
        "running": found is not None,
        "pid": found.pid if found else None,
        "port": found.port if found else None,
        "bootstrap": found.bootstrap if found else None,
        "data_dir": str(broker.data_dir),
    }
