"""SendGrid's event webhook: an ECDSA signature over the timestamp and the raw body, an array of events."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from pipeline.core.errors import ConfigError, Reason

from .body import parsed
from .event import Item, Refused, event_id_of, text_of
from .instants import parse_ms
from .request import Request
from .webhooks import CLICKED, OPENED, email_touchpoint, unverified

LATE_MS: Final = 25 * 3_600_000
"""SendGrid tries for 24 hours. Within that a repetition is harmless: its events have the same ids."""
SIGNATURE: Final = b"x-twilio-email-event-webhook-signature"
TIMESTAMP: Final = b"x-twilio-email-event-webhook-timestamp"
TYPES: Final = {
    "processed": "email_processed",
    "delivered": "email_delivered",
    "deferred": "email_deferred",
    "bounce": "email_bounced",
    "dropped": "email_dropped",
    "open": OPENED,
    "click": CLICKED,
    "spamreport": "email_complained",
    "unsubscribe": "email_unsubscribed",
    "group_unsubscribe": "email_unsubscribed",
    "group_resubscribe": "email_resubscribed",
}
KEPT: Final = ("category", "url", "reason", "status", "type", "sg_message_id", "asm_group_id", "subject")


class SendGrid:
    """POST /webhooks/sendgrid. `key`: the verification key, base64 as SendGrid shows it."""

    source = "email"

    def __init__(self, key: str, purpose: str) -> None:
        """Raises ConfigError."""
        try:
            found = load_der_public_key(b64decode(key))
        except (ValueError, UnsupportedAlgorithm):
            raise ConfigError("sendgrid_key is not a verification key of SendGrid") from None
        if not isinstance(found, EllipticCurvePublicKey):
            raise ConfigError("sendgrid_key is not a verification key of SendGrid")
        self._key, self._purpose = found, purpose

    async def read(self, request: Request, body: bytes, received_ms: int) -> Iterator[Item]:
        """The events of a verified request."""
        timestamp = request.header(TIMESTAMP)
        try:
            signature = b64decode(request.header(SIGNATURE), validate=True)
            self._key.verify(signature, timestamp.encode() + body, ECDSA(SHA256()))
        except (InvalidSignature, binascii.Error, ValueError):
            raise unverified("the signature is not SendGrid's") from None
        sent_ms = parse_ms(timestamp)
        if sent_ms is None or abs(received_ms - sent_ms) > LATE_MS:
            raise unverified("the request is too late")
        events = parsed(body)
        return (
            _read_event(event, self._purpose, received_ms)
            for event in (events if isinstance(events, list) else [events])
        )

    def settled(self, request: Request, body: bytes, is_safe: bool) -> None:
        """Nothing is kept of a request."""


def _read_event(event: Any, purpose: str, received_ms: int) -> Item:
    if not isinstance(event, dict):
        return Refused(Reason.INVALID_FIELD, "", "an event must be an object", event)
    kind = TYPES.get(text_of(event.get("event")), "")
    if not kind or not text_of(event.get("email")):
        field = "email" if kind else "event"
        return Refused(Reason.INVALID_FIELD, field, "an event needs a known event and an email", event)
    occurred_ms = parse_ms(event.get("timestamp"))
    return email_touchpoint(
        purpose,
        event_id_of(event.get("sg_event_id"), event, occurred_ms is not None),
        kind,
        text_of(event["email"]),
        received_ms if occurred_ms is None else occurred_ms,
        {name: event.get(name) for name in KEPT},
        text_of(event.get("user_id")),
        event.get("sg_machine_open") is True,
    )
