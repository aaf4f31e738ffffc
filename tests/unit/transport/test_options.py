"""Options refuse what cannot work, and pass everything else on to the client."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.transport import ConfigurationError, TransportOptions, create_app


def test_settings_of_the_user_win_over_defaults_and_never_over_what_the_transport_needs() -> None:
    options = TransportOptions(
        "elo", {"fetch.wait.max.ms": 7, "sasl.username": "u", "enable.partition.eof": True}
    )
    config = options.client_config("one:1,two:2")
    assert config["bootstrap.servers"] == "one:1,two:2"
    assert (config["group.id"], config["fetch.wait.max.ms"], config["sasl.username"]) == ("elo", 7, "u")
    assert config["enable.auto.commit"] is False
    assert (
        TransportOptions("elo", {"bootstrap.servers": "x:3"}).client_config("y:4")["bootstrap.servers"]
        == "x:3"
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"consumer_config": {"enable.auto.commit": True}}, "may not change enable.auto.commit"),
        ({"consumer_config": {"group.id": "x"}}, "set group_id"),
        ({"follows": {"mail": "touches", "touches": "raw"}}, "cannot lead: touches"),
        ({"follows": {"mail": "touches"}, "lone": {"decisions"}}, "must follow another: decisions"),
        ({"records_max": 0}, "at least 1"),
        ({"idle_sleep_ms_min": 9.0}, "idle_sleep_ms_min"),
    ],
)
def test_contradictions_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        TransportOptions("elo", **wrong)


def test_producer_and_admin_client_get_the_settings_that_reach_the_brokers() -> None:
    options = TransportOptions(
        "elo", {"security.protocol": "SSL", "ssl.ca.location": "/ca", "fetch.min.bytes": 5}
    )
    app = create_app("elo", "one:1, two:2", options)
    assert app.transport.connection_config() == {
        "bootstrap.servers": "one:1,two:2",
        "security.protocol": "SSL",
        "ssl.ca.location": "/ca",
    }
    assert app.producer_transport is app.transport
    assert app.conf.cython_optimizations
    assert app.conf.topic_disable_leader
