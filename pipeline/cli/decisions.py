"""`elo identity merge|split|undo|decisions`: decisions of stewards, made, tried and listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Common, Json, cells, command, console, fail, say, say_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..core.trial import Trial
    from ..settings import Settings

Identifiers = Annotated[list[str], typer.Argument(metavar="IDENTIFIER…", help="type:value in any spelling")]
By = Annotated[str, typer.Option("--by", metavar="WHO", help="who decides")]
Why = Annotated[str, typer.Option("--reason", metavar="WHY", help="why it is so")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="show what would change, and decide nothing")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(app, "merge")(merge)
    command(app, "split")(split)
    command(app, "undo")(undo)
    command(app, "decisions")(list_decisions)


def merge(
    common: Common, identifiers: Identifiers, by: By, reason: Why, dry_run: DryRun = False,
    json_output: Json = False,
) -> None:  # fmt: skip
    """Decide that these identifiers are one person, whatever rules and links say."""
    _decide(common.settings(), "merge", identifiers, by, reason, dry_run, json_output)


def split(
    common: Common, identifiers: Identifiers, by: By, reason: Why, dry_run: DryRun = False,
    json_output: Json = False,
) -> None:  # fmt: skip
    """Decide that these identifiers are another person than the rest of their profile."""
    _decide(common.settings(), "split", identifiers, by, reason, dry_run, json_output)


def undo(
    common: Common,
    decision_id: Annotated[str, typer.Argument(metavar="DECISION", help="the id of the decision")],
    by: By,
    reason: Why,
    dry_run: DryRun = False,
    json_output: Json = False,
) -> None:
    """Take a decision back, as if it never had been made."""
    from .stewards import identifiers_of

    settings = common.settings()
    document = {
        "decision_id": decision_id, "action": "undo", "identifiers": identifiers_of(settings, decision_id),
        "by": by, "reason": reason,
    }  # fmt: skip
    _carry_out(settings, document, dry_run, json_output)


def _decide(
    settings: Settings, action: str, given: list[str], by: str, reason: str, dry_run: bool, json_output: bool
) -> None:
    from uuid import uuid4

    from ..settings import load_policy
    from .person import normalised

    policy = load_policy(settings)
    identifiers = dict.fromkeys(normalised(one, policy) for one in given)
    if action == "merge" and len(identifiers) == 1:
        fail(f"a merge needs two different identifiers, and all of these are {given[0]}")
    pairs = [dict(zip(("type", "value"), one.split(":", 1), strict=True)) for one in identifiers]
    document = {
        "decision_id": uuid4().hex,
        "action": action,
        "identifiers": pairs,
        "by": by,
        "reason": reason,
    }
    _carry_out(settings, document, dry_run, json_output)


def _carry_out(settings: Settings, document: dict[str, Any], dry_run: bool, json_output: bool) -> None:
    from .stewards import check, send, try_decision

    told = check(settings, document)
    if dry_run:
        trial, strangers = try_decision(settings, told)
        if json_output:
            del document["decision_id"]
            say_json({"decision": document, **trial.to_json(), "unknown": strangers})
            return
        for line in _consequences(trial, strangers):
            say(line)
        return
    send(settings, document, told)
    if json_output:
        say_json(document)
    else:
        say(f"{document['action']} decided, its id is {document['decision_id']}")


def _consequences(trial: Trial, strangers: list[str]) -> Iterable[str]:
    for title, profiles in (("before", trial.before), ("after", trial.after)):
        yield f"{title}: {len(profiles)} profiles"
        for profile_id, identifiers in profiles:
            yield f"  {profile_id}: {', '.join(identifiers)}"
    for one in strangers:
        yield f"  {one} was never seen"
    yield f"aliases: {len(trial.aliases)} would be told"
    for alias in trial.aliases:
        now = f"stands for {alias.profile_id}" if alias.profile_id else "stands for itself again"
        yield f"  {alias.old_profile_id} {now}"
    yield f"memberships: {len(trial.changes)} would change"
    for told in trial.changes:
        yield f"  {told.profile_id} {told.change} {told.segment_id}, sequence {told.sequence}, {told.cause}"
    yield "nothing was decided"


def list_decisions(common: Common, json_output: Json = False) -> None:
    """List the decisions of stewards, oldest first, and whether they are in force."""
    from .stewards import read_decisions

    found = [one for one in read_decisions(common.settings()).values() if one.state != "never made"]
    if json_output:
        for one in found:
            say_json(one.to_json())
        return
    if not found:
        say("no decisions yet, make one with `elo identity merge` or `elo identity split`")
        return
    from rich.table import Table

    table = Table("decision", "action", "identifiers", "by", "reason", "decided at", "state", box=None,
                  header_style="bold")  # fmt: skip
    for one in found:
        who = ", ".join(one.identifiers)
        table.add_row(*cells(one.id, one.action, who, one.by, one.reason, one.at_text(), one.state))
    console().print(table)
