"""Signatures that the providers made themselves: messages and keys of their own libraries' tests.

Those of SendGrid and HubSpot are beside the other tests of theirs.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from connectors.collect import mailgun, ses
from connectors.collect.mailgun import Mailgun
from connectors.collect.ses import Ses
from tests.support.collect import Asked

FOR_EVER_MS: Final = 100 * 365 * 86_400_000

# -- SNS: aws-sdk-ruby, message_verifier_spec.rb. The certificate is one that SNS used in 2022. -------------
CERTIFICATE_URL: Final = (
    "https://sns.us-east-2.amazonaws.com/SimpleNotificationService-7ff5318490ec183fbaddaa2a969abfda.pem"
)
TOPIC: Final = "arn:aws:sns:us-east-2:295079676684:publish-and-verify"
CERTIFICATE: Final = b"""-----BEGIN CERTIFICATE-----
MIIF1zCCBL+gAwIBAgIQB9pYWG3Mi7xej22g9pobJTANBgkqhkiG9w0BAQsFADBG
MQswCQYDVQQGEwJVUzEPMA0GA1UEChMGQW1hem9uMRUwEwYDVQQLEwxTZXJ2ZXIg
Q0EgMUIxDzANBgNVBAMTBkFtYXpvbjAeFw0yMTA5MDcwMDAwMDBaFw0yMjA4MTcy
MzU5NTlaMBwxGjAYBgNVBAMTEXNucy5hbWF6b25hd3MuY29tMIIBIjANBgkqhkiG
9w0BAQEFAAOCAQ8AMIIBCgKCAQEAutFqueT3XgP13udzxE6UpbdjOtVO5DwoMpSM
iDNMnGzF1TYH5/R2LPUOBeTB0SkKnR4kpNcUZhicpGD4aKciz/GEZ6wu65xncfT9
H/KBOQwoXYTuClHwp6fYpGzcGFaFoEYMnijL/o4qmTSd+ukglQUgKpsDw4ofw6rU
m2CttJo+GQSNQ9NfGR1h/0J+zsApkeSYrXRx5wNlu87z8os1C/6PBrUHwt3xXeaf
Xzfwut8aRRYsS8BySOA9DAgLfNHlfdQCjKPXKrG/ussgReyWD6n/HH+j7Uha3xos
TzQqJifcxlTq6MxWdPR6fDaJNvqw6DOE7UjUNxHguXHlVfxhlQIDAQABo4IC6TCC
AuUwHwYDVR0jBBgwFoAUWaRmBlKge5WSPKOUByeWdFv5PdAwHQYDVR0OBBYEFAqz
C+vyouneE7mWWLbi9i0UsWUbMBwGA1UdEQQVMBOCEXNucy5hbWF6b25hd3MuY29t
MA4GA1UdDwEB/wQEAwIFoDAdBgNVHSUEFjAUBggrBgEFBQcDAQYIKwYBBQUHAwIw
OwYDVR0fBDQwMjAwoC6gLIYqaHR0cDovL2NybC5zY2ExYi5hbWF6b250cnVzdC5j
b20vc2NhMWIuY3JsMBMGA1UdIAQMMAowCAYGZ4EMAQIBMHUGCCsGAQUFBwEBBGkw
ZzAtBggrBgEFBQcwAYYhaHR0cDovL29jc3Auc2NhMWIuYW1hem9udHJ1c3QuY29t
MDYGCCsGAQUFBzAChipodHRwOi8vY3J0LnNjYTFiLmFtYXpvbnRydXN0LmNvbS9z
Y2ExYi5jcnQwDAYDVR0TAQH/BAIwADCCAX0GCisGAQQB1nkCBAIEggFtBIIBaQFn
AHYAKXm+8J45OSHwVnOfY6V35b5XfZxgCvj5TV0mXCVdx4QAAAF7vfDVkQAABAMA
RzBFAiEA2XfHuy36aqRFiaL8c3md2mH451go8707+fRE0pEdSRACIE/g5FXTUXUZ
PFcmOhm9TZ+uMY1i4CIQ/CKVWln6C3t+AHYAUaOw9f0BeZxWbbg3eI8MpHrMGyfL
956IQpoN/tSLBeUAAAF7vfDVjAAABAMARzBFAiBF1MhhFP0+FQt3daDFfMYoWwnr
muTInrjNpwfzlvQBugIhAPYadFzr+LaxSJoiZEbEHBvTts7bT0M3eCQONA2O7w6n
AHUAQcjKsd8iRkoQxqE6CUKHXk4xixsD6+tLx2jwkGKWBvYAAAF7vfDVdAAABAMA
RjBEAiAtPapmFAuA71ih4NoSd5hJelzAltNQpxDMcDfDyHyU8gIgWxmaa6+2KbBu
9xdv379zvnJACFR7jc+4asl08Dn4aagwDQYJKoZIhvcNAQELBQADggEBAA54QX0u
oFWXfMmv02CGZv4NWo5TapyeeixQ2kKpZHRdVZjxZrw+hoF6HD7P3kGjH8ztyJll
tDxB0qgMltbPhQdScwhA6iTgoaBYqEUC/VHKd4PmmPT6yIsM36NBZVmkGlzl5uNo
/dBgBaG0SsVJnhr5zro3c2quC7n6fVGEZhf/UgQwRnnvThnvbNKguglDMq4uEqv8
njKyleht+glkcmXO0m9qLKt6BOS0amy6U2GlAwRn0Wx02ndJtnRCSC6kPuRWK/SQ
FEjB7gCK4hdKaAOuWdZpI55vF6ifOeM8toC3g7ofO8qLTnJupAG+ZitY5J3cvHWr
HqOUdKigPDHYLRo=
-----END CERTIFICATE-----
"""
NOTIFICATIONS: Final[tuple[dict[str, Any], ...]] = (
    {
        "Type": "Notification",
        "MessageId": "792cda85-518f-5dd3-9163-81d851212f3a",
        "TopicArn": f"{TOPIC}-892f85fe-4836-424d-8188-ab85bef0f362",
        "Message": "Hello world",
        "Timestamp": "2022-07-28T21:23:58.317Z",
        "SignatureVersion": "1",
        "Signature": (
            "ghtf+deOBAzHJJZ6s6CdRLfTQAlcGzq9naoFM1wi0CJiq//uVRuZnamrkWNF0fhouMFvuLVRwcz8PZLUMSfnmd5VpdTKpTyi"
            "Kmy1qJAZXma0w+yi7G+I33hD1Jyk1Nbym2n0kqp3fVu2aoooiN2ZeLAT2bH0/BtjLSfN1yAOKNoprco4qV9gGUZinXJdj9a1"
            "YdNhDR2jKi33ldlsVtEXAtiaDklGEk7DgRKX38GerBPiLg3FdtgY6KC7cdeGpU/dGK+4hjc83Ive1HoFkAwqhpgInM2sMytB"
            "osoiXfCmOKmU4xeGD0gHDNZTlJUJQDlzw8Eag0H9f/5zXF9d3uy0YQ=="
        ),
        "SigningCertURL": CERTIFICATE_URL,
    },
    {
        "Type": "Notification",
        "MessageId": "17dea24b-55c2-540b-8362-f916557af765",
        "TopicArn": f"{TOPIC}-62674b1d-4295-426b-88e7-5fb75652a04e",
        "Message": "Hello world",
        "Timestamp": "2022-07-28T21:24:08.324Z",
        "SignatureVersion": "2",
        "Signature": (
            "CXVqp9PfZAL+4JHS3Zxo1PFbQsvnOjvmYhtIf17TWpwc+iIVas8kZ8GopuzVzVMdatE7rCl/O4P91Zp05Dwz8lk8dLhfp8gS"
            "u3Njlzxlyrmzo9x3va3Jb7zFnedgS2GKnZWHGBdwTXho+TosNUE+3e10OMSlwN5XGDwX7+R3WL+rn+AXmFAqp3alg27sYa55"
            "h1dLE9cGszGPjScPdtF3BmZsUDMx9wSdNKsCk+vSvE8yBjnCmUl7laSFj3LzPVrlSwgNYCF3kYnNAkah7NplK4SFhJYLwS0H"
            "CVCQJKa8rVbQLf9cBTu60U402mrgy0bN8xWoyimzbYbrOMJjalqkUg=="
        ),
        "SigningCertURL": CERTIFICATE_URL,
    },
)


def from_sns(notification: dict[str, Any]) -> tuple[int, str]:
    """Status and message of the answer to what SNS has sent."""
    topics = tuple(str(one["TopicArn"]) for one in NOTIFICATIONS)
    asked = Asked(webhooks={"/webhooks/ses": Ses(topics, "marketing", lambda url: CERTIFICATE)})
    answer = asked.ask("POST", "/webhooks/ses", json.dumps(notification).encode())
    return answer.status, answer.document.get("message", "")


@pytest.mark.parametrize("notification", NOTIFICATIONS, ids=["version 1", "version 2"])
def test_what_sns_signed_is_taken_and_nothing_else(
    notification: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert from_sns(notification) == (401, "the message is too late")  # but it is of SNS
    monkeypatch.setattr(ses, "LATE_MS", FOR_EVER_MS)
    assert from_sns(notification)[0] == 200
    other = "1" if notification["SignatureVersion"] == "2" else "2"
    for change in (
        {"Message": "Hello World"}, {"MessageId": "x"}, {"Timestamp": "2022-07-28T21:23:58.318Z"},
        {"Subject": "added"}, {"SignatureVersion": other}, {"TopicArn": NOTIFICATIONS[0]["TopicArn"][:-1]},
    ):  # fmt: skip
        assert from_sns({**notification, **change})[0] == 401, change


# -- Mailgun: mailgun-php, WebhookTest.php ------------------------------------------------------------------
MAILGUN_KEY: Final = "key-3ax6xnjp29jd6fds4gc373sgvjxteol0"
MAILGUN: Final = {
    "timestamp": "1403645220",
    "token": "5egbgr1vjgqxtrnp65xfznchgdccwh5d6i09vijqi3whgowmn6",
    "signature": "9cfc5c41582e51246e73c88d34db3af0a3a2692a76fbab81492842f000256d33",
}


def from_mailgun(**change: str) -> tuple[int, str]:
    asked = Asked(webhooks={"/webhooks/mailgun": Mailgun(MAILGUN_KEY, "marketing")})
    event = {"event": "opened", "recipient": "a@b.c", "id": "e1", "timestamp": 1_403_645_220}
    document = {"signature": {**MAILGUN, **change}, "event-data": event}
    answer = asked.ask("POST", "/webhooks/mailgun", document)
    assert len(asked.touchpoints()) == (answer.status == 200)
    return answer.status, answer.document.get("message", "")


def test_what_mailgun_signed_is_taken_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert from_mailgun() == (401, "the request is too late")
    monkeypatch.setattr(mailgun, "LATE_MS", FOR_EVER_MS)
    assert from_mailgun()[0] == 200
    other = "owyldpe6nxhmrn78epljl6bj0orrki1u3d2v5e6cnlmmuox8jr"  # of the same test: it must not verify
    assert from_mailgun(token=other)[0] == 401
    assert from_mailgun(timestamp="1403645221")[0] == 401
    assert from_mailgun(signature="")[0] == 401
