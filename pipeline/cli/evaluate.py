"""`elo identity evaluate|train`: matching over records, and a model that is learned from some."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Common, Json, command, fail, say, say_json
from .people import (
    LEARNED,
    ModelName,
    RecordFile,
    RecordFileOrProfiles,
    matcher_of,
    read_people,
    read_set,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..core.matching.matcher import Matcher


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(app, "evaluate")(evaluate)
    command(app, "train")(train)


def evaluate(
    common: Common,
    records: RecordFile,
    model: ModelName = LEARNED,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="write the pairs with their weights as CSV"),
    ] = None,
    json_output: Json = False,
) -> None:
    """Find who is one person among records without a common identifier; the model is learned from them."""
    from ..core.matching.measure import measure

    people = read_set(records)
    matcher = matcher_of(people, model)
    clusters = matcher.clusters()
    labelled = len(people.truth)
    metrics = measure(clusters, people.truth) if labelled == len(people.records) else None
    if report is not None:
        _write_report(report, matcher, clusters, people.truth)
    names = [record.record_id for record in people.records]
    if json_output:
        say_json({"clusters": {name: clusters[name] for name in names}, "metrics": metrics})
        return
    sys.stdout.write("".join(f"{name}\t{clusters[name]}\n" for name in names))
    sys.stdout.flush()
    if metrics is not None:
        typer.echo(" · ".join(f"{name} {value}" for name, value in metrics.items()), err=True)
    elif labelled:
        missing = len(names) - labelled
        typer.echo(f"not measured: {missing} of {len(names)} records have no entity_id", err=True)


def _write_report(
    path: Path, matcher: Matcher, clusters: Mapping[str, str], truth: Mapping[str, str]
) -> None:
    """Every pair that was likely enough to be kept, every pair of one cluster, and every true one."""
    from ..core.matching.explain import probability_of

    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["record_a", "record_b", "weight", "probability", "one_person", "same_entity"])
            for one, other, weight in matcher.pairs(clusters, truth):
                same = str(truth[one] == truth[other]).lower() if one in truth and other in truth else ""
                together = str(clusters[one] == clusters[other]).lower()
                chance = probability_of(weight)
                table.writerow([one, other, f"{weight:.3f}", f"{chance:.6f}", together, same])
    except OSError as error:
        fail(f"{path} cannot be written ({error}); name another file")


def train(
    common: Common,
    records: RecordFileOrProfiles = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="where the model goes")],
    json_output: Json = False,
) -> None:
    """Learn a model from records, without labels, and write it to a file. It holds nobody's data."""
    import orjson

    people = read_people(common, records)
    document = matcher_of(people, LEARNED).model.document()
    try:
        output.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        fail(f"{output} cannot be written ({error}); name another file")
    count = len(people.records)
    if json_output:
        say_json({"version": document["version"], "records": count, "file": str(output)})
        return
    say(f"{output}: model {document['version']}, learned from {count} records")
