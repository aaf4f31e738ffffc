"""Webhooks: what the provider signed is taken once; what is tampered with, repeated or late is refused."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from connectors.collect import sendgrid
from connectors.collect.mailgun import Mailgun
from connectors.collect.sendgrid import SendGrid
from connectors.collect.ses import SIGNED, Ses, fetch, is_of_sns
from pipeline.core.errors import ConfigError
from tests.support.collect import Answered, Asked, ids

NOW_S: Final = int(time.time())
TOPIC: Final = "arn:aws:sns:eu-west-1:1:events"
CERTIFICATE: Final = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem"
DAY_S: Final = 86_400


# -- SendGrid ----------------------------------------------------------------------------------------------

# The vector of SendGrid's own library (sendgrid-python, test_eventwebhook.py).
VECTOR_KEY: Final = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaIN"
    "XvVpiglSI8eNEc6wEA3F+g=="
)
VECTOR_SIGNATURE: Final = (
    "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
)
VECTOR_TIMESTAMP: Final = "1600112502"
VECTOR_BODY: Final = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)


@cache
def ecdsa_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def sendgrid_asked() -> Asked:
    public = ecdsa_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    hook = SendGrid(base64.b64encode(public).decode(), "marketing")
    return Asked(webhooks={"/webhooks/sendgrid": hook})


def from_sendgrid(
    asked: Asked, *events: dict[str, Any], at_s: int = NOW_S, other: bytes = b"", more: str = ""
) -> Answered:
    body, timestamp = json.dumps(events).encode() + b"\r\n", str(at_s)
    signature = ecdsa_key().sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
    headers = {
        sendgrid.SIGNATURE.decode(): base64.b64encode(signature).decode() + more,
        sendgrid.TIMESTAMP.decode(): timestamp,
    }
    return asked.ask("POST", "/webhooks/sendgrid", other or body, headers)


def test_the_vector_of_sendgrids_library_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(webhooks={"/webhooks/sendgrid": SendGrid(VECTOR_KEY, "marketing")})
    headers = {
        sendgrid.SIGNATURE.decode(): VECTOR_SIGNATURE, sendgrid.TIMESTAMP.decode(): VECTOR_TIMESTAMP,
    }  # fmt: skip
    late = asked.ask("POST", "/webhooks/sendgrid", VECTOR_BODY, headers)
    assert (late.status, late.document["message"]) == (401, "the request is too late")  # but it is SendGrid's
    monkeypatch.setattr(sendgrid, "LATE_MS", 100 * 365 * 86_400_000)
    assert asked.ask("POST", "/webhooks/sendgrid", VECTOR_BODY.rstrip(), headers).status == 401
    assert asked.ask("POST", "/webhooks/sendgrid", VECTOR_BODY, headers).status == 200
    [found] = asked.touchpoints()
    assert (found["type"], ids(found), found["occurred_at"]) == (
        "email_dropped", ["email:hello@world.com"], 1_600_112_492_000,
    )  # fmt: skip
    assert found["event_id"] == "ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA"


@pytest.mark.parametrize(
    ("changes", "status"),
    [({}, 200), ({"other": b"[]"}, 401), ({"more": "x"}, 401), ({"at_s": NOW_S - 2 * DAY_S}, 401),
     ({"at_s": NOW_S + 2 * DAY_S}, 401), ({"at_s": NOW_S - DAY_S}, 200)],
)  # fmt: skip
def test_only_what_sendgrid_signed_is_taken(changes: dict[str, Any], status: int) -> None:
    asked = sendgrid_asked()
    assert from_sendgrid(asked, {"event": "open", "email": "a@b.c"}, **changes).status == status
    assert len(asked.touchpoints()) == (status == 200)


@pytest.mark.parametrize(
    ("event", "type_", "consent"),
    [
        ({"event": "open"}, "email_opened", {}), ({"event": "click", "url": "http://x"}, "email_clicked", {}),
        ({"event": "open", "sg_machine_open": True}, "email_machine_opened", {}),
        ({"event": "bounce", "reason": "550"}, "email_bounced", {}),
        ({"event": "unsubscribe"}, "email_unsubscribed", {"marketing": False}),
        ({"event": "group_unsubscribe"}, "email_unsubscribed", {"marketing": False}),
        ({"event": "group_resubscribe"}, "email_resubscribed", {"marketing": True}),
        ({"event": "spamreport"}, "email_complained", {"marketing": False}),
    ],
)  # fmt: skip
def test_events_of_sendgrid(event: dict[str, Any], type_: str, consent: dict[str, bool]) -> None:
    asked = sendgrid_asked()
    given = {"email": "a@b.c", "sg_event_id": "s1", "timestamp": NOW_S, "user_id": "u1", **event}
    assert from_sendgrid(asked, given, {"event": "dance"}).status == 200
    [found] = asked.touchpoints()
    assert (found["type"], found["consent"], found["source"]) == (type_, consent, "email")
    people = ["email:a@b.c"] if "machine" in type_ else ["email:a@b.c", "user_id:u1"]
    assert ids(found) == people  # what a machine did is no evidence of who somebody is
    assert asked.rejected() == [("invalid_field", "event", {"event": "dance"})]


def test_a_key_that_is_none_is_refused_at_start() -> None:
    for key in ("nonsense!", base64.b64encode(b"nonsense").decode()):
        with pytest.raises(ConfigError, match="sendgrid_key"):
            SendGrid(key, "marketing")


# -- Mailgun -----------------------------------------------------------------------------------------------


def from_mailgun(
    asked: Asked, token: str = "t1", at_s: int | str = NOW_S, key: str = "k", **event: Any
) -> Answered:
    signature = hmac.new(key.encode(), f"{at_s}{token}".encode(), hashlib.sha256).hexdigest()
    document = {
        "signature": {"timestamp": str(at_s), "token": token, "signature": signature},
        "event-data": {
            "event": "opened",
            "recipient": "a@b.c",
            "id": "e1",
            "timestamp": NOW_S + 0.5,
            **event,
        },
    }
    return asked.ask("POST", "/webhooks/mailgun", document)


def mailgun_asked() -> Asked:
    return Asked(webhooks={"/webhooks/mailgun": Mailgun("k", "marketing")})


def test_a_token_of_mailgun_counts_once() -> None:
    asked = mailgun_asked()
    assert from_mailgun(asked).status == 200
    assert from_mailgun(asked, recipient="victim@b.c").status == 406
    assert from_mailgun(asked, token="t2").status == 200
    assert [ids(one) for one in asked.touchpoints()] == [["email:a@b.c"]] * 2


@pytest.mark.parametrize(("token", "moved"), [("123abc", 3), ("e0abc", 2)])
def test_a_token_of_mailgun_counts_once_wherever_the_timestamp_ends(token: str, moved: int) -> None:
    """What is signed is both, one after the other; the instant is the same in seconds and milliseconds."""
    asked = mailgun_asked()
    assert from_mailgun(asked, token=token).status == 200
    again = from_mailgun(asked, token=token[moved:], at_s=f"{NOW_S}{token[:moved]}", recipient="victim@b.c")
    assert again.status == 406


def test_a_request_of_mailgun_that_was_not_taken_may_come_again() -> None:
    asked = mailgun_asked()
    asked.outlet.full = True
    assert from_mailgun(asked).status == 503
    asked.outlet.full = False
    assert from_mailgun(asked).status == 200


@pytest.mark.parametrize(
    "changes", [{"key": "other"}, {"at_s": NOW_S - DAY_S}, {"at_s": NOW_S + DAY_S}, {"token": ""}]
)
def test_what_mailgun_did_not_sign_or_signed_long_ago_is_refused(changes: dict[str, Any]) -> None:
    asked = mailgun_asked()
    assert from_mailgun(asked, **changes).status == 401
    assert asked.outlet.records == []


@pytest.mark.parametrize(
    ("event", "type_", "consent"),
    [
        ({"event": "failed", "severity": "permanent"}, "email_bounced", {}),
        ({"event": "failed", "severity": "temporary"}, "email_deferred", {}),
        ({"event": "opened", "client-info": {"bot": "apple"}}, "email_machine_opened", {}),
        ({"event": "clicked", "client-info": {"bot": ""}}, "email_clicked", {}),
        ({"event": "clicked", "client-info": {"bot": "generic"}}, "email_machine_clicked", {}),
        ({"event": "unsubscribed"}, "email_unsubscribed", {"marketing": False}),
        ({"event": "complained"}, "email_complained", {"marketing": False}),
    ],
)  # fmt: skip
def test_events_of_mailgun(event: dict[str, Any], type_: str, consent: dict[str, bool]) -> None:
    asked = mailgun_asked()
    from_mailgun(asked, **{"user-variables": {"user_id": "u1"}}, **event)
    [found] = asked.touchpoints()
    assert (found["type"], found["consent"], found["occurred_at"]) == (type_, consent, NOW_S * 1000 + 500)
    assert len(found["identifiers"]) == (1 if "machine" in type_ else 2)


# -- SES ---------------------------------------------------------------------------------------------------


@cache
def sns() -> tuple[rsa.RSAPrivateKey, bytes]:
    """A key and its certificate."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.datetime.now(datetime.UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now)
    return key, built.sign(key, SHA256()).public_bytes(Encoding.PEM)


class Sns:
    """SNS as the collector meets it, with what was fetched from it."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        hook = Ses((TOPIC,), "marketing", self.fetch)
        self.asked = Asked(webhooks={"/webhooks/ses": hook})

    def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        return sns()[1]

    def send(
        self, message: object, version: str = "2", change: dict[str, Any] | None = None, **fields: Any
    ) -> int:
        """Send an envelope; `change`: fields that are altered after it was signed."""
        envelope = {
            "Type": "Notification", "MessageId": "m1", "TopicArn": TOPIC, "Message": json.dumps(message),
            "Timestamp": datetime.datetime.now(datetime.UTC).isoformat(), "SignatureVersion": version,
            "SigningCertURL": CERTIFICATE, **fields,
        }  # fmt: skip
        names = SIGNED.get(envelope["Type"], ())
        text = "".join(f"{name}\n{envelope[name]}\n" for name in names if name in envelope)
        algorithm = SHA256() if version == "2" else SHA1()
        signature = sns()[0].sign(text.encode(), padding.PKCS1v15(), algorithm)
        envelope["Signature"] = base64.b64encode(signature).decode()
        body = json.dumps({**envelope, **(change or {})}).encode()
        return self.asked.ask("POST", "/webhooks/ses", body, {"content-type": "text/plain"}).status


MAIL: Final = {"messageId": "x", "destination": ["Ana <a@b.c>"], "tags": {"user_id": ["u1"]}}


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_notification_of_sns_is_verified_and_its_certificate_fetched_once(version: str) -> None:
    service = Sns()
    for number in range(2):
        opened = {"eventType": "Open", "mail": MAIL, "open": {"timestamp": "2026-11-23T01:14:55.000Z"}}
        assert service.send(opened, version, MessageId=f"m{number}") == 200
    assert service.fetched == [CERTIFICATE]
    first, second = service.asked.touchpoints()
    assert (first["type"], ids(first)) == ("email_opened", ["email:a@b.c", "user_id:u1"])
    assert (first["occurred_at"], first["event_id"], second["event_id"]) == (
        1_795_396_495_000,
        "m0:0",
        "m1:0",
    )


@pytest.mark.parametrize(
    ("fields", "change"),
    [
        ({}, {"Message": "{}"}), ({}, {"Signature": "AAAA"}), ({}, {"Signature": "?"}),
        ({}, {"Signature": "é"}),
        ({"TopicArn": "arn:aws:sns:eu-west-1:2:theirs"}, {}), ({"Type": "Other"}, {}),
        ({"SigningCertURL": "https://sns.eu-west-1.amazonaws.com.evil.example/x.pem"}, {}),
        ({"SigningCertURL": "http://sns.eu-west-1.amazonaws.com/x.pem"}, {}),
        ({"Timestamp": "2020-01-01T00:00:00.000Z"}, {}),
    ],
)  # fmt: skip
def test_what_sns_did_not_sign_is_refused(fields: dict[str, Any], change: dict[str, Any]) -> None:
    service = Sns()
    assert service.send({"eventType": "Open", "mail": MAIL}, change=change, **fields) == 401
    assert service.asked.outlet.records == []
    assert all(url == CERTIFICATE for url in service.fetched)


def test_a_subscription_is_confirmed_at_sns_only() -> None:
    service = Sns()
    url = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"
    fields = {"Type": "SubscriptionConfirmation", "Token": "t"}
    assert service.send("", SubscribeURL=url, **fields) == 200
    assert service.fetched == [CERTIFICATE, url]
    assert service.send("", SubscribeURL="https://evil.example/", **fields) == 401
    assert len(service.fetched) == 2


def test_a_redirect_is_not_followed() -> None:
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/within")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(OSError, match="302"):
            fetch(f"http://127.0.0.1:{server.server_port}/certificate.pem")
        server.shutdown()
    assert asked == ["/certificate.pem"]


@pytest.mark.parametrize(
    "url",
    ["https://sns.us-east-1.amazonaws.com@evil.example/a.pem", "https://sns..amazonaws.com/a.pem",
     "https://[/a.pem",
     "https://sns.us-east-1.amazonaws.com:8443/a.pem", "file:///etc/passwd", ""],
)  # fmt: skip
def test_only_hosts_of_sns_are_asked(url: str) -> None:
    assert not is_of_sns(url)


@pytest.mark.parametrize(
    ("message", "type_", "consent"),
    [
        ({"eventType": "Bounce", "bounce": {"bouncedRecipients": [{"emailAddress": "z@b.c"}]}},
         "email_bounced", {}),
        ({"notificationType": "Bounce", "bounce": {"bounceType": "Transient"}}, "email_deferred", {}),
        ({"notificationType": "Complaint", "complaint": {}}, "email_complained", {"marketing": False}),
        ({"eventType": "Click", "click": {"link": "http://x"}}, "email_clicked", {}),
        ({"eventType": "Open", "open": {"userAgent": "Mozilla/5.0"}}, "email_machine_opened", {}),
        ({"eventType": "Subscription", "subscription": {"newTopicPreferences": {"unsubscribeAll": True}}},
         "email_unsubscribed", {"marketing": False}),
        ({"eventType": "Subscription", "subscription": {}}, "email_preferences_changed", {}),
        ({"eventType": "DeliveryDelay", "deliveryDelay": {}}, "email_deferred", {}),
    ],
)  # fmt: skip
def test_events_of_ses(message: dict[str, Any], type_: str, consent: dict[str, bool]) -> None:
    service = Sns()
    assert service.send({"mail": MAIL, **message}) == 200
    [found] = service.asked.touchpoints()
    assert (found["type"], found["consent"]) == (type_, consent)
    assert ids(found)[0] == ("email:z@b.c" if "bouncedRecipients" in str(message) else "email:a@b.c")


def test_a_webhook_without_its_secret_is_not_there() -> None:
    assert Asked().ask("POST", "/webhooks/mailgun", {}).status == 404
