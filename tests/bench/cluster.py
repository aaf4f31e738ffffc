"""The broker as the harness sees it from outside: topics, positions of a group, reading a topic whole."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Final

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline.topics import Topics

READ_RECORDS_MAX: Final = 2_000  # per call of consume()
REQUEST_TIMEOUT_S: Final = 30
ONLY_CRITICAL: Final = 2  # librdkafka's log level: that the broker goes away at the end is no news
Place = tuple[str, int]
"""A topic and a partition."""


class Cluster:
    """One broker, reached at `bootstrap`."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._base: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap,
            "log_level": ONLY_CRITICAL,
        }
        self._admin = AdminClient(self._base)

    def create(self, topics: Topics, partitions: int) -> None:
        """Create all topics of one deployment, which must not exist yet."""
        self.create_topics([
            NewTopic(spec.name, partitions if spec.partitioned else 1, 1, config=dict(spec.config))
            for spec in topics.specs()
        ])  # fmt: skip

    def create_topics(self, topics: list[NewTopic]) -> None:
        """Create topics, which must not exist yet."""
        for future in self._admin.create_topics(topics).values():
            future.result(REQUEST_TIMEOUT_S)

    def delete_topics(self, part: str) -> None:
        """Delete every topic whose name contains `part`; those that a system made for itself included."""
        names = [name for name in self._admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics if part in name]
        for future in self._admin.delete_topics(names).values() if names else ():
            future.result(REQUEST_TIMEOUT_S)

    def producer(self, **config: str | int) -> Producer:
        """A producer; `_` in a setting's name stands for a dot."""
        settings = {name.replace("_", "."): value for name, value in config.items()}
        return Producer({**self._base, **settings})

    def consumer(self, starts: Iterable[TopicPartition], **config: str | int | bool) -> Consumer:
        """A read-committed consumer of the partitions in `starts`, that reports the end of each."""
        settings = {name.replace("_", "."): value for name, value in config.items()}
        consumer = Consumer({
            **self._base, "group.id": "bench-reader", "enable.auto.commit": False,
            "isolation.level": "read_committed", "enable.partition.eof": True, "fetch.wait.max.ms": 20,
            **settings,
        })  # fmt: skip
        consumer.assign(list(starts))
        return consumer

    def places(self, topics: Sequence[str]) -> list[Place]:
        """Every partition of these topics."""
        known = self._admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
        return [(topic, partition) for topic in topics for partition in known[topic].partitions]

    def committed(self, group: str, places: Sequence[Place]) -> dict[Place, TopicPartition]:
        """What the group committed for each partition: `offset` (0 when nothing) and `metadata`."""
        request = ConsumerGroupTopicPartitions(group, [TopicPartition(*place) for place in places])
        answer = self._admin.list_consumer_group_offsets([request])[group]
        try:
            found = answer.result(REQUEST_TIMEOUT_S).topic_partitions
        except KafkaException as error:
            if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise
            found = []
        positions = {(item.topic, item.partition): item for item in found if item.offset >= 0}
        return {place: positions.get(place) or TopicPartition(*place, 0) for place in places}

    def read_all(self, topics: Sequence[str]) -> Iterator[Message]:
        """Yield every committed record that the topics hold now."""
        return self.read_from(dict.fromkeys(self.places(topics), 0))

    def read_from(self, starts: dict[Place, int]) -> Generator[Message, None, None]:
        """Yield every committed record from these offsets to the ends of their partitions."""
        consumer = self.consumer(TopicPartition(*place, offset) for place, offset in starts.items())
        ended: set[Place] = set()
        try:
            while len(ended) < len(starts):
                for message in consumer.consume(READ_RECORDS_MAX, 0.05):
                    error = message.error()
                    if error is None:
                        yield message
                    elif error.code() == KafkaError._PARTITION_EOF:
                        ended.add((str(message.topic()), int(message.partition() or 0)))
                    else:
                        raise KafkaException(error)
        finally:
            consumer.close()

    def is_consumed(self, group: str, topics: Sequence[str]) -> bool:
        """Whether no committed record follows what the group committed; transaction markers do not count."""
        positions = self.committed(group, self.places(topics))
        records = self.read_from({place: position.offset for place, position in positions.items()})
        with contextlib.closing(records):
            return next(records, None) is None
