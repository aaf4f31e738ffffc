"""Everything that is kept of one person as one document, for the person: LGPD art. 18, GDPR art. 20.

Identifiers that belong to other profiles are left out of links and touches and only counted: they are data
about somebody else. It must not know where the person was read or where the document goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import orjson

from .decisions import DECISION_TYPE, STEWARD_LABEL, Decision
from .evidence import Edge, Evidence
from .facet import NEVER, Cell
from .instant import format_instant
from .node import Component, Profile
from .segments.leaf import event_ids
from .touch import Touch

FORMAT: Final = "elo.export.v1"
"""Named in the document. A field may be added under the same name; anything else is a new one."""


def export_person(
    component: Component, profile: Profile, evidence: Evidence, history: Iterable[Touch], now_ms: int
) -> dict[str, Any]:
    """The document of a profile. `history`: the touches of its identifiers, each once, in any order."""
    fold, own = profile.fold, frozenset(profile.identifiers)
    entry = profile.entry
    memberships = {} if entry is None else entry.memberships
    seen = [edge for edge in evidence.edges if edge.decision is None and edge.weight is None]
    links = [edge for edge in seen if edge.stronger in own and edge.weaker in own]
    refused = [edge for edge in seen if (edge.stronger in own) != (edge.weaker in own)]
    events = [touch for touch in history if touch.type != DECISION_TYPE]
    touches = sorted(events, key=lambda touch: (touch.occurred_at, touch.event_id))
    return {
        "format": FORMAT,
        "exported_at": format_instant(now_ms),
        "profile_id": profile.id,
        "aliases": sorted(old for old, one in component.entries.items() if one.alias_of == profile.id),
        "first_seen": format_instant(profile.anchor[0]),
        "last_seen": format_instant(fold.last_seen),
        "identifiers": [_identifier(component, one, links) for one in profile.identifiers],
        "traits": {name: _trait(cell) for name, cell in sorted(fold.traits.items())},
        "consent": {
            purpose: {"granted": word[0], "at": format_instant(word[1])}
            for purpose, word in sorted(fold.consent.items())
        },
        "counters": dict(sorted(fold.counters.items())),
        "memberships": _memberships(memberships, inside=True),
        "former_memberships": _memberships(memberships, inside=False),
        "links": [_link(edge) for edge in links],
        "links_to_others": len(refused),
        "decisions": [_decision(one, own) for one in evidence.decisions_about(own)],
        "counted_events": {key: _leaf(key, state) for key, state in sorted(fold.leaves.items())},
        "history": [_touch(touch, own) for touch in touches],
    }


def _pair(identifier: str) -> dict[str, str]:
    kind, _, value = identifier.partition(":")
    return {"type": kind, "value": value}


def _identifier(component: Component, identifier: str, links: Iterable[Edge]) -> dict[str, Any]:
    """With the times at which it was seen, by itself or beside another."""
    around = [edge for edge in links if identifier in (edge.stronger, edge.weaker)]
    facet = component.facet(identifier)
    first_ms = min([NEVER if facet is None else facet.first_seen, *(edge.first_ms for edge in around)])
    last_ms = max([0 if facet is None else facet.last_seen, *(edge.last_ms for edge in around)])
    return {
        **_pair(identifier),
        "first_seen": format_instant(first_ms),
        "last_seen": format_instant(last_ms or NEVER),
    }


def _trait(cell: Cell) -> dict[str, Any]:
    """The surviving value and when it was said; of a trait that keeps several values, all of them."""
    if not isinstance(cell[1], dict):
        return {"value": cell[0], "at": format_instant(cell[1])}
    values = []
    for text, kept in sorted(cell[1].items()):
        count, at_ms = kept if isinstance(kept, list) else (None, kept)
        counted = {} if count is None else {"count": count}
        values.append({"value": orjson.loads(text), **counted, "last_at": format_instant(at_ms)})
    return {"value": cell[0], "values": values}


def _memberships(memberships: Mapping[str, list[Any]], *, inside: bool) -> dict[str, Any]:
    return {
        segment: {"since": format_instant(since_ms), "sequence": sequence, "segment_version": version}
        for segment, (is_inside, sequence, since_ms, version) in sorted(memberships.items())
        if bool(is_inside) == inside
    }


def _link(edge: Edge) -> dict[str, Any]:
    """As evidence, both ends as `{type, value}`."""
    body = edge.to_json()
    del body["refused"]
    return body | {"identifiers": [_pair(edge.stronger), _pair(edge.weaker)]}


def _decision(decision: Decision, own: Collection[str]) -> dict[str, Any]:
    """What was decided and why. By whom is data about somebody else."""
    mine = [one for one in decision.identifiers if one in own]
    return {
        "decision_id": decision.id,
        "action": decision.action.value,
        "source": decision.source or STEWARD_LABEL,
        "decided_at": format_instant(decision.at_ms),
        "reason": decision.reason or None,
        "identifiers": [_pair(one) for one in mine],
        "identifiers_of_others": len(decision.identifiers) - len(mine),
    }


def _leaf(key: str, state: list[Any]) -> dict[str, Any]:
    count, instants = state[:2]
    newest = [
        {"event_id": event_id, "at": format_instant(at_ms)}
        for at_ms, event_id in zip(instants, event_ids(key, state), strict=True)
    ]
    return {"count": count, "newest": newest[::-1]}


def _touch(touch: Touch, own: Collection[str]) -> dict[str, Any]:
    mine = [one for one in touch.identifiers if one in own]
    return {
        "event_id": touch.event_id,
        "source": touch.source,
        "type": touch.type,
        "occurred_at": format_instant(touch.occurred_at),
        "identifiers": [_pair(one) for one in mine],
        "identifiers_of_others": len(touch.identifiers) - len(mine),
        "traits": orjson.loads(touch.traits or "{}"),
        "properties": orjson.loads(touch.properties or "{}"),
        "consent": dict(touch.consent),
    }
