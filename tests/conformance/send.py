"""Calls of one Python SDK for one person; runs in the environment of the SDKs, without Elo.

Everybody is identified, completes one order, views a page and a screen, joins a group, was anonymous before.
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from typing import Any

PATIENCE_S = 20
LARGE = {"text": "x" * 40_000}  # above the 32 KiB of one event that the collector takes


def segment(analytics: Any, orders: dict[str, Any]) -> None:
    """Segment's and RudderStack's: one module, the same calls."""
    person, host = orders["person"], orders["host"]
    analytics.write_key = "wk"
    analytics.host = analytics.dataPlaneUrl = host
    analytics.gzip = orders["gzip"]
    analytics.identify(person, {"email": f"{person}@example.com", "city": "Madrid"})
    analytics.track(person, "Order Completed", {"total": 3.5})
    if orders["oversize"]:
        analytics.track(person, "Photo Sent", LARGE)
    analytics.page(person, "Docs", "Home")
    analytics.screen(person, "Docs", "Main")
    analytics.group(person, "g1", {"name": "Acme", "email": "office@example.com"})
    analytics.alias(f"anon-{person}", person)
    analytics.flush()
    analytics.shutdown()


def posthog(orders: dict[str, Any]) -> None:
    """PostHog's."""
    from posthog import Posthog

    person = orders["person"]
    client = Posthog("wk", host=orders["host"], gzip=orders["gzip"])
    client.set(distinct_id=person, properties={"email": f"{person}@example.com", "city": "Madrid"})
    client.capture("Order Completed", distinct_id=person, properties={"total": 3.5})
    if orders["oversize"]:
        client.capture("Photo Sent", distinct_id=person, properties=LARGE)
    client.capture("$pageview", distinct_id=person, properties={"$current_url": "http://x/y"})
    client.alias(f"anon-{person}", person)
    client.shutdown()


def snowplow(orders: dict[str, Any]) -> None:
    """Snowplow's: the app id is the write key."""
    from snowplow_tracker import Emitter, PageView, SelfDescribing, SelfDescribingJson, Subject, Tracker

    address, _, port = orders["host"].removeprefix("http://").partition(":")
    subject = Subject()
    subject.set_user_id(orders["person"])
    subject.set_domain_user_id(f"anon-{orders['person']}")
    emitter = Emitter(address, protocol="http", port=int(port), batch_size=10)
    tracker = Tracker("ns", emitters=[emitter], subject=subject, app_id="wk")
    schema = "iglu:com.acme/order_completed/jsonschema/1-0-0"
    tracker.track(SelfDescribing(SelfDescribingJson(schema, {"total": 3.5})))
    if orders["oversize"]:
        tracker.track(
            SelfDescribing(SelfDescribingJson(schema.replace("order_completed", "photo_sent"), LARGE))
        )
    tracker.track(PageView(page_url="http://x/y", page_title="Home"))
    tracker.flush()
    deadline = time.monotonic() + PATIENCE_S
    while emitter.event_store.size() and time.monotonic() < deadline:
        time.sleep(0.1)  # what was refused is sent again by a timer


def main() -> None:
    """Do what the one argument says, by a clock that may be wrong."""
    import time_machine

    orders = json.loads(sys.argv[1])
    wrong = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=orders["skew_s"])
    with time_machine.travel(wrong, tick=True):
        if orders["sdk"] == "posthog":
            posthog(orders)
        elif orders["sdk"] == "snowplow-tracker":
            snowplow(orders)
        elif orders["sdk"] == "rudder-sdk-python":
            import rudderstack.analytics

            segment(rudderstack.analytics, orders)
        else:
            import segment.analytics as module

            globals()["segment"](module, orders)


if __name__ == "__main__":
    main()
