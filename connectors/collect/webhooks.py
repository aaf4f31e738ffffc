"""Webhooks of e-mail providers and CRMs: what they share, and how settings become them.

A webhook has no write key: its signature says who sent it. It makes touchpoints as adapters do, and may make
records of other topics.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final, Protocol

from pipeline.core.errors import ConfigError
from pipeline.core.policy import Policy
from pipeline.settings import Settings
from pipeline.topics import Topics

from .body import BadBody
from .event import Item
from .request import Request
from .spool import Record

OPENED: Final = "email_opened"
CLICKED: Final = "email_clicked"
MACHINE: Final = {OPENED: "email_machine_opened", CLICKED: "email_machine_clicked"}
"""What a mail program or a scanner did by itself: a type of its own, so no segment takes it for interest."""
WITHDRAWING: Final = frozenset(("email_unsubscribed", "email_complained"))
GRANTING: Final = frozenset(("email_resubscribed",))


class Webhook(Protocol):
    """One endpoint: POST /webhooks/NAME."""

    source: str

    async def read(self, request: Request, body: bytes, received_ms: int) -> Iterable[Item | Record]:
        """Touchpoints, refusals and further records of a verified request. Raises BadBody: 401, 400, 406."""
        ...

    def settled(self, request: Request, body: bytes, is_safe: bool) -> None:
        """What `read` gave is safe, or was not taken and will come again."""
        ...


def webhooks_of(settings: Settings, policy: Policy, topics: Topics) -> dict[str, Webhook]:
    """Path → webhook, for those that have their secret in the settings. Raises ConfigError."""
    found: dict[str, Webhook] = {}
    if settings.sendgrid_key:
        from .sendgrid import SendGrid

        found["/webhooks/sendgrid"] = SendGrid(settings.sendgrid_key, settings.email_purpose)
    if settings.ses_topics:
        from .ses import Ses

        found["/webhooks/ses"] = Ses(settings.ses_topics, settings.email_purpose)
    if secret := settings.mailgun_key.get_secret_value():
        from .mailgun import Mailgun

        found["/webhooks/mailgun"] = Mailgun(secret, settings.email_purpose)
    if secret := settings.hubspot_secret.get_secret_value():
        from .hubspot import IDENTIFIER, HubSpot

        if IDENTIFIER not in policy.rules:
            raise ConfigError(f"hubspot_secret is set, so add the type {IDENTIFIER} to the identity policy")
        traits = [name for name in policy.rules if name != IDENTIFIER]
        found["/webhooks/hubspot"] = HubSpot(secret, topics.privacy_requests, traits)
    return found


def unverified(why: str) -> BadBody:
    """The answer to a request that the provider did not send."""
    return BadBody(401, why)


def signed_by(secret: str, message: bytes) -> hmac.HMAC:
    """HMAC-SHA256 with a text as key."""
    return hmac.new(secret.encode(), message, sha256)


def email_touchpoint(
    purpose: str,
    event_id: str,
    kind: str,
    address: str,
    occurred_ms: int,
    properties: Mapping[str, Any],
    user_id: str = "",
    is_machine: bool = False,
) -> dict[str, Any]:
    """A touchpoint of what became of an e-mail.

    The address, and the user id that the sender gave along, are one person; but what a machine did proves
    nothing, so it has the address alone. A complaint is an unsubscription.
    """
    identifiers = [{"type": "email", "value": address}]
    if is_machine:
        kind = MACHINE.get(kind, kind)
    elif user_id:
        identifiers.append({"type": "user_id", "value": user_id})
    consent = {}
    if kind in WITHDRAWING or kind in GRANTING:
        consent[purpose] = kind in GRANTING
    return {
        "event_id": event_id,
        "source": "email",
        "type": kind,
        "occurred_at": occurred_ms,
        "identifiers": identifiers,
        "traits": {},
        "properties": {name: value for name, value in properties.items() if value not in (None, "", [])},
        "consent": consent,
        "context": {},
    }
