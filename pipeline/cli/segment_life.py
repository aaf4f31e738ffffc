"""`elo segments pause|resume|history|usage`: segments that stand still, their past, and who uses what."""

from __future__ import annotations

import getpass
from dataclasses import replace
from typing import Annotated, Any

import typer

from .options import Common, Json, cells, command, console, fail, say, say_json

Ids = Annotated[list[str], typer.Argument(metavar="SEGMENT…", help="ids of segments")]
By = Annotated[
    str | None, typer.Option("--by", metavar="WHO", help="who does it; the user of this system by default")
]
HASH_SHOWN = 12


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(app, "pause")(pause)
    command(app, "resume")(resume)
    command(app, "history")(history)
    command(app, "usage")(usage)


def author(by: str | None) -> str:
    """Who is noted as the author of a change."""
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container may have a user without a name.
        fail("nobody knows who you are, say it with --by WHO; nothing was done")


def pause(common: Common, segment_ids: Ids, by: By = None, json_output: Json = False) -> None:
    """Let what was told of segments stand still until they are resumed; what they count goes on."""
    _set_paused(common, segment_ids, by, json_output, paused=True)


def resume(common: Common, segment_ids: Ids, by: By = None, json_output: Json = False) -> None:
    """Tell of paused segments again, beginning with the difference."""
    _set_paused(common, segment_ids, by, json_output, paused=False)


def _set_paused(
    common: Common, segment_ids: list[str], by: str | None, json_output: bool, *, paused: bool
) -> None:
    from .definitions import Edit, in_force

    edit = Edit(common.settings())
    applied = in_force(edit.stored)
    wanted = list(dict.fromkeys(segment_ids))
    for name in wanted:
        if name not in applied:
            fail(f"there is no segment {name}, nothing was changed: `elo segments list` shows all")
        if applied[name].is_trait:
            fail(f"{name} is a computed trait, and only segments are paused; nothing was changed")
    change = "paused" if paused else "resumed"
    changes = {name: change if applied[name].paused != paused else "unchanged" for name in wanted}
    edit.publish(
        [(name, change, replace(applied[name], paused=paused)) for name in wanted
         if changes[name] != "unchanged"],
        author(by),
    )  # fmt: skip
    if json_output:
        say_json({"segments": [{"id": name, "change": change} for name, change in changes.items()]})
        return
    for name, change in changes.items():
        say(f"{name}: {change}")


def history(
    common: Common,
    segment_id: Annotated[str | None, typer.Argument(metavar="[SEGMENT]", help="of this one only")] = None,
    json_output: Json = False,
) -> None:
    """List every change of definitions: who made it, when, and the hash; --json with the definition."""
    from ..core.instant import format_instant
    from .definitions import read_history

    found = [one for one in read_history(common.settings()) if segment_id in (None, one.segment_id)]
    if json_output:
        for one in found:
            say_json({**one.to_json(), "at": format_instant(one.at)})
        return
    if not found:
        say("no changes yet" if segment_id is None else f"no changes of {segment_id}")
        return
    from rich.table import Table

    table = Table("at", "segment", "version", "change", "by", "hash", box=None, header_style="bold")
    for one in found:
        shown = (one.content_hash or "-")[:HASH_SHOWN]
        row = format_instant(one.at), one.segment_id, str(one.version), one.change, one.by, shown
        table.add_row(*cells(*row))
    console().print(table)


def usage(
    common: Common,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="what is called so only")] = None,
    json_output: Json = False,
) -> None:
    """Show which segments use which traits, events, segments, purposes and identifier types."""
    from ..core.segments.usage import usage_of
    from .definitions import in_force, read_stored

    used = usage_of(in_force(read_stored(common.settings())).values())
    found: dict[str, Any] = {
        kind: {one: users for one, users in names.items() if name in (None, one)}
        for kind, names in used.items()
    }
    if json_output:
        say_json(found)
        return
    rows = [(kind, one, ", ".join(users)) for kind, names in found.items() for one, users in names.items()]
    if not rows:
        say("nothing is used" if name is None else f"nothing that is called {name} is used")
        return
    from rich.table import Table

    table = Table("kind", "name", "segments", box=None, header_style="bold")
    for used_by in rows:
        table.add_row(*cells(*used_by))
    console().print(table)
