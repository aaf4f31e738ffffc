"""One deployment on the broker of the tests: `elo` with its prefix, and Kafka from outside."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from pipeline.cli.app import app
from pipeline.cli.options import run_app

ROOT: Final = Path(__file__).resolve().parents[2]
KAFKA_S: Final = 10
ANA: Final = {"type": "email", "value": "ana@example.com"}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Elo = Callable[..., Done]
"""Runs a command against a deployment, as a user would."""


class Deployment:
    """One prefix on the broker: `elo` with it, and Kafka from outside."""

    def __init__(self, bootstrap: str, prefix: str, capture: pytest.CaptureFixture[str]) -> None:
        self.bootstrap, self.prefix, self.capture = bootstrap, prefix, capture
        self.options = ("--bootstrap", bootstrap, "--topic-prefix", prefix)
        self.producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})

    def elo(self, *arguments: object, stdin: bytes | None = None) -> Done:
        """Run a command in this process."""
        self.capture.readouterr()
        before = sys.stdin
        if stdin is not None:
            sys.stdin = io.TextIOWrapper(io.BytesIO(stdin))
        try:
            code = run_app(app, [*self.options, *(str(argument) for argument in arguments)])
        finally:
            sys.stdin = before
        return Done(code, *self.capture.readouterr())

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in a process of its own."""
        called = [sys.executable, "-m", "pipeline", *arguments, *self.options]
        return subprocess.Popen(
            called,
            cwd=ROOT,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def send(self, topic: str, value: bytes | None, key: str = "k", partition: int = 0, **more: Any) -> None:
        """Put a record on a topic, outside any transaction."""
        self.producer.produce(self.prefix + topic, value, key.encode(), partition, **more)
        assert self.producer.flush(10) == 0

    def read(self, topic: str) -> list[Message]:
        """Everything committed on a topic, partition by partition."""
        consumer = Consumer({
            "bootstrap.servers": self.bootstrap, "group.id": "test", "enable.partition.eof": True,
            "auto.offset.reset": "earliest", "enable.auto.commit": False,
        })  # fmt: skip
        name = self.prefix + topic
        numbers = consumer.list_topics(name, KAFKA_S).topics[name].partitions
        consumer.assign([TopicPartition(name, number, 0) for number in numbers])
        found: list[Message] = []
        ended = 0
        while ended < len(numbers):
            message = consumer.poll(KAFKA_S)
            assert message is not None
            if message.error() is None:
                found.append(message)
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF
                ended += 1
        consumer.close()
        return sorted(found, key=lambda message: (message.partition(), message.offset()))


def touchpoint(number: int = 1, **fields: Any) -> dict[str, Any]:
    """A touchpoint as a source writes it, from the web unless `fields` say otherwise."""
    return {
        "event_id": f"e{number}",
        "source": "web",
        "type": "page_viewed",
        "occurred_at": 1_760_000_000_000,
        "identifiers": [ANA],
        **fields,
    }


def lines(*documents: object) -> bytes:
    """JSON Lines; bytes are a line as they are."""
    return b"".join(
        (document if isinstance(document, bytes) else json.dumps(document).encode()) + b"\n"
        for document in documents
    )
