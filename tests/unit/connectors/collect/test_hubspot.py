"""HubSpot's webhooks: contacts, merges, erasures, and only what HubSpot signed for this address now."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any, Final

import pytest

from connectors.collect import hubspot
from connectors.collect.hubspot import HubSpot
from tests.support.collect import Answered, Asked, ids

NOW_S: Final = int(time.time())


def from_hubspot(
    asked: Asked, *events: dict[str, Any], at_ms: int | None = None, secret: str = "s", uri: str = ""
) -> Answered:
    timestamp = str(at_ms or time.time_ns() // 1_000_000)
    body = json.dumps(events).encode()
    signed = f"POST{uri or 'https://elo.example/webhooks/hubspot'}".encode() + body + timestamp.encode()
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    headers = {
        "host": "elo.example", "x-forwarded-proto": "https", "x-hubspot-request-timestamp": timestamp,
        "x-hubspot-signature-v3": base64.b64encode(digest).decode(),
    }  # fmt: skip
    return asked.ask("POST", "/webhooks/hubspot", body, headers)


def contact(kind: str, **fields: Any) -> dict[str, Any]:
    return {"subscriptionType": f"contact.{kind}", "objectId": 7, "portalId": 1, "subscriptionId": 2,
            "eventId": 3, "occurredAt": NOW_S * 1000, **fields}  # fmt: skip


def hubspot_asked() -> Asked:
    return Asked(webhooks={"/webhooks/hubspot": HubSpot("s", "privacy.requests", ("email", "phone"))})


def test_changes_of_a_contact_become_traits_and_identifiers() -> None:
    asked = hubspot_asked()
    changes = [
        contact("creation"), contact("propertyChange", propertyName="email", propertyValue="a@b.c"),
        contact("propertyChange", propertyName="city", propertyValue=""), contact("deletion"),
    ]  # fmt: skip
    assert from_hubspot(asked, *changes).status == 200
    created, email, city, deleted = asked.touchpoints()
    assert [one["type"] for one in (created, deleted)] == ["contact_created", "contact_deleted"]
    assert (ids(email), email["traits"]) == (["hubspot_id:7", "email:a@b.c"], {"email": "a@b.c"})
    assert (city["traits"], city["source"]) == ({"city": None}, "crm")


def test_a_merge_is_a_decision_and_a_privacy_deletion_a_request() -> None:
    asked = hubspot_asked()
    merge = contact("merge", primaryObjectId=7, mergedObjectIds=[8, 9], newObjectId=10)
    assert from_hubspot(asked, merge, contact("privacyDeletion"), {"subscriptionType": "x"}).status == 200
    merged, request, rejected = asked.outlet.records
    assert rejected.topic == "touchpoints.rejected"
    assert (request.topic, request.key) == ("privacy.requests", b"hubspot_id:7")
    document = json.loads(request.value)
    assert (document["action"], document["identifier"]) == ("erase", {"type": "hubspot_id", "value": "7"})
    assert merged.topic == "touchpoints.crm"
    asked.outlet.records = [merged]
    [found] = asked.touchpoints()
    assert (found["type"], ids(found)) == ("contact_merged", ["hubspot_id:10"])
    assert found["properties"]["merged"] == [
        {"type": "hubspot_id", "value": other} for other in ("7", "8", "9")
    ]


@pytest.mark.parametrize(
    "changes", [{"secret": "other"}, {"at_ms": NOW_S * 1000 - 400_000}, {"uri": "https://elo.example/other"}]
)
def test_what_hubspot_did_not_sign_for_us_now_is_refused(changes: dict[str, Any]) -> None:
    asked = hubspot_asked()
    assert from_hubspot(asked, contact("creation"), **changes).status == 401
    assert asked.outlet.records == []


def test_the_vector_of_hubspots_library_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """hubspot-api-python, test_signature.py. Its body is no JSON: 400 means a good signature."""
    monkeypatch.setattr(hubspot, "LATE_MS", 100 * 365 * 86_400_000)
    hook = HubSpot("yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy", "privacy.requests", ())
    asked = Asked(webhooks={"/webhook_uri": hook})
    headers = {
        "host": "www.example.com", "x-forwarded-proto": "https", "x-hubspot-request-timestamp": "15000000",
        "x-hubspot-signature-v3": "HPW73RUtKmcYoEDADG0s6MmGFWUzWJKAW07r8RDgcQw=",
    }  # fmt: skip
    assert asked.ask("POST", "/webhook_uri", b"{'example_field':'example_value'}", headers).status == 400
    assert asked.ask("POST", "/webhook_uri", b"{'example_field':'example_valuf'}", headers).status == 401
