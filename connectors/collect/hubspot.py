"""HubSpot's webhooks, signature version 3: changes of contacts, their merges, and erasures.

A merge is a decision of the source, a privacy deletion a request on `privacy.requests`.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Collection, Iterator
from typing import Any, Final

import orjson

from pipeline.core.contact import MERGED, MERGED_MAX, PROPERTY
from pipeline.core.errors import Reason

from .body import parsed
from .event import Item, Refused, text_of
from .instants import parse_ms
from .request import Request
from .spool import Record
from .webhooks import signed_by, unverified

LATE_MS: Final = 5 * 60_000  # HubSpot's own rule
IDENTIFIER: Final = "hubspot_id"
"""The identifier type of a contact's id; the identity policy must have it."""
TYPES: Final = {
    "contact.creation": "contact_created",
    "contact.propertyChange": "contact_updated",
    "contact.deletion": "contact_deleted",
    "contact.restore": "contact_restored",
    "contact.merge": MERGED,
}
PRIVACY: Final = "contact.privacyDeletion"


class HubSpot:
    """POST /webhooks/hubspot. `secret`: the client secret of the app.

    `trait_identifiers`: properties of a contact that are identifiers too. `requests_topic`: of erasures.
    """

    source = "crm"

    def __init__(self, secret: str, requests_topic: str, trait_identifiers: Collection[str]) -> None:
        self._secret, self._requests_topic = secret, requests_topic
        self._trait_identifiers = trait_identifiers

    async def read(self, request: Request, body: bytes, received_ms: int) -> Iterator[Item | Record]:
        """The events of a verified request."""
        timestamp = request.header(b"x-hubspot-request-timestamp")
        sent_ms = parse_ms(timestamp)
        if sent_ms is None or abs(received_ms - sent_ms) > LATE_MS:
            raise unverified("the request is too late")
        message = f"POST{request.uri}".encode() + body + timestamp.encode()
        expected = b64encode(signed_by(self._secret, message).digest())
        if not hmac.compare_digest(request.header(b"x-hubspot-signature-v3").encode("latin-1"), expected):
            raise unverified("the signature is not HubSpot's")
        events = parsed(body)
        return (self._read_event(event) for event in (events if isinstance(events, list) else [events]))

    def settled(self, request: Request, body: bytes, is_safe: bool) -> None:
        """Nothing is kept of a request."""

    def _read_event(self, event: Any) -> Item | Record:
        if not isinstance(event, dict):
            return Refused(Reason.INVALID_FIELD, "", "an event must be an object", event)
        given = text_of(event.get("subscriptionType"))
        number = text_of(event.get("newObjectId") or event.get("primaryObjectId") or event.get("objectId"))
        occurred_ms = parse_ms(event.get("occurredAt"))
        if (given not in TYPES and given != PRIVACY) or not number or occurred_ms is None:
            detail = "needs a known subscriptionType, an objectId and occurredAt"
            return Refused(Reason.INVALID_FIELD, "subscriptionType", detail, event)
        parts = (event.get(name) for name in ("portalId", "subscriptionId", "eventId"))
        event_id = "-".join(["hubspot", *(text_of(part) for part in parts), number])
        contact = {"type": IDENTIFIER, "value": number}
        if given == PRIVACY:
            document = {"request_id": event_id, "action": "erase", "identifier": contact, "by": "hubspot",
                        "requested_at": occurred_ms}  # fmt: skip
            return Record(self._requests_topic, f"{IDENTIFIER}:{number}".encode(), orjson.dumps(document))
        identifiers, traits, properties = [contact], dict[str, Any](), dict[str, Any]()
        if given == "contact.propertyChange":
            name, value = text_of(event.get("propertyName")), event.get("propertyValue")
            traits[name] = value if value != "" else None  # an emptied property is taken back
            if name in self._trait_identifiers and text_of(value):
                identifiers.append({"type": name, "value": text_of(value)})
        elif given == "contact.merge":
            listed = event.get("mergedObjectIds")
            merged = {text_of(other) for other in (listed if isinstance(listed, list) else ())}
            merged.add(text_of(event.get("primaryObjectId")))
            others = sorted(merged - {number, ""})[:MERGED_MAX]
            properties[PROPERTY] = [{"type": IDENTIFIER, "value": other} for other in others]
        return {
            "event_id": event_id[:200], "source": self.source, "type": TYPES[given],
            "occurred_at": occurred_ms, "identifiers": identifiers, "traits": traits,
            "properties": properties, "consent": {}, "context": {},
        }  # fmt: skip
