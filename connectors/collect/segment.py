"""Segment's HTTP tracking API, which RudderStack and Jitsu speak too: calls become touchpoints.

`group` describes a group and not the person, so its traits become properties and never identifiers.
"""

from __future__ import annotations

from typing import Any, Final

from pipeline.core.errors import Reason

from .event import (
    Arrival,
    Item,
    Items,
    Refused,
    consent_of,
    context_of,
    event_id_of,
    identifiers_of,
    is_too_large,
    object_of,
    occurred_ms_of,
    text_of,
    type_and_properties,
)

CALLS: Final = ("identify", "track", "page", "screen", "group", "alias")
TYPES: Final = {
    "identify": "identified",
    "page": "page_viewed",
    "screen": "screen_viewed",
    "group": "grouped",
    "alias": "aliased",
}
"""Call → type of touchpoint; `track` has the name of its event."""


def read_one(body: object, call: str, arrival: Arrival, body_bytes: int) -> Items:
    """The touchpoint of a request of one call, for example POST /v1/identify."""
    yield _read_sized(body, call, arrival, {}, body_bytes)


def read_batch(body: object, arrival: Arrival, body_bytes: int) -> Items:
    """The touchpoints of a batch. What stands beside `batch` counts for items that do not say it themselves.

    `body_bytes`: the size of the whole body; only of a large one are items measured.
    """
    outer = object_of(body)
    batch = outer.get("batch")
    if not isinstance(batch, list):
        yield Refused(Reason.MISSING_FIELD, "batch", "must be an array of events", body)
        return
    for item in batch:
        yield _read_sized(item, "", arrival, outer, body_bytes)


def _read_sized(item: object, call: str, arrival: Arrival, outer: dict[str, Any], body_bytes: int) -> Item:
    if body_bytes > arrival.event_bytes_max and (size := is_too_large(item, arrival)):
        return Refused(Reason.TOO_LARGE, "", f"{size} bytes, at most {arrival.event_bytes_max}", item)
    return read_item(item, call, arrival, outer)


def read_item(item: object, call: str, arrival: Arrival, outer: dict[str, Any]) -> Item:
    """One event. `call`: as the path says it, empty in a batch. `outer`: what counts for the whole batch."""
    if not isinstance(item, dict):
        return Refused(Reason.INVALID_FIELD, "", "an event must be an object", item)
    call = call or text_of(item.get("type"))
    if call not in CALLS:
        reason = Reason.INVALID_FIELD if call else Reason.MISSING_FIELD
        return Refused(reason, "type", f"must be one of {', '.join(CALLS)}", item)
    for name in ("properties", "traits", "context"):
        if item.get(name) is not None and not isinstance(item[name], dict):
            return Refused(Reason.INVALID_FIELD, name, "must be an object", item)
    context = item.get("context") or {}
    if outer.get("context"):
        context = {**object_of(outer["context"]), **context}
    known = object_of(context.get("traits"))
    traits, properties = {**known, **(item.get("traits") or {})}, dict(item.get("properties") or {})
    kind = TYPES.get(call, "")
    if call == "track":
        name = text_of(item.get("event"))
        if not name:
            return Refused(Reason.MISSING_FIELD, "event", "track needs the name of its event", item)
        kind, properties = type_and_properties(name, properties)
    elif call == "group":
        traits = known
        properties = {**(item.get("traits") or {}), **properties, "group_id": item.get("groupId")}
    elif call in ("page", "screen"):
        properties.update({part: item[part] for part in ("name", "category") if item.get(part)})
    occurred = item.get("originalTimestamp") or item.get("timestamp") or outer.get("timestamp")
    return {
        "event_id": event_id_of(item.get("messageId"), item, bool(occurred)),
        "source": arrival.source,
        "type": kind,
        "occurred_at": occurred_ms_of(arrival, occurred, item.get("sentAt") or outer.get("sentAt")),
        "identifiers": identifiers_of(arrival, _ids(item, context, call), traits),
        "traits": traits,
        "properties": properties,
        "consent": consent_of(context),
        "context": context_of(arrival, context),
    }


def _ids(item: dict[str, Any], context: dict[str, Any], call: str) -> list[tuple[str, object]]:
    """Pairs of type and value. The previous id of an alias is anonymous, unless it is an e-mail address."""
    device = object_of(context.get("device")).get("id")
    ids = [("user_id", item.get("userId")), ("anonymous_id", item.get("anonymousId")), ("device_id", device)]
    if call == "alias":
        previous = item.get("previousId")
        ids.append(("email" if "@" in text_of(previous) else "anonymous_id", previous))
    return ids
