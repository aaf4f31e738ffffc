"""`elo reconcile --to-rejected` for more letters than the client has room for."""

from __future__ import annotations

import pytest
from confluent_kafka import Message

from pipeline.cli import kafka
from pipeline.cli.options import CommandFailed
from pipeline.cli.reconcile import _keep
from pipeline.settings import Settings


def test_letters_wait_for_room_and_a_broker_that_takes_none_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = {
        "bootstrap.servers": "127.0.0.1:1", "queue.buffering.max.messages": 3, "message.timeout.ms": 200,
        "log_level": 0,
    }  # fmt: skip
    monkeypatch.setattr(kafka, "client_config", lambda *_, **__: config)
    lost = [Message(topic="touchpoints.web", partition=0, offset=number, value=b"{}") for number in range(7)]
    with pytest.raises(CommandFailed, match="does not take all letters"):
        _keep(Settings(), lost)
