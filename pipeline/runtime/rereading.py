"""Reads a partition's own part of `elo.touches` once more, as far as a change of definitions asks for it."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, TopicPartition

from ..settings import Settings

READ_S: Final = 0.1


class Rereading:
    """A reader that goes on where it stopped. May be used on another thread, by one caller at a time."""

    def __init__(self, settings: Settings, touches: str, partition: int) -> None:
        self._settings = settings
        self._touches = touches
        self._partition = partition
        self._consumer: Consumer | None = None

    def read(self, start: int, end: int, most: int) -> tuple[list[Any], int]:
        """Up to `most` records from offset `start` on and below `end`, and where to go on: `end` behind the
        last. None within READ_S if none comes.
        """
        if self._consumer is None:
            self._consumer = Consumer(self._settings.reader_config(f"{self._settings.group}-history"))
            self._consumer.assign([TopicPartition(self._touches, self._partition, start)])
        records = []
        # Whoever asks for many waits for all of them, and the batch, with its touches, waits as well.
        first = self._consumer.consume(1, READ_S)
        for message in [*first, *(self._consumer.consume(most - 1, 0) if first else ())]:
            error = message.error()
            if error is None and message.offset() < end:
                records.append(message)
                start = message.offset() + 1
            elif error is None or error.code() == KafkaError._PARTITION_EOF:
                start = end
        if start >= end:
            self.close()
        return records, start

    def close(self) -> None:
        """Give the reader up; the next one begins where it is told to."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
