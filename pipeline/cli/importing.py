"""`elo import`: the rows of a CSV file as touchpoints."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import EXIT_FAILURE, Common, Json, command, fail, say, say_error, say_json

if TYPE_CHECKING:
    from connectors.crm.mapping import RowMapping
    from connectors.crm.table import Progress, Table

    from ..settings import Settings


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "import")(import_)


def import_(
    common: Common,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="with a header; also as .gz")],
    mapping: Annotated[
        Path, typer.Option("--mapping", metavar="M.yaml", help="columns to identifiers and traits")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="judge every row and send none")] = False,
    rejects: Annotated[
        Path | None,
        typer.Option("--rejects", metavar="FILE", help="refused rows [FILE.rejects.csv]"),
    ] = None,
    delimiter: Annotated[str, typer.Option(help="between columns")] = ",",
    json_output: Json = False,
) -> None:
    """Send the rows of a CSV file as touchpoints, judged as live ones are.

    Refused rows go to a file with their reason. An import that was interrupted goes on where it was; a row
    that was imported before counts once. Exit code 1 when a row was refused.
    """
    from connectors.crm.table import BadFile

    if not file.is_file():
        fail(f"{file}: there is no such file")
    if len(delimiter) != 1:
        raise typer.BadParameter("--delimiter takes one character, for example ';'")
    settings = common.settings()
    text, read = read_mapping_file(mapping, settings)
    refused_file = rejects or file.with_name(f"{file.name}.rejects.csv")
    if any(refused_file.resolve() == other.resolve() for other in (file, mapping)):
        fail(f"--rejects {refused_file} is read by this import, name another file")
    try:
        done = _run(settings, file, text, read, None if dry_run else refused_file, delimiter)
    except BadFile as bad:
        fail(f"{file}: {bad}")
    refused = done.refused.total()
    if json_output:
        say_json(
            {"rows": done.rows, "accepted": done.sent, "refused": dict(done.refused), "sent": not dry_run}
        )
    else:
        say(f"{done.rows} rows, {done.sent} {'would be sent' if dry_run else 'sent'}, {refused} refused")
        for reason, count in done.refused.most_common():
            say(f"  {reason}: {count}")
    if refused:
        if not dry_run:
            say_error(f"{refused} rows were refused, mend them in {refused_file} and import that file")
        raise typer.Exit(EXIT_FAILURE)


def read_mapping_file(path: Path, settings: Settings) -> tuple[str, RowMapping]:
    """The text of a mapping file, and what it says. Raises CommandFailed."""
    from connectors.crm.mapping import read_mapping

    from ..core.segments.document import DefinitionError

    try:
        text = path.read_text("utf-8-sig")
        mapping = read_mapping(text)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path}: the mapping cannot be read ({error})")
    except DefinitionError as error:
        fail(f"{path}: {error.message}")
    if mapping.source not in settings.sources:
        fail(f"{path}: {mapping.source} is not a source, name one of {', '.join(settings.sources)}")
    return text, mapping


def _run(
    settings: Settings, file: Path, text: str, mapping: RowMapping, rejects: Path | None, delimiter: str
) -> Progress:
    """Import; `rejects` None is a dry run."""
    from connectors.crm.table import KEPT_ROWS, Progress, Table, import_key, opened, read_progress

    from ..core.touchpoint import TouchpointReader
    from ..settings import load_policy
    from .feed import Feed

    judge = TouchpointReader(load_policy(settings), settings.sources, lambda _: fail("this is no Avro"))
    note = settings.data_dir / "import" / f"{import_key(file, text)}.json"
    now_ms = time.time_ns() // 1_000_000
    progress = Progress(now_ms) if rejects is None else read_progress(note, now_ms)
    feed = None if rejects is None else Feed(settings, None, None)
    if progress.rows:
        say_error(f"going on after row {progress.rows}, where the last import of this file was interrupted")
    with opened(file) as lines, _rejects(rejects, bool(progress.rows)) as refuse:
        table = Table(mapping, judge, lines, delimiter)
        table.skip(progress.rows)
        for cells, found in table.rows(progress.started_ms):
            progress.rows += 1
            problem = found if not isinstance(found, dict) else None
            if problem is None:
                assert isinstance(found, dict)
                progress.sent += 1
                if feed is not None:
                    feed.send(found)
            else:
                progress.refused[problem.reason.value] += 1
                refuse(table, progress.rows, cells, problem)
            if feed is not None and progress.rows % KEPT_ROWS == 0:
                feed.finish()
                progress.write(note)
    if feed is not None:
        feed.finish()
        note.unlink(missing_ok=True)
    return progress


@contextmanager
def _rejects(path: Path | None, goes_on: bool) -> Iterator[Any]:
    """A function that keeps a refused row with its reason; the file is made with the first one."""
    from connectors.crm.table import OWN_COLUMNS

    if path is None:
        yield lambda *_row: None
        return
    if not goes_on:
        path.unlink(missing_ok=True)
    file: Any = None

    def refuse(table: Table, row: int, cells: list[str], problem: Any) -> None:
        nonlocal file
        is_new = not path.exists()
        file = file or path.open("a", encoding="utf-8", newline="")
        writer = csv.writer(file)
        if is_new:
            writer.writerow([*table.header, *OWN_COLUMNS])
        padded = (cells + [""] * len(table.header))[: len(table.header)]
        writer.writerow([*padded, row, problem.reason.value, problem.field, problem.detail])
        file.flush()

    try:
        yield refuse
    finally:
        if file is not None:
            file.close()
