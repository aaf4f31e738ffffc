"""What stands on `identity.decisions`, putting something there, and trying it on what `elo.state` holds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import orjson

from ..core.decision_reader import DecisionReader, Told
from ..core.decisions import SOURCE, STEWARD, Action, decision_of
from ..core.errors import Rejection
from ..core.instant import format_instant
from ..core.segments.catalogue import Catalogue
from ..core.segments.parse import definition_from_json
from ..core.trial import Trial, try_out
from ..runtime.inspect import read_components
from ..runtime.lookup import Lookup, NotFound
from ..runtime.published import policy_of_workers
from ..settings import Settings
from .kafka import connect, partitions_of, read_to_end, send_all
from .options import fail


@dataclass(slots=True)
class Made:
    """A decision as it stands on the topic. `state`: in force, undone, or rejected with the reason.

    Of an undo alone, for a decision that nobody has made: never made.
    """

    id: str
    action: str
    identifiers: list[str]
    by: str
    reason: str
    decided_at: int
    state: str
    undone_by: str = ""
    undone_for: str = ""

    def at_text(self) -> str:
        """The instant in UTC."""
        return format_instant(self.decided_at)

    def to_json(self) -> dict[str, Any]:
        """The shape of one line of `elo identity decisions --json`."""
        undone = {"by": self.undone_by, "reason": self.undone_for} if self.state == "undone" else None
        pairs = [dict(zip(("type", "value"), one.split(":", 1), strict=True)) for one in self.identifiers]
        return {
            "decision_id": self.id,
            "action": self.action,
            "identifiers": pairs,
            "by": self.by,
            "reason": self.reason,
            "decided_at": self.at_text(),
            "state": self.state,
            "undone": undone,
        }


def read_decisions(settings: Settings) -> dict[str, Made]:
    """Decision id → decision, in the order of the topic. Of several with one id, the first is meant."""
    topic = settings.topics().decisions
    partitions = partitions_of(connect(settings), [topic])[topic]
    reader = DecisionReader(policy_of_workers(settings).policy)
    found: dict[str, Made] = {}
    undone: dict[str, Told] = {}
    for message in read_to_end(settings, topic, partitions):
        at_ms = message.timestamp()[1]
        told = reader.read(message.key(), message.value(), at_ms, at_ms)
        if isinstance(told, Rejection):
            name = f"offset {message.offset()}"
            found[name] = Made(name, "", [], "", "", at_ms, f"rejected: {told.reason} {told.field}".rstrip())
            continue
        one = told.decision
        if one.action is Action.UNDO:
            undone.setdefault(one.id, told)
        elif one.id not in found:
            found[one.id] = Made(one.id, one.action.value, list(one.identifiers), one.by, one.reason,
                                 one.at_ms, "in force")  # fmt: skip
    for name, told in undone.items():
        one = told.decision
        made = found.setdefault(name, Made(name, "", list(told.routes), "", "", one.at_ms, "never made"))
        if made.state == "in force":
            made.state, made.undone_by, made.undone_for = "undone", one.by, one.reason
    return found


def identifiers_of(settings: Settings, decision_id: str) -> list[dict[str, str]]:
    """The identifiers of a decision that can be undone, of a steward or of a source; else a failure."""
    made = read_decisions(settings).get(decision_id)
    identifiers: tuple[str, ...] = ()
    if made is not None and made.state == "undone":
        fail(f"decision {decision_id} is undone already")
    if made is not None and made.state == "in force":
        identifiers = tuple(made.identifiers)
    else:
        for component in read_components(settings):
            for name in (STEWARD + decision_id, SOURCE + decision_id):
                if name in component.decisions:
                    decision = decision_of(name, component.decisions[name])
                    identifiers = decision.kept or decision.identifiers
    if not identifiers:
        fail(f"there is no decision {decision_id} to undo, `elo identity decisions` lists them")
    return [dict(zip(("type", "value"), one.split(":", 1), strict=True)) for one in identifiers]


def check(settings: Settings, document: dict[str, Any]) -> Told:
    """What the workers will make of a decision. Ends the command if they would reject it."""
    now_ms = time.time_ns() // 1_000_000
    reader = DecisionReader(policy_of_workers(settings).policy)
    told = reader.read(None, orjson.dumps(document), now_ms, now_ms)
    if isinstance(told, Rejection):
        fail(f"this decision would be rejected ({told.reason}): {told.field} {told.detail}")
    return told


def send(settings: Settings, document: dict[str, Any], told: Told) -> None:
    """Put a decision on its topic and wait until the broker has it."""
    topic = settings.topics().decisions
    partitions_of(connect(settings), [topic])
    route = (told.routes or told.decision.identifiers)[0]
    send_all(settings, topic, [(route.encode(), orjson.dumps(document))])


def try_decision(settings: Settings, told: Told) -> tuple[Trial, list[str]]:
    """What a decision would do now, and the identifiers that nobody was seen with."""
    from .definitions import read_stored

    policy = policy_of_workers(settings).policy
    stored = [one for one in read_stored(settings).values() if not one.deleted and one.content_hash]
    catalogue = Catalogue(definition_from_json(one.document) for one in stored)
    lookup = Lookup(settings, policy)
    components, strangers = {}, []
    for identifier in told.routes or told.decision.identifiers:
        try:
            component = lookup.by_identifier(identifier).component
            components[component.root] = component
        except NotFound:
            strangers.append(identifier)
    key = settings.profile_key.get_secret_value().encode()
    now_ms = time.time_ns() // 1_000_000
    return try_out(components.values(), told.touches(), policy, catalogue, key, now_ms), strangers
