"""`elo export`: everything that is kept of one person, for the person."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Annotated

import typer

from .options import Common, Json, command, fail, say, say_json


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "export")(export)


def export(
    common: Common,
    identifier: Annotated[
        str, typer.Argument(metavar="IDENTIFIER", help="type:value, or a profile id, also an old one")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="write a file that only you can read"),
    ] = None,
    json_output: Json = False,
) -> None:
    """Print everything that is kept of a person as one JSON document, on one line with --json."""
    import orjson

    from ..core.export import export_person
    from ..core.segments.catalogue import Catalogue
    from ..runtime.history import read_touches
    from .definitions import in_force, read_stored
    from .person import find_person, open_lookup

    settings = common.settings()
    policy, lookup = open_lookup(settings)
    found, normal = find_person(lookup, policy, identifier)
    profile = found.profile_of(normal)
    if profile is None:
        fail(f"{normal} belongs to nobody: it was only seen beside others, see `elo why {normal}`")
    # Touches are keyed by their strongest identifier, and only that one gets a facet.
    keys = {one.encode() for one in profile.identifiers if found.component.facet(one) is not None}
    partitions = sorted({lookup.partition_of(key.decode()) for key in keys})
    history = read_touches(settings, partitions, of_key=keys.__contains__)
    now_ms = time.time_ns() // 1_000_000
    document = export_person(found.component, profile, found.evidence, history, now_ms)
    catalogue = Catalogue(in_force(read_stored(settings)).values())
    computed = catalogue.computed(profile.fold, profile.types, now_ms)
    document["computed_traits"] = {name: one for name, one in sorted(computed.items()) if one is not None}
    document["policy_version"] = policy.version
    if output is None:
        say_json(document) if json_output else say(_pretty(document).decode())
        return
    content = orjson.dumps(document) + b"\n" if json_output else _pretty(document) + b"\n"
    _write(output, content)
    touches = len(document["history"])
    if json_output:
        say_json({"profile_id": profile.id, "file": str(output), "touches": touches})
    else:
        say(f"profile {profile.id} with {touches} touches is in {output}")


def _pretty(document: object) -> bytes:
    import orjson

    return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def _write(path: Path, content: bytes) -> None:
    """Replace a file, readable by its owner only: it holds personal data. Raises OSError."""
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(opened, "wb") as file:
        if stat.S_ISREG(os.fstat(opened).st_mode):
            os.fchmod(opened, 0o600)  # It may have been there before.
        file.write(content)
