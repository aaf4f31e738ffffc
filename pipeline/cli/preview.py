"""`elo segments preview`: what applying definitions would do, without doing it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .options import fail, say, say_json

if TYPE_CHECKING:
    from ..core.segments.definition import Definition
    from ..core.segments.preview import Group
    from ..settings import Settings
    from .definitions import Stored


def preview_definitions(
    settings: Settings, definitions: dict[str, Definition], stored: dict[str, Stored], *, json_output: bool
) -> None:
    """Print who would be inside, enter and leave, for each definition."""
    from ..core.instant import format_instant
    from ..runtime.preview import preview
    from ..runtime.published import policy_in_force
    from .definitions import in_force

    for name, one in stored.items():
        if one.deleted and name in definitions:
            fail(f"segment {name} was deleted and ids are never reused, give it another id")
    applied = in_force(stored)
    now_ms = time.time_ns() // 1_000_000
    result = preview(
        settings, policy_in_force(settings).policy, definitions.values(), applied.values(), now_ms
    )
    changes = {name: _change(definition, applied.get(name)) for name, definition in definitions.items()}
    entries = [{**result.segments[name].to_json(), "change": changes[name]} for name in definitions]
    if json_output:
        at = format_instant(now_ms)
        read = bool(result.fill)
        say_json({"evaluated_at": at, "profiles": result.profiles, "history_read": read, "segments": entries})
        return
    say(f"{result.profiles} profiles at {format_instant(now_ms)}; nothing was applied")
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
