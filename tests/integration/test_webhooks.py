"""Webhooks of a CRM and of an e-mail provider through the whole pipeline: what becomes of the person."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.collector import CollectorProcess, make_collector
from tests.support.fleet import ROOT, Fleet
from tests.support.kafka import Kafka
from tests.support.site import Site

SECRET: Final = "s3cret"
POLICY: Final = (ROOT / "pipeline/defaults/identity.yaml").read_text("utf-8")


@pytest.fixture(scope="module")
def site(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A worker whose policy knows contacts of HubSpot, with a segment of those who may be written to."""
    directory = tmp_path_factory.mktemp("webhooks")
    policy = directory / "identity.yaml"
    policy.write_text(POLICY.replace("  email: ", "  hubspot_id:   {limit: 1}\n  email: ", 1))
    prefix = f"webhooks{time.time_ns()}."
    fleet = Fleet(kafka.bootstrap, prefix, directory, profile_interval_ms=200, identity=policy)
    site = Site(fleet.create_topics(2))
    site.define("reachable", {"trait": "city", "is": "Madrid"}, purpose="marketing")
    site.start()
    yield site
    site.stop()
    fleet.close()
    fleet.delete_topics()


@pytest.fixture(scope="module")
def collector(site: Site) -> CollectorProcess:
    return make_collector(site.fleet, hubspot_secret=SECRET, mailgun_key=SECRET)


def post(collector: CollectorProcess, path: str, body: bytes, headers: dict[str, str]) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{collector.port}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def from_hubspot(collector: CollectorProcess, *events: dict[str, Any], secret: str = SECRET) -> int:
    now_ms = time.time_ns() // 1_000_000
    common = {"portalId": 1, "subscriptionId": 2, "occurredAt": now_ms}
    body = json.dumps([{**common, "eventId": now_ms + n, **one} for n, one in enumerate(events)]).encode()
    signed = f"POSThttp://127.0.0.1:{collector.port}/webhooks/hubspot".encode() + body + str(now_ms).encode()
    signature = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
    headers = {"X-HubSpot-Request-Timestamp": str(now_ms), "X-HubSpot-Signature-v3": signature}
    return post(collector, "/webhooks/hubspot", body, headers)


def change(number: int, name: str, value: str) -> dict[str, Any]:
    return {"subscriptionType": "contact.propertyChange", "objectId": number, "propertyName": name,
            "propertyValue": value}  # fmt: skip


def from_mailgun(collector: CollectorProcess, **event: Any) -> int:
    now_s, token = time.time(), f"t{time.time_ns()}"
    signature = hmac.new(SECRET.encode(), f"{now_s}{token}".encode(), hashlib.sha256).hexdigest()
    document = {
        "signature": {"timestamp": str(now_s), "token": token, "signature": signature},
        "event-data": {"id": token, "timestamp": now_s, "recipient": "rui@x.com", **event},
    }
    return post(collector, "/webhooks/mailgun", json.dumps(document).encode(), {})


def test_a_merge_in_the_crm_joins_two_people_and_a_privacy_deletion_is_a_request(
    site: Site, collector: CollectorProcess
) -> None:
    known = (change(7, "email", "ana@x.com"), change(7, "city", "Madrid"), change(8, "phone", "+34911234567"))
    assert from_hubspot(collector, *known) == 200
    site.fleet.wait_idle()
    before = [site.profile(f"hubspot_id:{number}")["profile_id"] for number in (7, 8)]
    assert len(set(before)) == 2
    merge = {"subscriptionType": "contact.merge", "primaryObjectId": 7, "mergedObjectIds": [8],
             "newObjectId": 9}  # fmt: skip
    assert from_hubspot(collector, merge, secret="wrong") == 401
    assert from_hubspot(collector, merge) == 200
    site.fleet.wait_idle()
    profile = site.profile("hubspot_id:9")
    names = {f"{one['type']}:{one['value']}" for one in profile["identifiers"]}
    assert names == {"hubspot_id:7", "hubspot_id:8", "hubspot_id:9", "email:ana@x.com", "phone:+34911234567"}
    assert set(before) <= {profile["profile_id"], *profile["aliases"]}

    assert from_hubspot(collector, {"subscriptionType": "contact.privacyDeletion", "objectId": 9}) == 200
    (request,) = site.fleet.read("privacy.requests")
    asked = json.loads(request.value() or b"")
    assert (request.key(), asked["action"], asked["by"]) == (b"hubspot_id:9", "erase", "hubspot")
    assert asked["identifier"] == {"type": "hubspot_id", "value": "9"}
    assert site.fleet.read("touchpoints.rejected") == []


def test_an_unsubscription_withdraws_the_consent_and_a_machine_proves_nothing(
    site: Site, collector: CollectorProcess
) -> None:
    who = {"email": "rui@x.com", "user_id": "u1"}
    site.send(site.touch("identified", *(f"{kind}:{value}" for kind, value in who.items()),
                         traits={"city": "Madrid"}, consent={"marketing": True}))  # fmt: skip
    assert list(site.profile("user_id:u1")["memberships"]) == ["reachable"]
    user = {"user-variables": {"user_id": "u1"}}
    assert from_mailgun(collector, event="opened", **user) == 200
    scanner = {"client-info": {"bot": "apple"}, "user-variables": {"user_id": "somebody-else"}}
    assert from_mailgun(collector, event="opened", **scanner) == 200
    assert from_mailgun(collector, event="unsubscribed", **user) == 200
    site.fleet.wait_idle()
    profile = site.profile("email:rui@x.com")
    assert profile["counters"] == {
        "identified": 1, "email_opened": 1, "email_machine_opened": 1, "email_unsubscribed": 1,
    }  # fmt: skip
    assert (profile["consent"], profile["memberships"]) == ({"marketing": False}, {})
    assert all("somebody-else" not in str(line) for line in site.fleet.dump())
    (left,) = [one for one in site.changes("reachable") if one["change"] == "exited"]
    assert left["cause"] == "consent"
