"""Amazon SES through SNS: a signed envelope whose message is an event; subscriptions are confirmed.

The certificate is fetched from a host of SNS only, once. Only the topics of the settings are listened to.
"""

from __future__ import annotations

import asyncio
import re
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from pipeline.core.errors import Reason

from .body import BadBody, parsed
from .event import Item, Refused, object_of, text_of
from .instants import parse_ms
from .request import Request
from .webhooks import CLICKED, OPENED, email_touchpoint, unverified

LATE_MS: Final = 25 * 3_600_000
FETCH_S: Final = 5.0
FETCHED_BYTES_MAX: Final = 64 * 1024
CERTIFICATES_MAX: Final = 20
HOST: Final = re.compile(r"sns\.[a-z0-9-]{3,30}\.amazonaws\.com(\.cn)?")
SIGNED: Final = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
    ),
    "UnsubscribeConfirmation": (
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
    ),
}  # fmt: skip
"""Type → the fields that its signature covers, in their order; an absent one is left out."""
TYPES: Final = {
    "send": "email_processed",
    "delivery": "email_delivered",
    "open": OPENED,
    "click": CLICKED,
    "bounce": "email_bounced",
    "complaint": "email_complained",
    "reject": "email_dropped",
    "deliverydelay": "email_deferred",
    "rendering failure": "email_dropped",
    "subscription": "email_unsubscribed",
}
PARTS: Final = {"deliverydelay": "deliveryDelay", "rendering failure": "failure"}
RECIPIENTS: Final = {"bounce": "bouncedRecipients", "complaint": "complainedRecipients"}
PREFETCHER: Final = "Mozilla/5.0"
"""All that Apple's mail privacy proxy says of itself."""

Fetch = Callable[[str], bytes]
log = structlog.get_logger()


class _Here(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: the address was checked, that of a redirect was not."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER: Final = urllib.request.build_opener(_Here)


def fetch(url: str) -> bytes:
    """GET a page of SNS. Raises OSError, also for a redirect."""
    with _OPENER.open(url, timeout=FETCH_S) as answer:
        return bytes(answer.read(FETCHED_BYTES_MAX))


class Ses:
    """POST /webhooks/ses. `topics`: the ARNs that are listened to."""

    source = "email"

    def __init__(self, topics: tuple[str, ...], purpose: str, fetch: Fetch = fetch) -> None:
        self._topics, self._purpose, self._fetch = frozenset(topics), purpose, fetch
        self._keys: dict[str, RSAPublicKey] = {}

    async def read(self, request: Request, body: bytes, received_ms: int) -> Iterator[Item]:
        """The events of a verified notification, or nothing after a confirmation."""
        envelope = object_of(parsed(body))
        kind = text_of(envelope.get("Type"))
        if kind not in SIGNED or text_of(envelope.get("TopicArn")) not in self._topics:
            raise unverified("not a message of a topic that is listened to")
        await self._verify(envelope, kind)
        sent_ms = parse_ms(envelope.get("Timestamp"))
        if sent_ms is None or abs(received_ms - sent_ms) > LATE_MS:
            raise unverified("the message is too late")
        if kind == "SubscriptionConfirmation":
            await self._confirm(envelope)
        if kind != "Notification":
            return iter(())
        return _read_message(envelope, self._purpose, received_ms)

    def settled(self, request: Request, body: bytes, is_safe: bool) -> None:
        """Nothing is kept of a request."""

    async def _verify(self, envelope: dict[str, Any], kind: str) -> None:
        message = "".join(f"{name}\n{envelope[name]}\n" for name in SIGNED[kind] if name in envelope)
        algorithm = SHA256() if text_of(envelope.get("SignatureVersion")) == "2" else SHA1()
        key = await self._key(text_of(envelope.get("SigningCertURL")))
        try:
            signature = b64decode(text_of(envelope.get("Signature")), validate=True)
            key.verify(signature, message.encode("utf-8", "replace"), PKCS1v15(), algorithm)
        except (InvalidSignature, ValueError):
            raise unverified("the signature is not that of SNS") from None

    async def _key(self, url: str) -> RSAPublicKey:
        if url not in self._keys:
            if not is_of_sns(url) or not urlsplit(url).path.endswith(".pem"):
                raise unverified("the certificate is not at SNS")
            try:
                pem = await asyncio.to_thread(self._fetch, url)
                key = x509.load_pem_x509_certificate(pem).public_key()
            except (OSError, ValueError):
                raise BadBody(503, "the certificate cannot be fetched") from None
            if not isinstance(key, RSAPublicKey):
                raise unverified("the certificate is not at SNS")
            if len(self._keys) >= CERTIFICATES_MAX:
                self._keys.clear()
            self._keys[url] = key
        return self._keys[url]

    async def _confirm(self, envelope: dict[str, Any]) -> None:
        url = text_of(envelope.get("SubscribeURL"))
        if not is_of_sns(url):
            raise unverified("the confirmation is not at SNS")
        try:
            await asyncio.to_thread(self._fetch, url)
        except OSError:
            raise BadBody(503, "the confirmation cannot be sent") from None
        log.info("subscription confirmed", topic=envelope["TopicArn"])


def is_of_sns(url: str) -> bool:
    """Whether an address is one of SNS, over TLS."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    host = parts.hostname or ""
    return parts.scheme == "https" and port in (None, 443) and HOST.fullmatch(host) is not None


def _read_message(envelope: dict[str, Any], purpose: str, received_ms: int) -> Iterator[Item]:
    try:
        message = object_of(orjson.loads(text_of(envelope.get("Message"))))
    except orjson.JSONDecodeError:
        message = {}
    given = text_of(message.get("eventType") or message.get("notificationType")).lower()
    kind, mail = TYPES.get(given, ""), object_of(message.get("mail"))
    part = object_of(message.get(PARTS.get(given, given)))
    addresses = _addresses(part.get(RECIPIENTS.get(given, ""))) or _addresses(mail.get("destination"))
    if not kind or not addresses:
        field = "Message.mail.destination" if kind else "Message.eventType"
        yield Refused(Reason.INVALID_FIELD, field, "must be an event of SES with a recipient", envelope)
        return
    if given == "subscription":
        preferences = object_of(part.get("newTopicPreferences"))
        kind = (
            "email_unsubscribed" if preferences.get("unsubscribeAll") is True else "email_preferences_changed"
        )
    elif given == "bounce" and part.get("bounceType") == "Transient":
        kind = "email_deferred"
    tags = object_of(mail.get("tags"))
    users = tags.get("user_id")
    occurred_ms = parse_ms(part.get("timestamp")) or parse_ms(mail.get("timestamp"))
    for index, address in enumerate(addresses):
        yield email_touchpoint(
            purpose,
            f"{text_of(envelope.get('MessageId'))[:150]}:{index}",
            kind,
            address,
            received_ms if occurred_ms is None else occurred_ms,
            {
                "url": part.get("link"),
                "reason": part.get("bounceType") or part.get("complaintFeedbackType"),
                "message_id": mail.get("messageId"),
                "subject": object_of(mail.get("commonHeaders")).get("subject"),
            },
            text_of(users[0]) if isinstance(users, list) and users else "",
            given in ("open", "click") and part.get("userAgent") == PREFETCHER,
        )  # fmt: skip


def _addresses(given: object) -> list[str]:
    """E-mail addresses of a list of texts, or of objects that have one."""
    found = []
    for entry in given if isinstance(given, list) else ():
        text = text_of(entry.get("emailAddress") if isinstance(entry, dict) else entry)
        if text:
            found.append(text.rpartition("<")[2].rstrip("> "))
    return found
