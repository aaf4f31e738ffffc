"""`elo state`: the state of all partitions, read from `elo.state`, to compare and to look into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import Common, Json, command, group, say, say_json

if TYPE_CHECKING:
    from ..settings import Settings

app = group("State of all partitions, read from Kafka.")


@command(app, "hash")
def state_hash(common: Common, json_output: Json = False) -> None:
    """Print one hexadecimal line: equal histories give equal hashes, in whatever order they arrived."""
    from ..runtime import inspect

    digest = inspect.state_hash(_reached(common))
    if json_output:
        say_json({"hash": digest})
    else:
        say(digest)


@command(app, "dump")
def state_dump(common: Common, json_output: Json = False) -> None:
    """Print every live profile, one JSON object a line, with and without --json."""
    from ..runtime import inspect

    for profile in inspect.state_dump(_reached(common)):
        say_json(profile)


def _reached(common: Common) -> Settings:
    """The settings of this run, once a broker has answered."""
    from .kafka import connect

    settings = common.settings()
    connect(settings)
    return settings
