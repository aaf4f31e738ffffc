"""The requests of PostHog's SDKs (`/batch`, `/capture`, `/e`, `/i/v0/e`): captures become touchpoints.

`distinct_id` is a user id, unless the SDK says that the person is not known: a browser whose `$device_id` it
is, or a capture without a person's profile.
"""

from __future__ import annotations

from typing import Any, Final

from pipeline.core.errors import Reason

from .event import (
    Arrival,
    Item,
    Items,
    Refused,
    context_of,
    event_id_of,
    identifiers_of,
    is_too_large,
    object_of,
    occurred_ms_of,
    text_of,
    type_and_properties,
)

TYPES: Final = {
    "$pageview": "page_viewed",
    "$screen": "screen_viewed",
    "$identify": "identified",
    "$set": "identified",
    "$create_alias": "aliased",
    "$groupidentify": "grouped",
}
PAGE: Final = {
    "$current_url": "url",
    "$title": "title",
    "$referrer": "referrer",
    "$pathname": "path",
    "$screen_name": "name",
}
_PERSON: Final = ("$set_once", "$set")  # the later wins
_OF_SDK: Final = "$"
"""Properties with this in front are about the sender; they go to the context, others to the event."""


def key_of(body: object) -> str:
    """The project key of a body: `api_key`, or `token` of the body or of its first capture."""
    outer = object_of(body)
    captures = _captures(body)
    first = object_of(captures[0]) if captures else {}
    inside = object_of(first.get("properties"))
    for given in (outer.get("api_key"), outer.get("token"), first.get("api_key"), inside.get("token")):
        if text_of(given):
            return text_of(given)
    return ""


def read(body: object, arrival: Arrival, body_bytes: int) -> Items:
    """The touchpoints of a batch, of an array or of a single capture."""
    outer = object_of(body)
    for item in _captures(body):
        if body_bytes > arrival.event_bytes_max and (size := is_too_large(item, arrival)):
            yield Refused(Reason.TOO_LARGE, "", f"{size} bytes, at most {arrival.event_bytes_max}", item)
        else:
            yield _read_item(item, arrival, outer.get("sent_at"))


def _captures(body: object) -> list[Any]:
    if isinstance(body, list):
        return body
    batch = object_of(body).get("batch")
    return batch if isinstance(batch, list) else [body]


def _read_item(item: object, arrival: Arrival, sent: object) -> Item:
    if not isinstance(item, dict):
        return Refused(Reason.INVALID_FIELD, "", "a capture must be an object", item)
    name = text_of(item.get("event"))
    if not name:
        return Refused(Reason.MISSING_FIELD, "event", "a capture needs the name of its event", item)
    given = item.get("properties")
    if given is not None and not isinstance(given, dict):
        return Refused(Reason.INVALID_FIELD, "properties", "must be an object", item)
    said = given or {}
    traits: dict[str, Any] = {}
    for part in _PERSON:
        traits |= object_of(said.get(part)) | object_of(item.get(part))
    properties = {key: value for key, value in said.items() if not key.startswith(_OF_SDK)}
    context = {
        key.removeprefix(_OF_SDK): value for key, value in said.items()
        if key.startswith(_OF_SDK) and not isinstance(value, dict | list)
    }  # fmt: skip
    context.pop("ip", None)
    for part in ("token", "distinct_id"):
        properties.pop(part, None)
    kind = TYPES.get(name, "")
    if kind in ("page_viewed", "screen_viewed"):
        properties |= {key: said[given] for given, key in PAGE.items() if given in said}
    elif kind == "aliased":
        properties.pop("alias", None)
    elif kind == "grouped":
        group = object_of(said.get("$group_set"))
        properties = {**group, **properties, "group_type": said.get("$group_type"),
                      "group_id": said.get("$group_key")}  # fmt: skip
    elif not kind:
        kind, properties = type_and_properties(name.removeprefix(_OF_SDK), properties)
    occurred = item.get("timestamp")
    return {
        "event_id": event_id_of(item.get("uuid") or said.get("$insert_id"), item, bool(occurred)),
        "source": arrival.source,
        "type": kind,
        "occurred_at": occurred_ms_of(arrival, occurred, item.get("sent_at") or sent),
        "identifiers": identifiers_of(arrival, _ids(item, said, name), traits),
        "traits": traits,
        "properties": properties,
        "consent": {},
        "context": context_of(arrival, context),
    }


def _ids(item: dict[str, Any], said: dict[str, Any], name: str) -> list[tuple[str, object]]:
    """Pairs of type and value. Of an alias `alias` is the person, `distinct_id` whom they were before."""
    distinct = item.get("distinct_id") or item.get("$distinct_id") or said.get("distinct_id")
    device = said.get("$device_id")
    anonymous = (
        name == "$groupidentify"  # about a group; the id is made up when nobody is given
        or (bool(device) and device == distinct)
        or said.get("$is_identified") is False
        or said.get("$process_person_profile") is False
    )
    if name == "$create_alias":
        return [("user_id", said.get("alias")), ("anonymous_id", distinct)]
    ids = [("anonymous_id" if anonymous else "user_id", distinct)]
    ids.append(("anonymous_id", said.get("$anon_distinct_id")))
    if device != distinct:
        ids.append(("anonymous_id", device))
    return ids
