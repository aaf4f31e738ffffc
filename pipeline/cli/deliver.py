"""`elo deliver`: membership changes to HTTP destinations, and what operators do about them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .options import Common, Json, command, fail, group, printable, say, say_json

app = group("Membership changes to HTTP destinations.")

Destinations = Annotated[
    Path | None,
    typer.Option("--destinations", metavar="FILE", help="the file of destinations [ELO_DESTINATIONS]"),
]
Name = Annotated[str, typer.Argument(metavar="DESTINATION", help="its name in the file")]
By = Annotated[str, typer.Option("--by", metavar="WHO", help="who decides it")]
Reason = Annotated[str, typer.Option("--reason", metavar="WHY", help="why")]
ForDestination = Annotated[
    str | None, typer.Option("--destination", metavar="NAME", help="only those of this destination")
]
Why = Annotated[
    str | None, typer.Option("--reason", help="only those given up as refused, exhausted or unaddressable")
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="WHEN", help="given up at or after it: an ISO instant, or 2h ago as 2h"),
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="WHEN", help="given up before it; written as --since")
]


class Answer(StrEnum):
    """What to do with the initial population of a segment."""

    SEND = "send"
    SKIP = "skip"


@command(app, "run")
def run(
    common: Common,
    destinations: Destinations = None,
    web_port: Annotated[
        int | None,
        typer.Option("--web-port", help="metrics and health; 0 is off [ELO_WEB_PORT, default 6066]"),
    ] = None,
) -> None:
    """Deliver until SIGTERM or Ctrl-C. Start more processes to share the partitions. Exit code 3: fatal."""
    from connectors.deliver.service import run as serve

    from .deliveries import destinations_of

    settings = common.settings(destinations=destinations, web_port=web_port)
    raise typer.Exit(serve(settings, destinations_of(settings)))


@command(app, "status")
def status(common: Common, destinations: Destinations = None, json_output: Json = False) -> None:
    """Show for each destination its state, what is to come, waits, or was given up, and held back-fills."""
    from .deliveries import read_status

    shown = read_status(common.settings(destinations=destinations))
    if json_output:
        say_json(shown)
        return
    for one in shown:
        say(
            f"{one['destination']}: {one['state']}, {one['behind']} changes to read, "
            f"{one['waiting']} waiting, {one['letters']} letters"
            + (f" ({one['reason']})" if one["reason"] else "")
        )
        for held in one["backfills"]:
            named = f"{held['segment']} version {held['version']}"
            say(
                f"  the back-fill of {named} would send {held['changes']} changes: "
                f"`elo deliver backfill {one['destination']} {held['segment']} send` or `skip`"
            )


@command(app, "pause")
def pause(
    common: Common, destination: Name, by: By, reason: Reason, destinations: Destinations = None
) -> None:
    """Stop sending to a destination; its position stays."""
    from .deliveries import say_state

    say_state(common.settings(destinations=destinations), destination, "paused", by, reason)
    say(f"{destination} is paused")


@command(app, "resume")
def resume(
    common: Common, destination: Name, by: By, reason: Reason, destinations: Destinations = None
) -> None:
    """Send again, after a pause or after the destination was disabled."""
    from .deliveries import say_state

    say_state(common.settings(destinations=destinations), destination, "running", by, reason)
    say(f"{destination} is running")


@command(app, "backfill")
def backfill(
    common: Common,
    destination: Name,
    segment: Annotated[str, typer.Argument(metavar="SEGMENT", help="the id of the definition")],
    answer: Annotated[Answer, typer.Argument(help="send or skip")],
    by: By,
    reason: Reason,
    destinations: Destinations = None,
) -> None:
    """Let the initial population of a segment go to a destination, or leave it out."""
    from .deliveries import answer_backfill

    settings = common.settings(destinations=destinations)
    version, changes = answer_backfill(settings, destination, segment, answer.value, by, reason)
    verb = "sends" if answer is Answer.SEND else "leaves out"
    say(f"{destination} {verb} the back-fill of {segment} version {version}, {changes} changes")


@command(app, "key")
def key(
    common: Common,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="holds the secret key")],
    shared: Annotated[
        bool, typer.Option("--shared", help="make a secret that both sides know, instead of a key pair")
    ] = False,
    json_output: Json = False,
) -> None:
    """Show the public half of a signing key for receivers; a FILE that is not there is made first."""
    from .signing_keys import read_or_make

    public = read_or_make(file, shared=shared)
    if json_output:
        say_json({"file": str(file), "public": public})
    else:
        say(public or f"{file} holds a secret that both sides know: give it to the receiver on a safe way")


@command(app, "letters")
def letters(
    common: Common,
    destination: ForDestination = None,
    reason: Why = None,
    since: Since = None,
    until: Until = None,
    json_output: Json = False,
) -> None:
    """List the changes that were given up."""
    from .deliveries import Wanted, letter_document, read_letters
    from .records import instant

    found = read_letters(common.settings(), Wanted.of(destination, reason, since, until))
    for letter in found:
        document = letter_document(letter.stored)
        if json_output:
            say_json(document)
        else:
            line = (
                f"{instant(document['given_up_at'])} {document['destination']} {document['reason']} "
                f"{document['detail']} {document['change']} {document['segment_id']} "
                f"{document['profile_id']} #{document['sequence']}"
            )
            say(printable(line))


@command(app, "redrive")
def redrive(
    common: Common,
    destination: ForDestination = None,
    reason: Why = None,
    since: Since = None,
    until: Until = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say how many")] = False,
    json_output: Json = False,
) -> None:
    """Send letters again: exactly those that were never delivered, each under its change_id."""
    from .deliveries import Wanted, read_letters, send_again

    settings = common.settings()
    found = read_letters(settings, Wanted.of(destination, reason, since, until))
    counts: dict[str, int] = {}
    for letter in found:
        counts[letter.stored.destination] = counts.get(letter.stored.destination, 0) + 1
    if not found and destination is not None and not json_output:
        fail(f"{destination} has no such letter, see `elo deliver letters`")
    if not dry_run:
        send_again(settings, found)
    if json_output:
        say_json({"redriven": 0 if dry_run else len(found), "letters": len(found), "destinations": counts})
        return
    for name, count in sorted(counts.items()):
        say(f"{name}: {count} letters " + ("would be sent again" if dry_run else "are sent again"))
