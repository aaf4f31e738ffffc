"""`elo why PROFILE trait:NAME`: what a computed trait is made of, or who told a trait and what lost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from .options import fail, say, say_json
from .why_segment import EVENTS_SHOWN_MAX, tree

if TYPE_CHECKING:
    from ..core.facet import Facet
    from ..core.node import Profile
    from ..core.segments.why_computed import WhyComputed
    from ..core.touch import Touch
    from ..core.why_trait import WhyTrait
    from ..runtime.lookup import Lookup
    from ..settings import Settings
    from .definitions import Stored


def why_trait(settings: Settings, subject: str, name: str, *, json_output: bool) -> None:
    """Explain the value of a trait of a profile, which is named by its id or an identifier."""
    from ..core.policy import Survivorship
    from ..core.segments.definition import TRAIT
    from ..core.segments.why_computed import explain_computed
    from ..core.why_trait import explain_trait
    from .definitions import in_force, read_stored
    from .person import find_profile, open_lookup

    policy, lookup = open_lookup(settings)
    profile, facets = find_profile(lookup, policy, subject)
    stored = read_stored(settings)
    definitions, fold = in_force(stored), profile.fold
    definition = definitions.get(TRAIT + name)
    answer: WhyComputed | WhyTrait
    if definition is not None:
        now_ms = time.time_ns() // 1_000_000
        answer = explain_computed(definition, fold, profile.identifiers, now_ms, definitions, facets)
        lines = _computed_lines(answer)
    elif name in fold.traits:
        tellers = {one: facet for one, facet in facets.items() if name in facet.traits}
        touches = _touches(settings, lookup, tellers)
        answer = explain_trait(name, policy.traits.get(name, Survivorship.NEWEST), fold, tellers, touches)
        lines = _told_lines(answer)
    else:
        _refuse(profile, name, stored)
    if json_output:
        say_json({"profile_id": profile.id, **answer.to_json(), "policy_version": policy.version})
        return
    value = "no value" if answer.value is None else _text(answer.value)
    say(f"profile {profile.id} has {value} as {name} (identity policy version {policy.version})")
    for line in lines:
        say(f"  {line}")


def _touches(settings: Settings, lookup: Lookup, tellers: Mapping[str, Facet]) -> Iterator[Touch]:
    """The touches of the history that may have told a trait. None was logged long before it happened."""
    from ..core.segments.preview import CLOCKS_MS
    from ..core.touchpoint import FUTURE_MS_MAX
    from ..runtime.history import read_touches

    keys = {one.encode() for one in tellers}
    partitions = sorted({lookup.partition_of(one) for one in tellers})
    first_ms = min(facet.first_seen for facet in tellers.values())
    since_ms = max(0, first_ms - FUTURE_MS_MAX - CLOCKS_MS)
    return read_touches(settings, partitions, of_key=keys.__contains__, since_ms=since_ms)


def _refuse(profile: Profile, name: str, stored: Mapping[str, Stored]) -> NoReturn:
    """Say that there is no such trait, and what was probably meant."""
    from ..core.segments.definition import TRAIT
    from ..core.segments.document import similar_to

    gone = stored.get(TRAIT + name)
    if gone is not None and gone.deleted:
        fail(f"the computed trait {name} was deleted, nobody has it")
    if gone is not None:
        fail(f"the trait {name} is written in a form that this version does not know, run a newer elo")
    computed = {one[len(TRAIT) :] for one in stored if one.startswith(TRAIT) and not stored[one].deleted}
    known = sorted(computed | profile.fold.traits.keys())
    hint = similar_to(name, known, "there are") if known else "and no other"
    fail(f"profile {profile.id} has no trait {name}, {hint}")


def _text(value: Any) -> str:
    """In JSON: a text cannot be taken for a number, nor move the cursor."""
    import orjson

    return orjson.dumps(value).decode()


def _computed_lines(answer: WhyComputed) -> Iterator[str]:
    from ..core.instant import format_instant
    from ..core.segments.words import describe

    at = format_instant(answer.at_ms)
    made = describe(answer.definition.where)
    of = "" if answer.rules else f", of {answer.of} events"
    more = ", older ones do not count" if answer.or_more else ""
    yield f"computed at {at} by version {answer.definition.version}: {made}{of}{more}"
    for one in answer.events[:EVENTS_SHOWN_MAX]:
        brings = "" if one.brings is None else f" brings {_text(one.brings)}"
        until = format_instant(one.until_ms)
        by = answer.by(one)
        yield (
            f"  {one.event_id} {format_instant(one.at_ms)}{brings}"
            + (f", by {by}" if by else "")
            + (f", until {until}" if until else "")
        )
    if len(answer.events) > EVENTS_SHOWN_MAX:
        yield f"  and {len(answer.events) - EVENTS_SHOWN_MAX} more"
    if len(answer.alone) > 1:
        yield "each identifier alone"
        for identifier, value in answer.alone.items():
            yield f"  {identifier}: {'nothing' if value is None else _text(value)}"
    for points, rule in answer.rules:
        yield f"{points if rule.holds else 0} of {points} points"
        yield from tree(rule, 1)
    changes = format_instant(answer.changes_ms)
    becomes = "nothing" if answer.becomes is None else _text(answer.becomes)
    yield f"by itself it {f'becomes {becomes} at {changes}' if changes else 'never changes'}"


def _told_lines(answer: WhyTrait) -> Iterator[str]:
    from ..core.instant import format_instant

    yield f"told by sources; rule {answer.rule}"
    for one in answer.told:
        value = "taken back" if one.value is None else _text(one.value)
        times = "" if one.count is None else f" {one.count} times, last"
        event = f": {one.event_id} of {one.source}" if one.event_id else ", before the history"
        when = format_instant(one.at_ms)
        yield f"{'yes' if one.wins else 'no '} {value}, told{times} {when} by {one.identifier}{event}"
    if answer.of > len(answer.told):
        yield f"and {answer.of - len(answer.told)} more"
    yield "by itself it never changes"
