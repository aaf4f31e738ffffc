"""Mailgun's webhooks: an HMAC over timestamp and token, which does not cover the body.

So a token counts once: whoever has seen one request could else send another body with it.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

from pipeline.core.errors import Reason

from .body import BadBody, parsed
from .event import Item, Refused, event_id_of, object_of, text_of
from .instants import parse_ms
from .request import Request
from .webhooks import CLICKED, OPENED, email_touchpoint, signed_by, unverified

LATE_MS: Final = 9 * 3_600_000  # Mailgun tries for eight hours
TOKENS_MAX: Final = 200_000
"""Tokens that are remembered; the oldest go first. At more than 6 requests a second they go too early."""
TYPES: Final = {
    "accepted": "email_processed",
    "delivered": "email_delivered",
    "opened": OPENED,
    "clicked": CLICKED,
    "unsubscribed": "email_unsubscribed",
    "complained": "email_complained",
    "rejected": "email_dropped",
}
FAILED: Final = {"permanent": "email_bounced", "temporary": "email_deferred"}


class Mailgun:
    """POST /webhooks/mailgun. `key`: the HTTP webhook signing key."""

    source = "email"

    def __init__(self, key: str, purpose: str) -> None:
        self._key, self._purpose = key, purpose
        # By the signature: it stays what it is when a digit of the token is moved to the timestamp.
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def read(self, request: Request, body: bytes, received_ms: int) -> Iterator[Item]:
        """The event of a verified request that comes for the first time."""
        document = object_of(parsed(body))
        signature = object_of(document.get("signature"))
        timestamp, token = text_of(signature.get("timestamp")), text_of(signature.get("token"))
        expected = signed_by(self._key, f"{timestamp}{token}".encode("utf-8", "replace")).hexdigest()
        given = text_of(signature.get("signature")).encode("utf-8", "replace")
        if not token or not hmac.compare_digest(given, expected.encode()):
            raise unverified("the signature is not Mailgun's")
        sent_ms = parse_ms(timestamp)
        if sent_ms is None or abs(received_ms - sent_ms) > LATE_MS:
            raise unverified("the request is too late")
        if expected in self._seen:
            raise BadBody(406, "the token was used before")  # Mailgun does not try again after a 406
        self._seen[expected] = None
        if len(self._seen) > TOKENS_MAX:
            self._seen.popitem(last=False)
        return iter([_read_event(document.get("event-data"), self._purpose, received_ms)])

    def settled(self, request: Request, body: bytes, is_safe: bool) -> None:
        """A request that was not taken comes again with its token."""
        if not is_safe:
            self._seen.pop(
                text_of(object_of(object_of(parsed(body)).get("signature")).get("signature")), None
            )


def _read_event(event: Any, purpose: str, received_ms: int) -> Item:
    if not isinstance(event, dict):
        return Refused(Reason.MISSING_FIELD, "event-data", "must be an object", event)
    given = text_of(event.get("event"))
    kind = FAILED.get(text_of(event.get("severity")), "") if given == "failed" else TYPES.get(given, "")
    address = text_of(event.get("recipient"))
    if not kind or not address:
        field = "recipient" if kind else "event"
        return Refused(Reason.INVALID_FIELD, field, "needs a known event and a recipient", event)
    client = object_of(event.get("client-info"))
    headers = object_of(object_of(event.get("message")).get("headers"))
    occurred_ms = parse_ms(event.get("timestamp"))
    return email_touchpoint(
        purpose,
        event_id_of(event.get("id"), event, occurred_ms is not None),
        kind,
        address,
        received_ms if occurred_ms is None else occurred_ms,
        {
            "url": event.get("url"), "reason": event.get("reason"), "tags": event.get("tags"),
            "subject": headers.get("subject"), "message_id": headers.get("message-id"),
        },
        text_of(object_of(event.get("user-variables")).get("user_id")),
        bool(text_of(client.get("bot"))),
    )  # fmt: skip
