"""What all adapters share: who sent a request, one touchpoint in the making, and an item that is refused.

An adapter is a function from a decoded request to touchpoints and refusals. What is wrong by meaning only (no
usable identifier, a date in the future) is left to the intake, which judges all touchpoints alike.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final
from uuid import uuid4

import orjson

from pipeline.core.errors import Reason
from pipeline.core.names import snake_case, type_of

from .body import BadBody
from .instants import corrected_ms, parse_ms

EVENT_ID_CHARS_MAX: Final = 200
CONTEXT_ENTRIES_MAX: Final = 50
CONTEXT_CHARS_MAX: Final = 500  # of one entry; a user agent or an address fits
CONTEXT_LEFT_OUT: Final = frozenset(("traits", "ip", "consent", "consentManagement", "externalId"))
"""Parts of a context that are no context: they are read elsewhere, or are personal and not needed."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is known of a request besides its body.

    `trait_identifiers`: the traits that are identifiers too, such as `email`. `event_bytes_max`: a larger
    event is refused by itself.
    """

    source: str
    received_ms: int
    trait_identifiers: Collection[str] = ("email", "phone")
    event_bytes_max: int = 32 * 1024
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that cannot become a touchpoint. It is kept on `touchpoints.rejected`, the others go on."""

    reason: Reason
    field: str
    detail: str
    item: object


Item = dict[str, Any] | Refused
Items = Iterator[Item]


def text_of(given: object) -> str:
    """An id as text: numbers are written out, anything else (null, lists) is empty."""
    if isinstance(given, str):
        return given
    if isinstance(given, int | float) and not isinstance(given, bool):
        return str(given)
    return ""


def written(item: object, *, is_sorted: bool = False) -> bytes:
    """What a sender sent, as JSON again. Raises BadBody when it is nested too deep to be written."""
    try:
        return orjson.dumps(item, option=orjson.OPT_SORT_KEYS if is_sorted else None)
    except TypeError:  # It reads 1,024 levels and writes 254.
        pass
    try:
        return json.dumps(item, sort_keys=is_sorted).encode()
    except RecursionError:
        raise BadBody(400, "an event is nested too deep") from None


def object_of(given: object) -> dict[str, Any]:
    """An object, or an empty one in place of anything else."""
    return given if isinstance(given, dict) else {}


def event_id_of(given: object, item: object, is_dated: bool) -> str:
    """The idempotency key: the sender's, or one of the content of an event that says when it happened.

    A key that is too long, or has control characters, is replaced by its hash, which is the same each time.
    """
    key = text_of(given)
    if key and len(key) <= EVENT_ID_CHARS_MAX and key.isprintable():
        return key
    if key:
        return sha256(key.encode("utf-8", "replace")).hexdigest()
    if is_dated:
        return sha256(written(item, is_sorted=True)).hexdigest()
    return str(uuid4())


def type_and_properties(name: str, properties: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The type of an event by its name; a name that cannot be a type is kept as a property."""
    kind, is_more = type_of(name)
    return kind, {"event": name, **properties} if is_more else properties


def identifiers_of(
    arrival: Arrival, ids: Iterator[tuple[str, object]] | list[tuple[str, object]], traits: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Identifiers by type, and those among the traits; what is empty is left out."""
    found = [{"type": kind, "value": text} for kind, given in ids if (text := text_of(given))]
    for name in arrival.trait_identifiers:
        if name in traits and (text := text_of(traits[name])):
            found.append({"type": name, "value": text})
    return found


def context_of(arrival: Arrival, context: Mapping[str, Any]) -> dict[str, str]:
    """The context as a map of strings, nested names with dots: `page.url`, `campaign.source`."""
    flat = dict(arrival.headers)
    for name, given in context.items():
        if name in CONTEXT_LEFT_OUT:
            continue
        entries = given.items() if isinstance(given, dict) else [("", given)]
        for inner, leaf in entries:
            if len(flat) >= CONTEXT_ENTRIES_MAX:
                return flat
            if isinstance(leaf, bool) or not isinstance(leaf, str | int | float):
                continue
            text = leaf if isinstance(leaf, str) else str(leaf)
            if text:
                flat[f"{name}.{inner}" if inner else name] = text[:CONTEXT_CHARS_MAX]
    return flat


def consent_of(context: Mapping[str, Any]) -> dict[str, bool]:
    """Purposes with a yes or no, as Segment (`consent`) or RudderStack (`consentManagement`) write them."""
    found: dict[str, bool] = {}
    categories = object_of(object_of(context.get("consent")).get("categoryPreferences"))
    for name, granted in categories.items():
        if isinstance(granted, bool) and (purpose := snake_case(name)):
            found[purpose] = granted
    managed = object_of(context.get("consentManagement"))
    for key, granted in (("allowedConsentIds", True), ("deniedConsentIds", False)):
        listed = managed.get(key)
        for name in listed if isinstance(listed, list) else ():
            if purpose := snake_case(text_of(name)):
                found[purpose] = granted
    return found


def occurred_ms_of(arrival: Arrival, occurred: object, sent: object) -> int:
    """When it happened by our clock; an instant that cannot be read counts as not given."""
    return corrected_ms(parse_ms(occurred), parse_ms(sent), arrival.received_ms)


def is_too_large(item: object, arrival: Arrival) -> int:
    """The size of an item in bytes when it is more than one event may have, else 0."""
    size = len(written(item))
    return size if size > arrival.event_bytes_max else 0
