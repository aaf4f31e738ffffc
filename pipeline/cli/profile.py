"""`elo profile`: one person, found by any of their identifiers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Common, Json, command, console, escaped, fail, group, say_json

if TYPE_CHECKING:
    from rich.tree import Tree

    from ..settings import Settings

app = group("Unified profiles.")


@command(app, "show")
def show(
    common: Common,
    identifier: Annotated[
        str, typer.Argument(metavar="IDENTIFIER", help="type:value, for example email:ana@example.com")
    ],
    json_output: Json = False,
) -> None:
    """Show the profile that holds an identifier; it may be written as any source writes it."""
    from ..settings import load_policy
    from .person import normalised

    settings = common.settings()
    normal = normalised(identifier, load_policy(settings))
    found = _find(settings, normal)
    if not found:
        fail(f"no profile holds {normal}, see `elo wait` if its touchpoint was sent just now")
    for record in found:
        if json_output:
            say_json(record)
        else:
            console().print(_tree(record))


def _find(settings: Settings, identifier: str) -> list[dict[str, Any]]:
    """The profiles that hold a normalised identifier, as the newest record of each says."""
    from .kafka import connect, partitions_of, read_to_end
    from .records import profile_to_json

    topic = settings.topics().profiles
    kind, _, value = identifier.partition(":")
    needle, wanted = value.encode(), {"type": kind, "value": value}
    held: dict[bytes, dict[str, Any]] = {}
    for message in read_to_end(settings, topic, partitions_of(connect(settings), [topic])[topic]):
        key = message.key() or b""
        held.pop(key, None)
        # Looking for the bytes first spares decoding everybody else.
        if needle in (message.value() or b""):
            record = profile_to_json(message)
            if wanted in record["identifiers"]:
                held[key] = record
    return list(held.values())


def _tree(record: Mapping[str, Any]) -> Tree:
    from rich.tree import Tree

    from .records import instant

    tree = Tree(f"[bold cyan]{escaped(record['profile_id'])}[/]")
    sections: list[tuple[str, list[str]]] = [
        ("identifiers", [f"{entry['type']}:{entry['value']}" for entry in record["identifiers"]]),
        ("traits", [f"{name}: {value}" for name, value in sorted(record["traits"].items())]),
        ("events", [f"{name}: {count}" for name, count in sorted(record["counters"].items())]),
        ("consent", [f"{name}: {'yes' if yes else 'no'}" for name, yes in sorted(record["consent"].items())]),
        ("segments", [
            f"{name} since {instant(entry['since'])} UTC (#{entry['sequence']})"
            for name, entry in sorted(record["memberships"].items())
        ]),
        ("merged from", list(record["aliases"])),
        ("seen (UTC)", [f"first {instant(record['first_seen'])}", f"last {instant(record['last_seen'])}"]),
    ]  # fmt: skip
    for title, lines in sections:
        if lines:
            branch = tree.add(f"[bold]{title}[/]")
            for line in lines:
                branch.add(escaped(line))
    return tree
