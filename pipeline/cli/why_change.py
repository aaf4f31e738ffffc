"""`elo why --change`: why somebody entered or left, judged again from what had arrived by then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from .options import fail, say, say_json
from .why_segment import tree

if TYPE_CHECKING:
    from ..core.past import PastChange
    from ..core.segments.definition import Definition
    from ..core.segments.explain import WhySegment
    from ..settings import Settings

COMMIT_MS: Final = 1_000  # a change and the definition that caused it may be of one batch, committed later


@dataclass(frozen=True, slots=True)
class _Answer:
    """`why` None: nobody is judged, for `instead`. `complete`: everything lies in the history."""

    record: dict[str, Any]
    why: WhySegment | None
    instead: str
    identifiers: list[str]
    complete: bool
    policy_version: int

    @property
    def agrees(self) -> bool | None:
        return None if self.why is None else self.why.inside == (self.record["change"] == "entered")

    def to_json(self) -> dict[str, Any]:
        """The shape of `elo why --change --json`."""
        judged = {} if self.why is None else self.why.to_json()
        judged.pop("segment_id", None), judged.pop("segment_version", None)
        return {
            **self.record, "identifiers_then": self.identifiers, **judged, "instead": self.instead or None,
            "agrees": self.agrees, "complete": self.complete, "policy_version": self.policy_version,
        }  # fmt: skip


def why_change(settings: Settings, change_id: str, *, json_output: bool) -> None:
    """Explain a change that was told, by its id, while the history lasts."""
    answer = _judge(settings, _find(settings, change_id))
    if json_output:
        say_json(answer.to_json())
        return
    for line in _lines(answer):
        say(line)


def _find(settings: Settings, change_id: str) -> dict[str, Any]:
    """The record on `segments.membership`. Ends the command when there is none."""
    from .kafka import connect, partitions_of, read_to_end
    from .records import decode_value

    topic, needle = settings.topics().membership, change_id.encode()
    found = None
    for message in read_to_end(settings, topic, partitions_of(connect(settings), [topic])[topic]):
        # Looking for the bytes first spares decoding all others.
        if needle in (message.value() or b"") and found is None:
            record = decode_value(message)
            found = record if record["change_id"] == change_id else None
    if found is None:
        fail(f"there is no change {change_id} on {topic}, which keeps changes for a month")
    return found


def _judge(settings: Settings, record: dict[str, Any]) -> _Answer:
    from ..core.outbox import Cause
    from ..core.past import PastChange, judge_again
    from ..runtime.history import read_arrivals
    from .person import open_lookup

    policy, lookup = open_lookup(settings)
    event_ids = record["event_ids"]
    change = PastChange(
        record["profile_id"], record["segment_id"], record["change"] == "entered", record["occurred_at"],
        record["decided_at"], Cause(record["cause"]), event_ids[0] if event_ids else "",
        [f"{one['type']}:{one['value']}" for one in record["identifiers"]],
    )  # fmt: skip
    present = lookup.holding(change.profile_id).component
    definitions = _definitions_then(lookup.definitions_taken(present.root), record, change)
    keys = {one.encode() for one in present.identifiers if present.has_facet(one)}
    partitions = sorted({lookup.partition_of(key.decode()) for key in keys})
    found_there = read_arrivals(settings, partitions, of_key=keys.__contains__)
    arrivals = sorted(found_there, key=lambda one: (one.partition, one.offset))
    profile_key = settings.profile_key.get_secret_value().encode()
    found = judge_again(change, present, arrivals, definitions, policy, profile_key)
    answer = _Answer(record, found.why, "", found.identifiers, found.complete, policy.version)
    if found.why is None:
        became = f"it had become part of profile {found.heir}"
        return replace(answer, instead=became if found.heir else "nobody stood for it any more")
    if answer.agrees or change.cause is not Cause.DEFINITION or not _is_deleted(settings, change.segment_id):
        return answer
    return replace(answer, why=None, instead="the definition was deleted")


def _is_deleted(settings: Settings, segment_id: str) -> bool:
    from .definitions import read_stored

    stored = read_stored(settings).get(segment_id)
    return stored is None or stored.deleted


def _definitions_then(
    taken: list[tuple[int, Definition]], record: dict[str, Any], change: PastChange
) -> dict[str, Definition]:
    """The definitions in force when a change was decided, that of its segment by its version."""
    found: dict[str, Definition] = {}
    wanted = record["segment_id"], record["segment_version"]
    for at_ms, definition in taken:
        if at_ms <= change.decided_at + COMMIT_MS and definition.id != wanted[0]:
            found[definition.id] = definition
        elif (definition.id, definition.version) == wanted:
            found[definition.id] = definition
    if wanted[0] not in found:
        fail(f"version {wanted[1]} of segment {wanted[0]} is not kept: an earlier version of Elo took it")
    return found


def _lines(answer: _Answer) -> Iterator[str]:
    from ..core.instant import format_instant

    record = answer.record
    yield (
        f"profile {record['profile_id']} {record['change']} {record['segment_id']} version "
        f"{record['segment_version']} at {format_instant(record['occurred_at'])} "
        f"(sequence {record['sequence']}, cause {record['cause']}, "
        f"identity policy version {answer.policy_version} now)"
    )
    if answer.instead:
        yield f"  {answer.instead}"
    if answer.why is None:
        return
    yield f"  known of the profile then: {', '.join(answer.identifiers)}"
    if answer.why.purpose is not None:
        yield from tree(answer.why.purpose, 1)
    yield from tree(answer.why.where, 1)
    for sentence in answer.why.would_change():
        yield f"  to be {'outside' if answer.why.inside else 'inside'} it would have taken: {sentence}"
    if not answer.complete:
        yield "  part of what was known is older than the history: of that only what is still kept was judged"
    if not answer.agrees:
        yield "  this does not give the change that was told: what decided it is no longer kept"
