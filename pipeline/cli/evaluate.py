"""`elo identity evaluate|train`: matching over a file of records, and a model that is learned from one."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .options import Common, Json, command, fail, say, say_json

if TYPE_CHECKING:
    from ..core.matching.explain import Waterfall
    from ..core.matching.matcher import Matcher

Records = Annotated[Path, typer.Argument(metavar="SET", help="JSON Lines, also gzipped")]
GZIP_MARK: Final = b"\x1f\x8b"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(app, "evaluate")(evaluate)
    command(app, "train")(train)


def evaluate(
    common: Common,
    records: Records,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="FILE", help="a trained model, instead of learning one")
    ] = None,
    pair: Annotated[
        tuple[str, str] | None,
        typer.Option("--pair", metavar="RECORD RECORD", help="explain two records instead: every weight"),
    ] = None,
    json_output: Json = False,
) -> None:
    """Find who is one person among records without a common identifier; the model is learned from them."""
    from ..core.matching.measure import measure

    lines = read_set(records)
    matcher = _matcher(lines, model)
    if model is None:
        matcher.train()
    if pair is not None:
        _explain(matcher.explain(*_known(pair, lines)), json_output)
        return
    clusters = matcher.clusters()
    truth = {name: str(line["entity_id"]) for name, line in lines.items() if "entity_id" in line}
    metrics = measure(clusters, truth) if truth and len(truth) == len(lines) else None
    if json_output:
        say_json({"clusters": {name: clusters[name] for name in lines}, "metrics": metrics})
        return
    sys.stdout.write("".join(f"{name}\t{clusters[name]}\n" for name in lines))
    sys.stdout.flush()
    if metrics is not None:
        typer.echo(" · ".join(f"{name} {value}" for name, value in metrics.items()), err=True)


def train(
    common: Common,
    records: Records,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="where the model goes")],
    json_output: Json = False,
) -> None:
    """Learn a model from records, without labels, and write it to a file. It holds nobody's data."""
    import orjson

    matcher = _matcher(read_set(records), None)
    matcher.train()
    document = matcher.model.document()
    try:
        output.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    except OSError as error:
        fail(f"{output} cannot be written ({error}); name another file")
    if json_output:
        say_json({"version": document["version"], "records": document["records"], "file": str(output)})
        return
    say(f"{output}: model {document['version']}, learned from {document['records']} records")


def _matcher(lines: dict[str, dict[str, Any]], model: Path | None) -> Matcher:
    from ..core.matching.document import MalformedModel, read_model
    from ..core.matching.matcher import Matcher
    from ..core.matching.record import Record

    trained = None
    if model is not None:
        try:
            trained = read_model(json.loads(model.read_bytes()))
        except (OSError, MalformedModel, ValueError) as error:
            fail(f"{model} cannot be used as a model: {error}")
    return Matcher((Record(name, line["fields"]) for name, line in lines.items()), trained)


def read_set(path: Path) -> dict[str, dict[str, Any]]:
    """Record id → its line, in the order of the file. Ends the command if a line is not a record."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if content.startswith(GZIP_MARK) else content).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        fail(f"{path} cannot be read as JSON Lines ({error}); name a .jsonl or .jsonl.gz file")
    lines: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            record = _record_of(line)
            if record is None:
                fail(f"{path}:{number} is no record; give it a text record_id and an object of texts, fields")
            if record["record_id"] in lines:
                fail(f"{path}:{number} repeats record {record['record_id']}; ids must differ")
            lines[record["record_id"]] = record
    if not lines:
        fail(f"{path} holds no record")
    return lines


def _record_of(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    name, fields = record.get("record_id"), record.get("fields")
    if not isinstance(name, str) or not name or "\t" in name or not isinstance(fields, dict):
        return None
    return record if all(isinstance(value, str) for value in fields.values()) else None


def _known(pair: tuple[str, str], lines: dict[str, dict[str, Any]]) -> tuple[str, str]:
    for name in pair:
        if name not in lines:
            fail(f"there is no record {name} in the set; name two of its record ids")
    return pair


def _explain(found: Waterfall, json_output: bool) -> None:
    if json_output:
        from dataclasses import asdict

        say_json({**asdict(found), "probability": found.probability})
        return
    say(f"{'prior':<36}{found.prior:+8.2f}")
    for step in found.steps:
        shared = f"  {step.count} records" if step.count else ""
        say(f"{step.comparison + ': ' + step.level:<36}{step.weight:+8.2f}{shared}")
    say(f"{'relatives would agree as well':<36}{found.relatives:+8.2f}")
    say(f"{'total':<36}{found.total:+8.2f}  probability {found.probability:.4f}")
