"""`elo identity compare`: what another model would make of the same people. Nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Common, Json, command, say, say_json
from .people import SHIPPED, RecordFileOrProfiles, matcher_of, read_people

if TYPE_CHECKING:
    from ..core.matching.contrast import Difference
    from ..core.matching.matcher import Matcher


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "compare")(compare)


def compare(
    common: Common,
    records: RecordFileOrProfiles = None,
    *,
    before: Annotated[
        str, typer.Option("--before", metavar="MODEL", help="a model's file, or `shipped`")
    ] = SHIPPED,
    after: Annotated[str, typer.Option("--after", metavar="MODEL", help="the other one")],
    json_output: Json = False,
) -> None:
    """Show who is one person by one model and not by another, with examples. Nothing is changed."""
    from ..core.matching.contrast import contrast

    people = read_people(common, records)
    matchers = matcher_of(people, before), matcher_of(people, after)
    found = contrast(matchers[0].clusters(), matchers[1].clusters())
    document = {
        "records": len(people.records),
        "version": _sides(*(matcher.model.document()["version"] for matcher in matchers)),
        "people": _sides(*found.clusters),
        "pairs": _sides(*found.pairs),
        "gained": _weighed(found.gained, matchers),
        "lost": _weighed(found.lost, matchers),
    }
    if json_output:
        say_json(document)
        return
    versions, counted, pairs = document["version"], document["people"], document["pairs"]
    say(f"model {versions['before']} before, {versions['after']} after, {len(people.records)} records")
    say(f"people: {counted['before']} before, {counted['after']} after")
    say(f"pairs that are one person: {pairs['before']} before, {pairs['after']} after")
    for title, difference in (("gained", found.gained), ("lost", found.lost)):
        say(f"{title}: {difference.count}")
        for example in document[title]["examples"]:
            weights = (
                f"weight {example['weight']['before']:+.2f} before, {example['weight']['after']:+.2f} after"
            )
            say(f"  {' - '.join(example['records'])}: {weights}")
        if difference.count > len(difference.examples) > 0:
            say(f"  and {difference.count - len(difference.examples)} more")


def _sides(before: object, after: object) -> dict[str, Any]:
    return {"before": before, "after": after}


def _weighed(difference: Difference, matchers: tuple[Matcher, Matcher]) -> dict[str, Any]:
    """The weights are those of the two records alone; others of their people may have settled it."""
    return {
        "count": difference.count,
        "examples": [
            {"records": list(pair), "weight": _sides(*(matcher.weigh(*pair).total for matcher in matchers))}
            for pair in difference.examples
        ],
    }
