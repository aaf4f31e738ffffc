"""`elo why`: why identifiers are, or are not, one profile; why it is inside a segment, or has a trait."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .options import Common, Json, command, fail, say, say_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..core.evidence import Edge
    from ..core.explain import WhyOne, WhyTwo
    from ..core.matched import WhyMatch
    from ..core.policy import Policy
    from ..settings import Settings

SEGMENT_ID: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
"""Told apart from an identifier, which has a colon, and from a profile id, which is never the second."""
TRAIT: Final = "trait:"
"""In front of a trait's name, as in the ids of computed ones. No shipped identifier type is called so."""
LINES_MAX: Final = 20  # refused links and sentences shown to people; --json and the pictures have all


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "why")(why)


def why(
    common: Common,
    subject: Annotated[
        str | None,
        typer.Argument(metavar="PROFILE", help="an identifier (type:value) or a profile id, also an old one"),
    ] = None,
    other: Annotated[
        str | None,
        typer.Argument(
            metavar="[IDENTIFIER|SEGMENT|trait:NAME]", help="a second identifier, a segment id, or a trait"
        ),
    ] = None,
    dot: Annotated[bool, typer.Option("--dot", help="print a picture as Graphviz text")] = False,
    svg: Annotated[bool, typer.Option("--svg", help="print a picture as SVG")] = False,
    weights: Annotated[
        bool, typer.Option("--weights", help="print the match weights of two identifiers as an SVG")
    ] = False,
    change: Annotated[
        str, typer.Option("--change", metavar="CHANGE_ID", help="a change on segments.membership")
    ] = "",
    json_output: Json = False,
) -> None:
    """Explain one profile, two identifiers, a membership, a trait, or a change that was told.

    With one identifier: what its profile holds, and by which links. With two: why they are or are not one
    profile. With a segment: why the profile is inside or outside. With a trait: what its value is made of, or
    who told it. With --change: why it entered or left then, from what had arrived by then. Each with what
    would change it.
    """
    if dot + svg + weights + json_output > 1:
        fail("--json, --dot, --svg and --weights exclude each other, choose one")
    picture = "dot" if dot else "svg" if svg else "weights" if weights else ""
    settings = common.settings()
    if change:
        from .why_change import why_change

        if subject is not None or picture:
            fail("--change asks about one change: leave the profile and the picture out")
        why_change(settings, change, json_output=json_output)
        return
    if subject is None:
        fail("name a profile by an identifier or its id, or a change by --change")
    about = other or ""
    if picture and (about.startswith(TRAIT) or SEGMENT_ID.fullmatch(about)):
        fail("pictures are of identifiers, use --json to have the parts of an explanation")
    if about.startswith(TRAIT):
        from .why_trait import why_trait

        why_trait(settings, subject, about[len(TRAIT) :], json_output=json_output)
        return
    if other is not None and SEGMENT_ID.fullmatch(other):
        from .why_segment import why_segment

        why_segment(settings, subject, other, json_output=json_output)
        return
    _why_identifiers(settings, [subject] if other is None else [subject, other], picture, json_output)


def _why_identifiers(settings: Settings, given: list[str], picture: str, json_output: bool) -> None:
    from ..core.explain import why_one, why_two
    from .person import find_person, open_lookup

    policy, lookup = open_lookup(settings)
    people = [find_person(lookup, policy, one) for one in given]
    found = [component.evidence for component, _ in people]
    asked = [identifier for _, identifier in people]
    answer: WhyOne | WhyTwo = why_one(found[0], asked[0], policy)
    path: tuple[Edge, ...] = ()
    if len(asked) > 1:
        answer = why_two(found[0], found[1], (asked[0], asked[1]), policy)
        path = tuple(step.edge for step in answer.path or ())
    if picture == "weights":
        from .why_match import weights_as_svg

        say(weights_as_svg(answer, policy))
    elif picture:
        from .picture import picture_of, to_dot, to_svg

        say((to_dot if picture == "dot" else to_svg)(picture_of(found, asked, path)))
    elif json_output:
        say_json(answer.to_json())
    else:
        from ..core.explain import WhyOne

        lines = _one(answer, policy) if isinstance(answer, WhyOne) else _two(answer, policy)
        for line in lines:
            say(line)


def _one(answer: WhyOne, policy: Policy) -> Iterable[str]:
    from ..core.instant import format_instant

    version = f"identity policy version {answer.policy_version}"
    if not answer.profile_id:
        yield f"{answer.identifier} belongs to nobody: it was only seen beside others ({version})"
    else:
        yield f"{answer.identifier} belongs to profile {answer.profile_id} ({version})"
        for tie in answer.ties:
            if tie.identifier == answer.anchor:
                yield f"  {tie.identifier}: the anchor, first seen {format_instant(answer.anchor_ms)}"
                continue
            yield f"  {tie.identifier}" + (": no link is kept" if tie.path is None else "")
            for step in tie.path or ():
                yield f"    {step.start} - {step.end}: {_seen(step.edge)}"
    yield from _section("decisions", _decided(answer))
    yield from _refused("refused links", answer.refused, policy)
    yield from _matches(answer.matches, policy)
    yield from _section("what would change it", answer.would_change)


def _two(answer: WhyTwo, policy: Policy) -> Iterable[str]:
    from ..core.explain import reason_in_words

    a, b = answer.identifiers
    version = f"identity policy version {answer.policy_version}"
    if answer.one_profile:
        yield f"{a} and {b} are one profile, {answer.profile_ids[0]} ({version})"
    else:
        yield f"{a} and {b} are not one profile ({version})"
        for identifier, profile_id in zip(answer.identifiers, answer.profile_ids, strict=True):
            yield f"  {identifier} belongs to {f'profile {profile_id}' if profile_id else 'nobody'}"
    if answer.path is None:
        yield "  no link that is kept leads from one to the other"
    for step in answer.path or ():
        reason = step.edge.reason
        refused = f" REFUSED ({reason_in_words(reason, policy)})" if reason else ""
        yield f"  {step.start} - {step.end}:{refused} {_seen(step.edge)}"
    yield from _section("decisions", _decided(answer))
    yield from _matches(() if answer.match is None else (answer.match,), policy)
    yield from _section("what would change it", answer.would_change)


def _matches(matches: Sequence[WhyMatch], policy: Policy) -> Iterable[str]:
    from .why_match import lines_of_matches

    if matches:
        yield "  records"
        for line in lines_of_matches(matches, policy):
            yield f"    {line}"


def _decided(answer: WhyOne | WhyTwo) -> list[str]:
    return [f"{one.action}: {', '.join(one.identifiers)}; {one.in_words()}" for one in answer.decisions]


def _refused(title: str, edges: Sequence[Edge], policy: Policy) -> Iterable[str]:
    from ..core.explain import reason_in_words

    lines = [
        f"{edge.stronger} - {edge.weaker}: {reason_in_words(edge.reason, policy)}; {_seen(edge)}"
        for edge in edges
    ]
    return _section(title, lines)


def _section(title: str, lines: Sequence[str]) -> Iterable[str]:
    if lines:
        yield f"  {title}"
        for line in lines[:LINES_MAX]:
            yield f"    {line}"
        if len(lines) > LINES_MAX:
            yield f"    and {len(lines) - LINES_MAX} more, --json has all"


def _seen(edge: Edge) -> str:
    from ..core.instant import format_instant

    if edge.decision is not None:
        return f"{edge.decision.in_words()}, {format_instant(edge.first_ms)}"
    if edge.weight is not None:
        return f"match of weight {edge.weight:g}, both known since {format_instant(edge.first_ms)}"
    first = f"{edge.first_event} {format_instant(edge.first_ms)}"
    if edge.touches == 1:
        return f"1 touch, {first}"
    return f"{edge.touches} touches, {first} to {edge.last_event} {format_instant(edge.last_ms)}"
