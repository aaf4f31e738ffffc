"""`elo identity explain`: every weight behind two records, and why they are one person or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .options import Common, Json, command, fail, say, say_json
from .people import LEARNED, ModelName, RecordFile, matcher_of, read_set

if TYPE_CHECKING:
    from ..core.matching.explain import Explanation, Waterfall

RECORDS_SHOWN: Final = 4  # of a cluster, to people; --json has all


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "explain")(explain)


def explain(
    common: Common,
    records: RecordFile,
    first: Annotated[str, typer.Argument(metavar="RECORD", help="a record_id of the set")],
    second: Annotated[str, typer.Argument(metavar="RECORD", help="another one")],
    model: ModelName = LEARNED,
    svg: Annotated[bool, typer.Option("--svg", help="print a picture as SVG")] = False,
    json_output: Json = False,
) -> None:
    """Explain why two records are one person or not: every weight, of the records and of their clusters."""
    if svg and json_output:
        fail("--json and --svg exclude each other, choose one")
    people = read_set(records)
    names = {record.record_id for record in people.records}
    for name in (first, second):
        if name not in names:
            fail(f"there is no record {name} in the set; name two of its record ids")
    if first == second:
        fail("name two different records")
    matcher = matcher_of(people, model)
    found = matcher.explain(first, second)
    if svg:
        from .waterfall import to_svg

        say(to_svg(headline(first, second, found), parts_of(found)))
    elif json_output:
        version = matcher.model.document()["version"]
        say_json({"records": [first, second], "model_version": version, **found.to_json()})
    else:
        say(headline(first, second, found))
        for title, waterfall in parts_of(found):
            say(title)
            for line in lines_of(waterfall):
                say(line)


def headline(first: str, second: str, found: Explanation) -> str:
    """The answer in one sentence."""
    from ..core.matching.explain import Verdict

    total, threshold = f"{found.clusters.total:+.2f}", f"{found.threshold:+.2f}"
    if found.verdict is Verdict.ONE_PERSON:
        return f"{first} and {second} are one person: united at {total}, above the threshold {threshold}"
    why = {
        Verdict.BELOW_THRESHOLD: f"{total} is not above the threshold {threshold}",
        Verdict.TOO_LARGE: "together they would have too many records",
        Verdict.NO_LIKELY_PAIR: "no two of their records are alike enough to be looked at together",
    }[found.verdict]
    return f"{first} and {second} are not one person: {why}"


def parts_of(found: Explanation) -> list[tuple[str, Waterfall]]:
    """What is shown, with titles: the clusters only where they are more than the two records."""
    parts = [("the two records alone", found.pair)]
    if max(map(len, found.groups)) > 1:
        one, other = (_named(group) for group in found.groups)
        parts.append((f"their clusters, {one} and {other}", found.clusters))
    return parts


def _named(group: tuple[str, ...]) -> str:
    shown = ", ".join(group[:RECORDS_SHOWN])
    more = f" and {len(group) - RECORDS_SHOWN} more" if len(group) > RECORDS_SHOWN else ""
    return f"[{shown}{more}]"


def lines_of(found: Waterfall) -> Iterator[str]:
    """A waterfall as text."""
    for label, weight, note in bars(found):
        yield f"  {label:<36}{weight:+8.2f}{f'  {note}' if note else ''}"


def bars(found: Waterfall) -> Iterator[tuple[str, float, str]]:
    """Label, weight and a note of each line, from the prior to the total."""
    yield "prior", found.prior, ""
    for step in found.steps:
        held = f"held by {step.count} records" if step.count else ""
        yield f"{step.comparison}: {step.level}", step.weight, held
    yield "relatives would agree as well", found.relatives, ""
    yield "total", found.total, f"probability {found.probability:.4f}"
