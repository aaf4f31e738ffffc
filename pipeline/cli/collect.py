"""`elo collect`: events of other people's SDKs and webhooks over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Common, command

if TYPE_CHECKING:
    from ..settings import Settings


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "collect")(collect)


def collect(
    common: Common,
    port: Annotated[
        int | None, typer.Option("--port", help="answer here [ELO_COLLECT_PORT, default 8080]")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="on this address [ELO_COLLECT_HOST, default 127.0.0.1]")
    ] = None,
    write_key: Annotated[
        list[str] | None,
        typer.Option("--write-key", metavar="KEY=SOURCE", help="may be repeated [ELO_WRITE_KEYS]"),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="holds the spool [ELO_DATA_DIR]")
    ] = None,
) -> None:
    """Take events over HTTP until SIGTERM or Ctrl-C; SIGHUP reads the write keys of the settings file again.

    Segment's HTTP tracking API, and the requests of RudderStack, Jitsu, Snowplow and PostHog SDKs. An answer
    comes when the broker has the events, or, while it is away, the disk.
    """
    import connectors.collect

    from ..runtime.logs import configure_logs

    given = _keys(write_key or [])

    def load() -> Settings:
        return common.settings(collect_port=port, collect_host=host, data_dir=data_dir)

    def read_keys() -> Mapping[str, str]:
        return {**load().write_keys, **given}

    settings, keys = load(), read_keys()
    configure_logs(settings)
    connectors.collect.check_keys(settings, keys)
    _check_topics(settings)
    raise typer.Exit(connectors.collect.run(settings, keys, read_keys))


def _keys(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        key, separator, source = pair.rpartition("=")
        if not separator or not key:
            raise typer.BadParameter("--write-key takes KEY=SOURCE, for example --write-key k3y=web")
        found[key] = source
    return found


def _check_topics(settings: Settings) -> None:
    """Raises when a topic is missing or may not be written. A broker that is away may come later."""
    from ..access import Role
    from ..core.errors import Retryable
    from ..runtime.connect import check_access
    from .kafka import connect, partitions_of
    from .options import say_error

    topics = settings.topics()
    try:
        admin = connect(settings)
        check_access(settings, admin, Role.COLLECT, topics)
        partitions_of(admin, (*topics.touchpoints, topics.rejected, topics.privacy_requests))
    except Retryable as away:
        say_error(f"{away.message}; until then events go to the disk")
