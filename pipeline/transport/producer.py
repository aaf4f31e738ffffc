"""Faust's producer on confluent-kafka, made with the first message: without one, no connection.

It serves `topic.send()` and topic creation. It is not transactional; an app that writes in transactions, or
much, uses a confluent-kafka producer of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, cast

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException, admin
from faust.exceptions import ProducerSendError
from faust.transport.producer import Producer as FaustProducer
from faust.types import RecordMetadata
from faust.types.tuples import TP
from mode.utils.times import want_seconds

POLL_S = 0.005  # how often delivery reports are looked for while some are outstanding


class Producer(FaustProducer):
    """At-least-once, idempotent, `acks=all`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Made by Faust. Connection settings are those of the consumer that a producer knows too."""
        super().__init__(*args, **kwargs)
        self._client: Any = None
        self._outstanding = 0

    def _connection(self) -> dict[str, Any]:
        return dict(cast(Any, self.transport).connection_config())

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:
        """Queue one record.

        Returns: a future of its metadata; ProducerSendError if it cannot be delivered.
        """
        if self._client is None:
            self._client = ck.Producer({**self._connection(), "enable.idempotence": True, "linger.ms": 2})
            self.add_future(self._poll())
        done: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()

        def report(error: KafkaError | None, message: Any) -> None:
            self._outstanding -= 1
            if done.done():
                return
            if error is not None:
                done.set_exception(ProducerSendError(str(error)))
                return
            tp = TP(message.topic(), message.partition())
            done.set_result(
                RecordMetadata(
                    topic=tp.topic,
                    partition=tp.partition,
                    topic_partition=tp,
                    offset=message.offset(),
                    timestamp=message.timestamp()[1],
                    timestamp_type=message.timestamp()[0],
                )
            )

        extra: dict[str, Any] = {}
        if partition is not None:
            extra["partition"] = partition
        if timestamp:
            extra["timestamp"] = int(timestamp * 1000)
        if headers:
            extra["headers"] = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        self._client.produce(topic, value, key=key, on_delivery=report, **extra)
        self._outstanding += 1
        return done

    async def send_and_wait(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> RecordMetadata:
        """Send one record and wait for its delivery."""
        return await (await self.send(topic, key, value, partition, timestamp, headers))

    async def _poll(self) -> None:
        while not self.should_stop:
            self._client.poll(0)
            await asyncio.sleep(POLL_S if self._outstanding else POLL_S * 4)

    async def flush(self) -> None:
        """Wait until everything sent is delivered or refused."""
        if self.buffer.size:
            await self.buffer.flush()
        while self._outstanding:
            self._client.poll(0)
            await asyncio.sleep(POLL_S)

    async def on_stop(self) -> None:
        """Flush."""
        await self.flush()

    async def create_topic(
        self,
        topic: str,
        partitions: int,
        replication: int,
        *,
        config: Mapping[str, Any] | None = None,
        timeout: Any = 30.0,  # noqa: ASYNC109
        retention: Any = None,
        compacting: bool | None = None,
        deleting: bool | None = None,
        ensure_created: bool = False,
    ) -> None:
        """Create a topic if it does not exist yet. A topic that exists is left as it is."""
        settings = {name: str(value) for name, value in (config or {}).items()}
        if retention is not None:
            settings["retention.ms"] = str(int(want_seconds(retention) * 1000))
        policies = [name for name, wanted in (("compact", compacting), ("delete", deleting)) if wanted]
        if policies:
            settings["cleanup.policy"] = ",".join(policies)
        new_topic = cast(Any, admin).NewTopic
        new = new_topic(topic, num_partitions=partitions, replication_factor=replication, config=settings)

        def create() -> None:
            try:
                admin.AdminClient(self._connection()).create_topics([new])[topic].result(
                    want_seconds(timeout)
                )
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

        await asyncio.to_thread(create)

    def key_partition(self, topic: str, key: bytes) -> TP:
        """Not supported: the client partitions when it sends."""
        raise NotImplementedError("partitioning happens in librdkafka")

    def supports_headers(self) -> bool:
        """Headers are supported."""
        return True


__all__ = ["Producer"]
