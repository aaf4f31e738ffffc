"""The AsyncAPI document is what the code declares: topics, directions, settings and schemas."""

from __future__ import annotations

import json

import pytest

from pipeline.topics import Topics
from pipeline.wire import asyncapi
from pipeline.wire.registry import default_registry
from tests.support.doc_tables import ASYNCAPI_FILE
from tests.support.doc_tables import asyncapi as printed

DOCUMENT = json.loads(ASYNCAPI_FILE.read_text("utf-8"))


def test_the_file_is_what_the_code_prints() -> None:
    assert ASYNCAPI_FILE.read_text("utf-8") == printed(), "run make docs"


def test_it_has_every_topic_with_its_cleanup_and_size() -> None:
    channels = {channel["address"]: channel for channel in DOCUMENT["channels"].values()}
    assert set(channels) == {spec.name for spec in Topics().specs()}
    for spec in Topics().specs():
        told = channels[spec.name]["bindings"]["kafka"]["topicConfiguration"]
        assert ",".join(told["cleanup.policy"]) == spec.config.get("cleanup.policy", "delete")
        for name in ("retention.ms", "max.message.bytes"):
            assert str(told.get(name)) == spec.config.get(name, "None")


def test_every_registered_schema_is_the_payload_of_its_topics() -> None:
    for versions in default_registry().by_subject.values():
        newest = versions[-1]
        message = DOCUMENT["components"]["messages"][newest.subject]
        assert message["payload"]["schema"] == newest.raw
        for topic in newest.topics:
            assert list(DOCUMENT["channels"][topic.replace(".", "-")]["messages"]) == [newest.subject]


def test_inputs_are_received_outputs_are_sent_and_every_reference_leads_somewhere() -> None:
    operations = DOCUMENT["operations"]
    assert operations["receive-touchpoints-web"]["action"] == "receive"
    assert operations["send-segments-membership"]["action"] == "send"
    assert not any(name.endswith("elo-state") for name in operations)
    for operation in operations.values():
        assert operation["channel"]["$ref"].removeprefix("#/channels/") in DOCUMENT["channels"]
    for channel in DOCUMENT["channels"].values():
        for message in channel["messages"].values():
            assert message["$ref"].rpartition("/")[2] in DOCUMENT["components"]["messages"]


def test_a_topic_that_nobody_described_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    described = asyncapi._channels(Topics())
    monkeypatch.setattr(
        asyncapi, "_channels", lambda topics: {k: v for k, v in described.items() if k != topics.merges}
    )
    with pytest.raises(KeyError, match=r"profiles\.merges"):
        asyncapi.asyncapi_document("1")
