"""`elo segments preview`: what applying definitions would do, without doing it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .options import say, say_json

if TYPE_CHECKING:
    from ..core.segments.definition import Definition
    from ..core.segments.preview import Group
    from ..settings import Settings
    from .definitions import Stored


def preview_definitions(
    settings: Settings,
    definitions: dict[str, Definition],
    stored: dict[str, Stored],
    sample: int | None,
    *,
    json_output: bool,
) -> None:
    """Print who would be inside, enter and leave, for each definition. `sample`: see `runtime.preview`."""
    from ..core.instant import format_instant
    from ..runtime.preview import preview
    from ..runtime.published import policy_in_force
    from .definitions import in_force

    applied = in_force(stored)
    now_ms = time.time_ns() // 1_000_000
    policy = policy_in_force(settings).policy
    result = preview(settings, policy, definitions.values(), applied.values(), now_ms, sample=sample)
    changes = {name: _change(definition, applied.get(name)) for name, definition in definitions.items()}
    entries = [{**result.segments[name].to_json(), "change": changes[name]} for name in definitions]
    if json_output:
        at = format_instant(now_ms)
        read = bool(result.fill)
        say_json({"evaluated_at": at, "profiles": result.profiles, "estimated": sample is not None,
                  "history_read": read, "segments": entries})  # fmt: skip
        return
    about = "" if sample is None else "estimated from a sample: "
    say(f"{about}{result.profiles} profiles at {format_instant(now_ms)}; nothing was applied")
    for name in definitions:
        segment = result.segments[name]
        say(f"{name}: {changes[name]}")
        for line in _groups(segment.inside, segment.entering, segment.leaving, segment.today):
            say(line)
        shared = [f"{other} {count}" for other, count in segment.to_json()["overlaps"].items()]
        if shared:
            say(f"  also in {', '.join(shared)}")
        for note in segment.notes:
            say(f"  note: {note}")


def plan_definitions(
    settings: Settings,
    definitions: dict[str, Definition],
    stored: dict[str, Stored],
    changes: dict[str, str],
    removed: list[str],
    sample: int | None,
    *,
    json_output: bool,
) -> None:
    """Print what would become of each segment: those of the files, those that are removed, and whoever uses
    one of them.

    `changes`: id → created, updated or unchanged, of `definitions`.
    """
    from ..core.instant import format_instant
    from ..core.segments.references import users_of
    from ..runtime.preview import preview
    from ..runtime.published import policy_in_force
    from .definitions import in_force

    applied = in_force(stored)
    moved = [name for name, change in changes.items() if change != "unchanged"]
    users = sorted(users_of({*moved, *removed}, definitions) - {*moved})
    wanted = [definitions[name] for name in (*moved, *users)]
    known = [name for name in removed if name in applied]  # Not those that another version of Elo wrote.
    now_ms = time.time_ns() // 1_000_000
    policy = policy_in_force(settings).policy
    result = None
    if wanted or known:
        result = preview(settings, policy, wanted, applied.values(), now_ms, known, sample)
    entries = []
    for name, change in {**changes, **dict.fromkeys(removed, "deleted")}.items():
        entry: dict[str, Any] = {"id": name, "change": "affected" if name in users else change}
        if result is not None and name in result.segments:
            counted = result.segments[name]
            entry |= {"today": counted.today, "inside": counted.inside.count,
                      "entering": counted.entering.count, "leaving": counted.leaving.count,
                      "notes": counted.notes}  # fmt: skip
        if name in stored and stored[name].paused:
            entry["paused"] = True
        entries.append(entry)
    if json_output:
        profiles = None if result is None else result.profiles
        at = format_instant(now_ms)
        estimated = sample is not None
        say_json({"evaluated_at": at, "profiles": profiles, "estimated": estimated, "segments": entries})
        return
    for line in _lines(entries):
        say(line)
    if sample is not None:
        say("numbers are estimated from a sample")
    say("nothing was applied, `elo segments apply --prune` does it" if moved or removed else "nothing to do")


def _lines(entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        counts = ""
        if "today" in entry:
            counts = f": {entry['entering']} enter, {entry['leaving']} leave, {entry['inside']} inside"
        if entry.get("paused"):
            counts += ", told when it is resumed"
        yield f"{entry['change']:>9} {entry['id']}{counts}"
        for note in entry.get("notes", ()):
            yield f"          note: {note}"


def _change(definition: Definition, applied: Definition | None) -> str:
    if applied is None:
        return "created"
    return "unchanged" if applied.content_hash() == definition.content_hash() else "updated"


def _groups(inside: Group, entering: Group, leaving: Group, today: int) -> Iterator[str]:
    rows: list[tuple[str, Any]] = [
        (f"  inside {inside.count}, today {today}", inside),
        (f"  entering {entering.count}", entering),
        (f"  leaving {leaving.count}", leaving),
    ]
    for title, group in rows:
        shown = ", ".join(group.examples)
        more = f" and {group.count - len(group.examples)} more" if group.count > len(group.examples) else ""
        yield f"{title}: {shown}{more}" if shown else title
