"""A consumer of the transport with a client that does what a test says: no broker, no Faust worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException
from faust.types.tuples import TP

from pipeline.transport import Consumer, TransportOptions, create_app


class Record:
    """A record, or an error, as the client hands it out."""

    def __init__(self, topic: str, partition: int, offset: int, error: KafkaError | None = None) -> None:
        self._at, self._offset, self._error = (topic, partition), offset, error

    def topic(self) -> str:
        return self._at[0]

    def partition(self) -> int:
        return self._at[1]

    def offset(self) -> int:
        return self._offset

    def error(self) -> KafkaError | None:
        return self._error

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_000

    def __len__(self) -> int:
        return 100


class Client:
    """A client that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[tuple[str, int, int]]]] = []
        self.refuse_seek = False
        self.member = "member"
        self.commit_error: KafkaError | None = None
        self.on_commit: Callable[..., None] = lambda error, parts: None

    def __getattr__(self, name: str) -> Callable[[list[Any]], None]:
        return lambda parts: self.note(name, parts)

    def note(self, name: str, parts: list[Any]) -> None:
        self.calls.append((name, [(p.topic, p.partition, p.offset) for p in parts]))

    def seek(self, part: Any) -> None:
        if self.refuse_seek:
            raise KafkaException(KafkaError(KafkaError._STATE))
        self.note("seek", [part])

    def commit(self, offsets: list[Any], asynchronous: bool) -> None:
        assert asynchronous, "anything else makes polling wait"
        self.note("commit", offsets)
        asyncio.get_running_loop().call_soon(self.on_commit, self.commit_error, offsets)

    def unsubscribe(self) -> None:
        self.calls.append(("unsubscribe", []))

    def memberid(self) -> str:
        return self.member

    def poll(self, timeout: float) -> None:
        """The request to leave goes out."""
        self.calls.append(("poll", []))
        self.member = ""

    def close(self) -> None:
        self.calls.append(("close", []))

    def named(self, name: str) -> list[list[tuple[str, int, int]]]:
        return [parts for call, parts in self.calls if call == name]


class Bench:
    """A consumer with a fake client; what it hands over lands in `messages`."""

    def __init__(self, **options: Any) -> None:
        self.assigned: list[set[TP]] = []
        self.revoked: list[set[TP]] = []
        app = create_app(
            "bench",
            "nowhere:1",
            TransportOptions(
                "bench",
                **{
                    "on_assigned": self.assigned.append,
                    "on_revoked": self.revoked.append,
                    "end_delay_ms": 0,
                    **options,
                },
            ),
        )
        self.app = app
        self.consumer: Consumer = app.consumer
        self.client = self.consumer._client = Client()
        self.client.on_commit = self.consumer._on_commit
        self.consumer._followers = {"touches": ["mail"]}
        self.messages: list[Any] = []
        self.consumer.callback = self.receive

    async def receive(self, message: Any) -> None:
        self.messages.append(message)

    def assign(self, *tps: tuple[str, int]) -> None:
        """A rebalance that Faust has carried out."""
        self.consumer._on_assign(self.client, [ck.TopicPartition(*tp) for tp in tps])
        self.settle()

    def revoke(self, *tps: tuple[str, int]) -> None:
        self.consumer._on_revoke(self.client, [ck.TopicPartition(*tp) for tp in tps])
        self.settle()

    def settle(self) -> None:
        """What Faust does at the end of a rebalance."""
        self.consumer._told_generation = self.consumer._generation
        self.app.flow_control.resume()
        self.consumer.resume_flow()

    async def poll(self, *records: Record) -> list[Any]:
        """One turn of the pump. Returns: the batches handed over."""
        before = len(self.messages)
        self.consumer._sort(list(records))
        await self.consumer._hand_over()
        return [message.value for message in self.messages[before:]]

    def finish(self) -> None:
        """The agents take and acknowledge everything."""
        for message in self.messages:
            message.tracked = message.acked = True


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def raw(partition: int, *offsets: int) -> list[Record]:
    return [Record("raw", partition, offset) for offset in offsets]


def end(partition: int, offset: int) -> Record:
    return Record("raw", partition, offset, KafkaError(KafkaError._PARTITION_EOF))
