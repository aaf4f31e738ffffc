"""Unmodified SDKs against `elo collect`, a real broker and a worker: what arrives in the profile in the end.

`make conformance` runs them; they install the SDKs and take some minutes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conformance.browser import PAGES, missing_browser, show
from tests.conformance.relay import relay
from tests.conformance.sdks import SDKS, Sdk, install_node, missing, send
from tests.support.collector import CollectorProcess, make_collector
from tests.support.fleet import Fleet
from tests.support.kafka import Kafka
from tests.support.site import Site

pytestmark = pytest.mark.conformance
DAY_S: Final = 86_400
WAYS: Final[dict[str, dict[str, Any]]] = {
    "plainly": {},
    "gzip": {"gzip": True},
    "after 503 and 429": {"refuse": (503, 429)},
    "twice": {"twice": True},
    "one event too large": {"oversize": True},
    "clock 3 days ahead": {"skew_s": 3 * DAY_S},
    "clock 3 days behind": {"skew_s": -3 * DAY_S},
}


@pytest.fixture(scope="module")
def site(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A worker with a segment of those who have just bought."""
    fleet = Fleet(
        kafka.bootstrap, f"sdk{time.time_ns()}.", tmp_path_factory.mktemp("sdk"), profile_interval_ms=200
    )
    site = Site(fleet.create_topics(3))
    site.define("buyers", {"event": "order_completed", "where": {"total": 3.5}, "within": "1h"})
    site.start()
    yield site
    site.stop()
    fleet.close()
    fleet.delete_topics()


@pytest.fixture(scope="module")
def collector(site: Site) -> CollectorProcess:
    return make_collector(site.fleet, write_keys="wk:secret=web")  # Jitsu wants a colon


def applies(sdk: Sdk, way: str) -> bool:
    """Whether an SDK can be asked for it: some never pack, never send again, drop large events themselves."""
    able = {"gzip": sdk.gzip != "never", "refuse": sdk.retries, "oversize": sdk.sends_large}
    return all(able.get(name, True) for name in WAYS[way])


ASKED: Final = [
    pytest.param(sdk, way, id=f"{sdk.name} {way}") for sdk in SDKS for way in WAYS if applies(sdk, way)
]


@pytest.mark.parametrize(("sdk", "way"), ASKED)
def test_what_an_sdk_sends_is_in_the_profile_once(
    site: Site, collector: CollectorProcess, sdk: Sdk, way: str
) -> None:
    how = WAYS[way]
    if why := missing(sdk):
        pytest.skip(why)
    person = f"{sdk.name.strip('@').replace('/', '-')}-{list(WAYS).index(way)}"
    letters, before_ms = rejected(site), time.time_ns() // 1_000_000
    of_network = {name: how[name] for name in ("refuse", "twice") if name in how}
    with relay(collector.port, **of_network) as line:
        send(sdk, line.host, person, **{name: how[name] for name in how if name not in of_network})
    assert line.packed == line.requests * (sdk.gzip == "always" or "gzip" in how)
    site.fleet.wait_idle()
    after_ms = time.time_ns() // 1_000_000
    profile = site.profile(f"user_id:{person}")
    assert profile["counters"] == dict.fromkeys(sdk.calls, 1)
    assert before_ms - 5_000 <= profile["first_seen"] <= profile["last_seen"] <= after_ms + 5_000
    assert list(profile["memberships"]) == ["buyers"]
    names = [f"{entry['type']}:{entry['value']}" for entry in profile["identifiers"]]
    if "aliased" in sdk.calls:
        assert f"anonymous_id:anon-{person}" in names
    if sdk.has_traits:
        assert f"email:{person}@example.com" in names
        assert profile["traits"]["city"] == "Madrid"
    assert "office@example.com" not in str(profile)  # the group's
    refused = [reason for _, _, reason in rejected(site) - letters]
    assert refused == ["too_large"] * ("oversize" in how)


def rejected(site: Site) -> set[tuple[int | None, int | None, str]]:
    """Where each letter lies, and its reason."""
    return {
        (letter.partition(), letter.offset(), dict(letter.headers() or [])["elo.reason"].decode())
        for letter in site.fleet.read("touchpoints.rejected")
    }


@pytest.mark.parametrize("sdk", PAGES)
def test_what_a_page_sends_from_another_origin_is_in_the_profile(
    site: Site, collector: CollectorProcess, sdk: str, tmp_path: Path
) -> None:
    if why := missing_browser() or missing(Sdk(sdk, "node")):
        pytest.skip(why)
    install_node()
    person = f"browser-{sdk.strip('@').replace('/', '-')}"
    show(sdk, f"http://127.0.0.1:{collector.port}", person, tmp_path)
    site.fleet.wait_idle()
    profile = site.profile(f"user_id:{person}")
    assert profile["counters"] == {"identified": 1, "order_completed": 1, "page_viewed": 1, "grouped": 1}
    types = {entry["type"] for entry in profile["identifiers"]}
    assert types == {"user_id", "email", "anonymous_id"}
    assert profile["traits"]["city"] == "Madrid"
    assert list(profile["memberships"]) == ["buyers"]
    assert "office@example.com" not in str(profile)
