"""`elo segments preview` and `plan`: what applying definitions would do, without doing it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .options import say, say_json

if TYPE_CHECKING:
    from ..core.segments.counted import Group
    from ..core.segments.definition import Definition
    from ..core.segments.preview import Preview, SegmentPreview, TraitPreview
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
    from ..core.segments.preview import TraitPreview
    from ..runtime.preview import preview
    from ..runtime.published import policy_of_workers
    from .definitions import in_force

    applied = in_force(stored)
    now_ms = time.time_ns() // 1_000_000
    policy = policy_of_workers(settings).policy
    result = preview(settings, policy, definitions.values(), applied.values(), now_ms, sample=sample)
    changes = {name: _change(definition, applied.get(name)) for name, definition in definitions.items()}
    if json_output:
        entries = [
            {**result.segments[name].to_json(result.share), "change": changes[name]} for name in definitions
        ]
        say_json({"evaluated_at": format_instant(now_ms), **_basis(result),
                  "history_read": bool(result.fill), "segments": entries})  # fmt: skip
        return
    say(f"{_said_basis(result)} at {format_instant(now_ms)}; nothing was applied")
    for name in definitions:
        counted = result.segments[name]
        say(f"{name}: {changes[name]}")
        if isinstance(counted, TraitPreview):
            lines = _trait_lines(counted, result)
        else:
            lines = _segment_lines(counted, result)
        for line in lines:
            say(f"  {line}")
        for note in counted.notes:
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
    from ..runtime.published import policy_of_workers
    from .definitions import in_force

    applied = in_force(stored)
    moved = [name for name, change in changes.items() if change != "unchanged"]
    users = sorted(users_of({*moved, *removed}, definitions) - {*moved})
    wanted = [definitions[name] for name in (*moved, *users)]
    known = [name for name in removed if name in applied]  # Not those that another version of Elo wrote.
    now_ms = time.time_ns() // 1_000_000
    policy = policy_of_workers(settings).policy
    result = None
    if wanted or known:
        result = preview(settings, policy, wanted, applied.values(), now_ms, known, sample)
    entries = []
    for name, change in {**changes, **dict.fromkeys(removed, "deleted")}.items():
        entry: dict[str, Any] = {"id": name, "change": "affected" if name in users else change}
        if result is not None and name in result.segments:
            entry |= _numbers(result.segments[name], result.share)
        if name in stored and stored[name].paused:
            entry["paused"] = True
        entries.append(entry)
    if json_output:
        basis = {"profiles": None, "estimated": False} if result is None else _basis(result)
        say_json({"evaluated_at": format_instant(now_ms), **basis, "segments": entries})
        return
    for line in _plan_lines(entries):
        say(line)
    if result is not None and result.share < 1:
        say(f"{_said_basis(result)}")
    say("nothing was applied, `elo segments apply --prune` does it" if moved or removed else "nothing to do")


def _numbers(counted: SegmentPreview | TraitPreview, share: float) -> dict[str, Any]:
    """The numbers of one segment or trait, without examples."""
    from ..core.segments.preview import TraitPreview

    if isinstance(counted, TraitPreview):
        groups = {"having": counted.values.having, "changing": counted.changing}
    else:
        groups = {"today": counted.today, "inside": counted.inside,
                  "entering": counted.entering, "leaving": counted.leaving}  # fmt: skip
    found: dict[str, Any] = {name: group.total(share) for name, group in groups.items()}
    if share < 1:
        found["intervals"] = {name: list(group.interval(share)) for name, group in groups.items()}
    return {**found, "notes": counted.notes}


def _plan_lines(entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        counts = ""
        if "today" in entry:
            enter, leave, inside = (_of(entry, name) for name in ("entering", "leaving", "inside"))
            counts = f": {enter} enter, {leave} leave, {inside} inside"
        elif "having" in entry:
            having, changing = (_of(entry, name) for name in ("having", "changing"))
            counts = f": {having} profiles have a value, {changing} get another one"
        if entry.get("paused"):
            counts += ", told when it is resumed"
        yield f"{entry['change']:>9} {entry['id']}{counts}"
        for note in entry.get("notes", ()):
            yield f"          note: {note}"


def _of(entry: dict[str, Any], name: str) -> str:
    if "intervals" not in entry:
        return f"{entry[name]:,}"
    low, high = entry["intervals"][name]
    return f"{low:,} to {high:,}"


def _basis(result: Preview) -> dict[str, Any]:
    """How many profiles there are, and from how many the numbers are made."""
    if result.share >= 1:
        return {"profiles": result.profiles.count, "estimated": False}
    return {"profiles": result.profiles.total(result.share), "estimated": True,
            "interval": list(result.profiles.interval(result.share)),
            "sample": result.profiles.count}  # fmt: skip


def _said_basis(result: Preview) -> str:
    if result.share >= 1:
        return f"{result.profiles.count:,} profiles"
    return (
        f"{_said(result.profiles, result)} profiles, estimated from {result.profiles.count:,} of them "
        "(--exact counts all)"
    )


def _said(group: Group, result: Preview) -> str:
    """A number; of an estimate also between which two it lies."""
    if result.share >= 1:
        return f"{group.count:,}"
    low, high = group.interval(result.share)
    return f"about {group.total(result.share):,} (95 %: {low:,} to {high:,})"


def _change(definition: Definition, applied: Definition | None) -> str:
    if applied is None:
        return "created"
    return "unchanged" if applied.content_hash() == definition.content_hash() else "updated"


def _segment_lines(counted: SegmentPreview, result: Preview) -> Iterator[str]:
    rows = [
        (f"inside {_said(counted.inside, result)}, today {_said(counted.today, result)}", counted.inside),
        (f"entering {_said(counted.entering, result)}", counted.entering),
        (f"leaving {_said(counted.leaving, result)}", counted.leaving),
    ]
    for title, group in rows:
        yield f"{title}: {_examples(group, result)}" if group.examples else title
    shared = [f"{name} {count:,}" for name, count in counted.to_json(result.share)["overlaps"].items()]
    if shared:
        yield f"also in {', '.join(shared)}"


def _trait_lines(counted: TraitPreview, result: Preview) -> Iterator[str]:
    import orjson  # Values in JSON: a text cannot be taken for a number, nor move the cursor.

    values = counted.values.to_json(result.share)
    yield f"{_said(counted.values.having, result)} profiles have a value"
    if "median" in values:
        yield ", ".join(f"{name} {values[name]}" for name in ("min", "median", "p95", "max"))
    if "most_frequent" in values:
        frequent = [
            f"{orjson.dumps(one['value']).decode()} {one['count']:,}" for one in values["most_frequent"]
        ]
        yield f"most frequent: {', '.join(frequent)}"
    if values["examples"]:
        shown = [f"{one['profile_id']} {orjson.dumps(one['value']).decode()}" for one in values["examples"]]
        yield f"examples: {', '.join(shown)}"
    yield f"{_said(counted.changing, result)} profiles get another value than now"


def _examples(group: Group, result: Preview) -> str:
    more = group.total(result.share) - len(group.examples)
    return ", ".join(group.examples) + (f" and {more:,} more" if more > 0 else "")
