"""`elo segments`: definitions from YAML files to the topic that every worker reads."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from . import segment_life
from .options import Common, Json, cells, command, console, fail, group, say, say_json
from .segment_life import By, Ids, author

if TYPE_CHECKING:
    from ..core.segments.definition import Definition
    from ..core.segments.document import DefinitionError
    from ..settings import Settings
    from .definitions import Stored

app = group("Segment definitions.")

SUFFIXES: Final = (".yaml", ".yml", ".json")
Files = Annotated[
    list[str],
    typer.Argument(metavar="FILE…", help="definitions in YAML, or directories of them; - is standard input"),
]
Sample = Annotated[
    int | None,
    typer.Option("--sample", metavar="N", min=1, help="estimate from about N people [20000 where many more]"),
]
Exact = Annotated[bool, typer.Option("--exact", help="count everybody, however long it takes")]


@command(app, "apply")
def apply(
    common: Common,
    files: Files,
    silent: Annotated[
        bool, typer.Option("--silent", help="the first population of a new segment is not told as changes")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="delete the segments in force that these files do not define")
    ] = False,
    by: By = None,
    json_output: Json = False,
) -> None:
    """Check all files, then publish the definitions that are new or changed; none when one is bad."""
    from ..core.segments.notes import notes_on
    from ..runtime.published import policy_in_force
    from .definitions import Edit, in_force

    settings = common.settings()
    found = _read_files(settings, files)
    definitions = {name: definition for name, (_, definition) in found.items()}
    edit = Edit(settings)
    _refuse_gone(definitions, edit.gone)
    applied = in_force(edit.stored)
    removed = _not_defined(edit.stored, definitions) if prune else []
    kept = {name: one for name, one in applied.items() if name not in removed}
    _check_references(found, kept)
    outcome = {
        name: _outcome(definition, edit.stored.get(name), silent) for name, definition in definitions.items()
    }
    changed = [(name, change, one) for name, (one, change) in outcome.items() if change != "unchanged"]
    edit.publish([*changed, *((name, "deleted", None) for name in removed)], author(by))
    history_ms = policy_in_force(settings).policy.history_ms
    notes = notes_on(outcome, {**kept, **definitions}, applied, history_ms)
    entries: list[dict[str, Any]] = []
    for name, (definition, change) in outcome.items():
        entry = {"id": name, "version": definition.version, "change": change}
        entry |= {flag: True for flag in ("paused", "silent") if getattr(definition, flag)}
        entries.append({**entry, "notes": notes[name]} if notes[name] else entry)
    entries += [{"id": name, "version": edit.stored[name].version, "change": "deleted"} for name in removed]
    if json_output:
        say_json({"segments": entries})
        return
    for entry in entries:
        said = ", paused: nobody is told before it is resumed" if entry.get("paused") else ""
        say(f"{entry['id']}: {entry['change']}, version {entry['version']}{said}")
        for note in entry.get("notes", ()):
            say(f"  note: {note}")


@command(app, "preview")
def preview(
    common: Common, files: Files, sample: Sample = None, exact: Exact = False, json_output: Json = False
) -> None:
    """Show who would be inside, enter and leave if these definitions were applied now. Nothing is applied."""
    from .definitions import in_force, read_stored
    from .preview import preview_definitions

    settings = common.settings()
    found, stored = _read_files(settings, files), read_stored(settings)
    definitions = {name: definition for name, (_, definition) in found.items()}
    _refuse_gone(definitions, {name for name, one in stored.items() if one.deleted})
    _check_references(found, in_force(stored))
    preview_definitions(settings, definitions, stored, _people(sample, exact), json_output=json_output)


@command(app, "plan")
def plan(
    common: Common, files: Files, sample: Sample = None, exact: Exact = False, json_output: Json = False
) -> None:
    """Show what `elo segments apply --prune` would do, and how many would enter and leave."""
    from .definitions import in_force, read_stored
    from .preview import plan_definitions

    settings = common.settings()
    found, stored = _read_files(settings, files), read_stored(settings)
    definitions = {name: definition for name, (_, definition) in found.items()}
    _refuse_gone(definitions, {name for name, one in stored.items() if one.deleted})
    removed = _not_defined(stored, definitions)
    kept = {name: one for name, one in in_force(stored).items() if name not in removed}
    _check_references(found, kept)
    changes = {name: _outcome(one, stored.get(name), False)[1] for name, one in definitions.items()}
    people = _people(sample, exact)
    plan_definitions(settings, definitions, stored, changes, removed, people, json_output=json_output)


def _people(sample: int | None, exact: bool) -> int | None:
    """How many people are looked at: about so many, 0: all, None: as many as it takes few seconds for."""
    if exact and sample is not None:
        raise typer.BadParameter("--sample estimates and --exact does not, give one of them")
    return 0 if exact else sample


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

    table = Table("segment", "version", "name", "purpose", "applied at", "", box=None, header_style="bold")
    for entry in stored:
        document = entry.document
        purpose, at = str(document.get("purpose") or "-"), entry.applied_at_text()
        state = "paused" if entry.paused else ""
        name = str(document.get("name") or "")
        table.add_row(*cells(entry.id, str(entry.version), name, purpose, at, state))
    console().print(table)


@command(app, "delete")
def delete(
    common: Common,
    segment_ids: Ids,
    by: By = None,
    json_output: Json = False,
) -> None:
    """Delete segments by id: their members exit. An id is never used again."""
    from ..core.segments.references import users_of
    from .definitions import Edit, in_force

    edit = Edit(common.settings())
    stored = edit.stored
    wanted = list(dict.fromkeys(segment_ids))
    for name in wanted:
        if name not in stored or stored[name].deleted:
            fail(f"there is no segment {name}, nothing was deleted: `elo segments list` shows all")
    if users := sorted(users_of(wanted, in_force(stored)) - set(wanted)):
        fail(f"segment {users[0]} uses what you delete, nothing was deleted: change it first, or delete both")
    edit.publish([(name, "deleted", None) for name in wanted], author(by))
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
    for file in _expanded(files):
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


def _expanded(files: list[str]) -> Iterator[str]:
    """The files, those of a directory among them, in the order of their names."""
    for file in files:
        if file == "-" or not Path(file).is_dir():
            yield file
            continue
        inside = sorted(str(path) for path in Path(file).rglob("*") if path.suffix in SUFFIXES)
        if not inside:
            fail(f"{file}: there is no file with one of the endings {', '.join(SUFFIXES)}")
        yield from inside


def _not_defined(stored: dict[str, Stored], definitions: Mapping[str, Definition]) -> list[str]:
    """Ids of the segments that are there and would not be."""
    return sorted(name for name, one in stored.items() if not one.deleted and name not in definitions)


def _refuse_gone(definitions: Mapping[str, Definition], gone: Collection[str]) -> None:
    for name in definitions:
        if name in gone:
            fail(f"segment {name} was deleted and ids are never reused, give it another id")


def _check_references(found: dict[str, tuple[str, Definition]], applied: dict[str, Definition]) -> None:
    """End the command if a segment inside another one is unknown, or leads back to itself."""
    from ..core.segments.document import DefinitionError
    from ..core.segments.references import check_references

    try:
        check_references(applied, [definition for _, definition in found.values()])
    except DefinitionError as error:
        name = error.definition_id  # One that is applied already may grow too large by what is inside it.
        _refuse(found[name][0] if name in found else f"segment {name}", error)


def _refuse(file: str, error: DefinitionError) -> NoReturn:
    at = f"{file}:{error.line}:{error.column}" if error.line else file
    fail(f"{at}: {error.problem}, {error.suggestion}; nothing was applied")


def _outcome(definition: Definition, stored: Stored | None, silent: bool) -> tuple[Definition, str]:
    """The definition as it would be published, and created, updated or unchanged. It stays paused."""
    if stored is None:
        return replace(definition, version=1, silent=silent), "created"
    as_before = {name: stored.document.get(name) is True for name in ("paused", "silent")}
    if stored.content_hash == definition.content_hash():
        return replace(definition, version=stored.version, **as_before), "unchanged"
    return replace(definition, version=stored.version + 1, **as_before), "updated"


segment_life.add_to(app)
