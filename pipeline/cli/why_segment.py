"""`elo why PROFILE SEGMENT`: the tree of a definition with what each condition found in one profile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .options import fail, say, say_json

if TYPE_CHECKING:
    from ..core.node import Profile
    from ..core.segments.definition import Definition
    from ..core.segments.explain import Explained, WhySegment
    from ..settings import Settings

EVENTS_SHOWN_MAX = 5  # of one condition; --json has up to 20


def why_segment(settings: Settings, subject: str, segment_id: str, *, json_output: bool) -> None:
    """Explain why a profile, named by its id or an identifier, is inside a segment or outside."""
    from ..core.instant import format_instant
    from ..core.segments.explain import explain_segment
    from .person import find_profile, open_lookup

    policy, lookup = open_lookup(settings)
    definitions = _definitions(settings, segment_id)
    definition = definitions[segment_id]
    profile, facets = find_profile(lookup, policy, subject)
    now_ms = time.time_ns() // 1_000_000
    answer = explain_segment(definition, profile.fold, profile.identifiers, now_ms, definitions, facets)
    told = _told(profile, segment_id)
    if json_output:
        since = None if told is None else {**told, "since": format_instant(told["since"])}
        document = {"profile_id": profile.id, **answer.to_json(), "told": since}
        say_json({**document, "policy_version": policy.version})
        return
    for line in _lines(profile, answer, told):
        say(line)


def _definitions(settings: Settings, segment_id: str) -> dict[str, Definition]:
    """All definitions in force, that of the segment among them."""
    from .definitions import in_force, read_stored

    everything = read_stored(settings)
    stored = everything.get(segment_id)
    if stored is None:
        fail(f"there is no segment {segment_id}, `elo segments list` shows all")
    if stored.deleted:
        fail(f"segment {segment_id} was deleted, nobody is inside")
    if stored.content_hash is None:
        fail(f"segment {segment_id} is written in a form that this version does not know, run a newer elo")
    return in_force(everything)


def _told(profile: Profile, segment_id: str) -> dict[str, Any] | None:
    """What consumers were told last about the profile and the segment; None if nothing."""
    membership = None if profile.entry is None else profile.entry.memberships.get(segment_id)
    if membership is None:
        return None
    inside, sequence, since_ms, version = membership
    return {"inside": bool(inside), "sequence": sequence, "since": since_ms, "segment_version": version}


def _lines(profile: Profile, answer: WhySegment, told: dict[str, Any] | None) -> Iterator[str]:
    from ..core.instant import format_instant

    definition = answer.definition
    place = "inside" if answer.inside else "outside"
    at = format_instant(answer.at_ms)
    yield f"profile {profile.id} is {place} {definition.id} (version {definition.version}) at {at}"
    if told is not None:
        was = "inside" if told["inside"] else "outside"
        yield f"  told: {was} since {format_instant(told['since'])} (#{told['sequence']})"
    if (told is not None and told["inside"]) != answer.inside:
        if definition.paused:
            yield "  not told: the segment is paused, see `elo segments resume`"
        else:
            yield "  not told yet: the workers are behind, or are filling a new definition, see `elo wait`"
    if answer.purpose is not None:
        yield from tree(answer.purpose, 1)
    yield from tree(answer.where, 1)
    changes = format_instant(answer.changes_ms)
    yield f"  by itself it changes {'at ' + changes if changes else 'never'}"
    yield f"  to be {'outside' if answer.inside else 'inside'} it takes"
    for sentence in answer.would_change():
        yield f"    {sentence}"


def tree(node: Explained, depth: int) -> Iterator[str]:
    """A condition and those inside, one a line, with what each found."""
    from ..core.instant import format_instant
    from ..core.segments.words import describe

    indent = "  " * depth
    until = format_instant(node.changes_ms)
    found = _found(node)
    yield (
        f"{indent}{'yes' if node.holds else 'no '} {describe(node.condition)}"
        + (f": {found}" if found else "")
        + (f", until {until}" if until else "")
    )
    for at_ms, event_id in node.events[:EVENTS_SHOWN_MAX]:
        yield f"{indent}      {event_id} {format_instant(at_ms)}"
    if node.events and node.identifiers:
        yield f"{indent}      by {', '.join(node.identifiers)}"
    if len(node.events) > EVENTS_SHOWN_MAX:
        yield f"{indent}      and {len(node.events) - EVENTS_SHOWN_MAX} more"
    for inner in node.conditions:
        yield from tree(inner, depth + 1)


def _found(node: Explained) -> str:
    found = node.found
    if "count" in found:
        more = " or more" if found["or_more"] else ""
        last = f", last {found['last_at']}" if found["last_at"] and not node.events else ""
        return f"found {found['count']}{more}{last}"
    if "aggregate" in found:
        number = "nothing" if found["aggregate"] is None else found["aggregate"]
        return f"found {number} of {found['of']}"
    if "steps" in found:
        return (
            f"found the last {found['steps']} of {found['of']} steps" if found["steps"] else "found no step"
        )
    if "known" in found:
        return "" if found["known"] else "there is no such segment, or it leads back to itself"
    if "granted" in found:
        if found["granted"] is None:
            return "never asked"
        return f"{'granted' if found['granted'] else 'refused'} {found['at']}"
    if "identifiers" in found:
        return ", ".join(found["identifiers"]) or "none"
    if "computed" in found:
        return f"found {'nothing' if found['value'] is None else found['value']}, {found['computed']}"
    if "value" in found:
        at = f" since {found['at']}" if found["at"] else ""
        return "missing" if found["value"] is None else f"found {found['value']}{at}"
    return ""
