"""The tracker protocol of Snowplow, `tp2` and the pixel: payloads become touchpoints.

A tracker sends no key, so its app id (`aid`) is the write key. Times are milliseconds, all values are texts.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import Any, Final

import orjson

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

PATH: Final = "/com.snowplowanalytics.snowplow/tp2"
PIXEL: Final = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\0\0\0!\xf9\4\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
"""An image that is not seen: a browser that asked for one sends again when it gets anything else."""
STRUCTURED: Final = {"se_ca": "category", "se_la": "label", "se_pr": "property", "se_va": "value"}
PAGE: Final = {"url": "url", "page": "title", "refr": "referrer"}
ORDER: Final = {"tr_id": "order_id", "tr_tt": "total", "tr_cu": "currency", "tr_ci": "city"}
SCREEN: Final = "screen_view"  # of Snowplow's own schemas
_NUMBERS: Final = frozenset(("value", "total"))
_CONTEXT: Final = {"tv": "library", "p": "platform", "lang": "locale", "tz": "timezone", "sid": "session_id"}


def key_of(body: object) -> str:
    """The app id of the first event."""
    events = _events(body)
    return text_of(object_of(events[0]).get("aid")) if events else ""


def read(body: object, arrival: Arrival, body_bytes: int) -> Items:
    """The touchpoints of a payload, or of the query of a pixel."""
    for item in _events(body):
        if body_bytes > arrival.event_bytes_max and (size := is_too_large(item, arrival)):
            yield Refused(Reason.TOO_LARGE, "", f"{size} bytes, at most {arrival.event_bytes_max}", item)
        else:
            yield _read_item(item, arrival)


def _events(body: object) -> list[Any]:
    data = object_of(body).get("data")
    return data if isinstance(data, list) else [body]


def _read_item(item: object, arrival: Arrival) -> Item:
    if not isinstance(item, dict):
        return Refused(Reason.INVALID_FIELD, "data", "an event must be an object", item)
    found = _kind_of(item)
    if isinstance(found, Refused):
        return found
    kind, properties = found
    ids = [
        ("user_id", item.get("uid")),
        ("anonymous_id", item.get("duid")),
        ("anonymous_id", item.get("nuid")),
    ]
    occurred = item.get("ttm") or item.get("dtm")
    return {
        "event_id": event_id_of(item.get("eid"), item, bool(occurred)),
        "source": arrival.source,
        "type": kind,
        "occurred_at": occurred_ms_of(arrival, occurred, item.get("stm")),
        "identifiers": identifiers_of(arrival, ids, {}),
        "traits": {},
        "properties": properties,
        "consent": {},
        "context": context_of(arrival, _named(item, _CONTEXT)),
    }


def _kind_of(item: dict[str, Any]) -> tuple[str, dict[str, Any]] | Refused:
    """The type and the properties of an event, by its kind `e`."""
    given = text_of(item.get("e"))
    if given in ("pv", "pp"):
        return "page_viewed" if given == "pv" else "page_pinged", _named(item, PAGE)
    if given == "se":
        if not text_of(item.get("se_ac")):
            return Refused(Reason.MISSING_FIELD, "se_ac", "a structured event needs an action", item)
        return type_and_properties(text_of(item["se_ac"]), _named(item, STRUCTURED))
    if given == "tr":
        return "order_completed", _named(item, ORDER)
    if given == "ue":
        return _self_describing(item)
    detail = "must be one of pv, pp, se, ue, tr"
    return Refused(Reason.INVALID_FIELD if given else Reason.MISSING_FIELD, "e", detail, item)


def _self_describing(item: dict[str, Any]) -> tuple[str, dict[str, Any]] | Refused:
    """`ue_pr` in JSON or `ue_px` in base64: the schema's name is the event's."""
    packed = text_of(item.get("ue_px"))
    try:
        text = urlsafe_b64decode(packed + "=" * (-len(packed) % 4)) if packed else text_of(item.get("ue_pr"))
        inner = object_of(object_of(orjson.loads(text)).get("data"))
    except ValueError:
        return Refused(Reason.INVALID_FIELD, "ue_px" if packed else "ue_pr", "is not JSON", item)
    parts = text_of(inner.get("schema")).removeprefix("iglu:").split("/")
    data = inner.get("data")
    if len(parts) != 4 or not isinstance(data, dict):
        return Refused(Reason.INVALID_FIELD, "ue", "needs data, and a schema as iglu:VENDOR/NAME/…", item)
    vendor, name = parts[:2]
    if name == SCREEN and vendor.startswith("com.snowplowanalytics."):
        return "screen_viewed", data
    return type_and_properties(name, data)


def _named(item: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Fields under their longer names; numbers are numbers."""
    found: dict[str, Any] = {}
    for short, name in names.items():
        if (text := text_of(item.get(short))) != "":
            found[name] = _number(text) if name in _NUMBERS else text
    return found


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
