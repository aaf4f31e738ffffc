"""`elo segments`: definitions from YAML files to the topic that every worker reads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from .options import Common, Json, command, console, fail, group, say, say_json

if TYPE_CHECKING:
    from ..core.segments.definition import Definition
    from ..core.segments.document import DefinitionError
    from ..settings import Settings
    from .definitions import Stored

app = group("Segment definitions.")

Files = Annotated[list[str], typer.Argument(metavar="FILE…", help="definitions in YAML; - is standard input")]


@command(app, "apply")
def apply(common: Common, files: Files, json_output: Json = False) -> None:
    """Check all files, then publish the definitions that are new or changed; none when one is bad."""
    from ..core.segments.words import approximations
    from .definitions import read_stored, send

    settings = common.settings()
    found = _read_files(settings, files)
    definitions = {name: definition for name, (_, definition) in found.items()}
    stored = read_stored(settings)
    for name in definitions:
        if name in stored and stored[name].deleted:
            fail(f"segment {name} was deleted and ids are never reused, give it another id")
    _check_references(found, stored)
    outcome = {name: _outcome(definition, stored.get(name)) for name, definition in definitions.items()}
    changed = [definition for definition, change in outcome.values() if change != "unchanged"]
    send(settings, [(definition.id, definition) for definition in changed])
    entries: list[dict[str, Any]] = []
    for name, (definition, change) in outcome.items():
        entry = {"id": name, "version": definition.version, "change": change}
        notes = list(approximations(definition))
        entries.append({**entry, "notes": notes} if notes else entry)
    if json_output:
        say_json({"segments": entries})
        return
    for entry in entries:
        say(f"{entry['id']}: {entry['change']}, version {entry['version']}")
        for note in entry.get("notes", ()):
            say(f"  note: {note}")


@command(app, "preview")
def preview(common: Common, files: Files, json_output: Json = False) -> None:
    """Show who would be inside, enter and leave if these definitions were applied now. Nothing is applied."""
    from .definitions import read_stored
    from .preview import preview_definitions

    settings = common.settings()
    found, stored = _read_files(settings, files), read_stored(settings)
    _check_references(found, stored)
    definitions = {name: definition for name, (_, definition) in found.items()}
    preview_definitions(settings, definitions, stored, json_output=json_output)


@command(app, "list")
def list_segments(common: Common, json_output: Json = False) -> None:
    """List the definitions in force; --json prints one a line, as it is on the topic."""
    from .definitions import read_stored

    stored = [entry for _, entry in sorted(read_stored(common.settings()).items()) if not entry.deleted]
    if json_output:
        for entry in stored:
            say_json(entry.to_json())
        return
    if not stored:
        say("no segments yet, publish some with `elo segments apply FILE`")
        return
    from rich.table import Table

    table = Table("segment", "version", "name", "purpose", "applied at", box=None, header_style="bold")
    for entry in stored:
        document = entry.document
        purpose, at = str(document.get("purpose") or "-"), entry.applied_at_text()
        table.add_row(entry.id, str(entry.version), str(document.get("name") or ""), purpose, at)
    console().print(table)


@command(app, "delete")
def delete(
    common: Common,
    segment_ids: Annotated[list[str], typer.Argument(metavar="SEGMENT…", help="ids of segments")],
    json_output: Json = False,
) -> None:
    """Delete segments by id: their members exit. An id is never used again."""
    from ..core.segments.references import users_of
    from .definitions import in_force, read_stored, send

    settings = common.settings()
    stored = read_stored(settings)
    wanted = list(dict.fromkeys(segment_ids))
    for name in wanted:
        if name not in stored or stored[name].deleted:
            fail(f"there is no segment {name}, nothing was deleted: `elo segments list` shows all")
    if users := sorted(users_of(wanted, in_force(stored)) - set(wanted)):
        fail(f"segment {users[0]} uses what you delete, nothing was deleted: change it first, or delete both")
    send(settings, [(name, None) for name in wanted])
    if json_output:
        say_json({"deleted": wanted})
        return
    for name in wanted:
        say(f"{name}: deleted")


def _read_files(settings: Settings, files: list[str]) -> dict[str, tuple[str, Definition]]:
    """Segment id → (file, definition), in the order of the files. Ends the command at the first fault."""
    from ..core.segments.document import DefinitionError
    from ..core.segments.parse import parse_definitions
    from ..settings import load_policy

    types = tuple(load_policy(settings).rules)
    found: dict[str, tuple[str, Definition]] = {}
    for file in files:
        try:
            content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
            definitions = parse_definitions(content.decode("utf-8-sig"), types)
        except DefinitionError as error:
            _refuse(file, error)
        except UnicodeDecodeError:
            fail(f"{file}: the file is not UTF-8, save it as UTF-8; nothing was applied")
        for definition in definitions:
            if definition.id in found:
                first = found[definition.id][0]
                fail(
                    f"{file}: segment {definition.id} stands in {first} as well, remove one; "
                    "nothing was applied"
                )
            found[definition.id] = file, definition
    return found


def _check_references(found: dict[str, tuple[str, Definition]], stored: dict[str, Stored]) -> None:
    """End the command if a segment inside another one is unknown, or leads back to itself."""
    from ..core.segments.document import DefinitionError
    from ..core.segments.references import check_references
    from .definitions import in_force

    applied = in_force(stored)
    for name, (file, definition) in found.items():
        try:  # One after the other, so that the message names the file.
            others = [one for _, one in found.values() if one.id != name]
            check_references({**applied, **{one.id: one for one in others}}, [definition])
        except DefinitionError as error:
            _refuse(file, error)


def _refuse(file: str, error: DefinitionError) -> NoReturn:
    at = f"{file}:{error.line}:{error.column}" if error.line else file
    fail(f"{at}: {error.problem}, {error.suggestion}; nothing was applied")


def _outcome(definition: Definition, stored: Stored | None) -> tuple[Definition, str]:
    """The definition with its version, and created, updated or unchanged."""
    if stored is None:
        return definition.with_version(1), "created"
    if stored.content_hash == definition.content_hash():
        return definition.with_version(stored.version), "unchanged"
    return definition.with_version(stored.version + 1), "updated"
