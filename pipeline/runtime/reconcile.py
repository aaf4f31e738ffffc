"""Reconciliation from outside: each touchpoint that the group has read has left a touch or a letter.

A look asks for the group's committed offsets first and for the ends of `elo.touches` and
`touchpoints.rejected` afterwards. The intake commits when the broker has all that came of what it read, so
below those ends lies something of every touchpoint that is committed. No waiting time has to be guessed, and
neither a restart nor a rebalance makes a gap: what is read twice only leaves two touches.
Source: docs/decisions/0029-reconciliation.md
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from ..core.errors import ConfigError, Retryable
from ..core.reconcile import Book, Fate
from ..core.touch import EVENT_HASH, OFFSET_BITS, origin_of, partition_origin
from ..settings import Settings

MARGIN_MS: Final = 10 * 60_000
"""Clocks of producers differ from the broker's: touches are read from so long before the touchpoints on."""
MINUTE_MS: Final = 60_000
READ_RECORDS: Final = 5_000
POLL_S: Final = 0.05
SILENCE_S: Final = 90.0  # longer than a transaction may stay open
REQUEST_S: Final = 30.0

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Minute:
    """The touchpoints of a source whose Kafka timestamps lie in one minute. `at_ms`: its beginning.

    `first_missing`: topic, partition and offset.
    """

    source: str
    at_ms: int
    counts: Mapping[Fate, int]
    first_missing: tuple[str, int, int] | None

    @property
    def touchpoints(self) -> int:
        """How many came in."""
        return sum(count for fate, count in self.counts.items() if fate is not Fate.VOID)


class Reader:
    """Reads committed records of partitions, each from where it stands to an end that is given."""

    def __init__(self, settings: Settings, positions: Mapping[Partition, int]) -> None:
        self._reached = dict(positions)
        self._consumer = Consumer(settings.reader_config(f"{settings.group}-reconcile", fetch_wait_max_ms=50))
        self._consumer.list_topics(timeout=REQUEST_S)  # Without a connection it sleeps for seconds first.
        self._consumer.assign([TopicPartition(*key, offset) for key, offset in positions.items()])

    def read_to(self, ends: Mapping[Partition, int]) -> Iterator[Message]:
        """Records below `ends`, and maybe some behind; those of a partition in order.

        Raises: Retryable when the broker is silent, KafkaException for what it refuses.
        """
        silent_since = time.monotonic()
        while any(self._reached[key] < end for key, end in ends.items()):
            messages = self._consumer.consume(READ_RECORDS, POLL_S)
            if messages:
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > SILENCE_S:
                raise Retryable("the broker is silent while touchpoints are reconciled")
            for message in messages:
                error, key = message.error(), (message.topic(), message.partition())
                if error is None:
                    self._reached[key] = message.offset() + 1
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._reached[key] = max(self._reached[key], message.offset())
                elif error.fatal() or (error.code() > 0 and not error.retriable()):
                    raise KafkaException(error)

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()


class Audit:
    """What became of every touchpoint from `since_ms` on, by the timestamps of the inputs. To be closed.

    Args:
        partitions: topic → its partitions, of the inputs, `elo.touches` and `touchpoints.rejected`.
        tells_duplicates: applied ones and duplicates are told apart, with about 120 bytes for each touch.
    """

    def __init__(
        self,
        settings: Settings,
        partitions: Mapping[str, Sequence[int]],
        since_ms: int,
        *,
        tells_duplicates: bool,
    ) -> None:
        self.topics = settings.topics()
        self.since_ms = since_ms
        self._settings, self._tells_duplicates = settings, tells_duplicates
        self._counts = {topic: len(numbers) for topic, numbers in partitions.items()}
        self._admin = AdminClient(settings.kafka_config())
        self._group = Consumer(
            settings.kafka_config(
                group_id=settings.group,
                enable_auto_commit=False,
                isolation_level="read_uncommitted",  # what is in an open transaction is not committed
            )
        )

        def of(*names: str) -> list[Partition]:
            return [(name, number) for name in names for number in partitions[name]]

        self._touches, self._letters = of(self.topics.touches), of(self.topics.rejected)
        starts = self._offsets_at(of(*self.topics.inputs), since_ms)
        self.books = {key: Book(start) for key, start in starts.items()}
        self._by_origin = {
            partition_origin(self.topics.inputs.index(topic) + 1, number) >> OFFSET_BITS: book
            for (topic, number), book in self.books.items()
        }
        self._begin = self._offsets_at([*self._touches, *self._letters], since_ms - MARGIN_MS)
        self._touch_reader = Reader(settings, {key: self._begin[key] for key in self._touches})
        self._letter_reader = Reader(settings, {key: self._begin[key] for key in self._letters})
        self._failed: set[tuple[int, int]] = set()
        """Partition and offset of touches that the resolver has rejected."""
        self._firsts: dict[int, int] = {}
        """Hash of identifier and event id → origin of the first touch of it."""

    def close(self) -> None:
        """Leave Kafka."""
        for client in (self._touch_reader, self._letter_reader, self._group):
            client.close()

    def look(self, *, to_end: bool = False) -> dict[Partition, int]:
        """Read what is there. Returns how far the group has read each partition of the inputs.

        `to_end`: the books reach to the ends of the inputs, where touchpoints wait.
        """
        self._check_partitions()
        committed = self._committed([*self.books, *self._touches])
        ends = self._list([*self._touches, *self._letters], OffsetSpec.latest())
        for letter in self._letter_reader.read_to({key: ends[key] for key in self._letters}):
            self._note_letter(letter)
        for touch in self._touch_reader.read_to({key: ends[key] for key in self._touches}):
            self._note_touch(touch, committed[self.topics.touches, touch.partition() or 0])
        inputs = self._list(list(self.books), OffsetSpec.latest()) if to_end else committed
        for key, book in self.books.items():
            book.extend(inputs[key])
        return {key: committed[key] for key in self.books}

    def _note_letter(self, letter: Message) -> None:
        told = {name: value for name, value in letter.headers() or () if name.startswith("elo.")}
        try:
            topic = (told["elo.topic"] or b"").decode()
            partition, offset = int(told["elo.partition"] or -1), int(told["elo.offset"] or -1)
        except (KeyError, ValueError):
            return
        if (book := self.books.get((topic, partition))) is not None:
            book.note(offset, Fate.REJECTED)
        elif topic == self.topics.touches:
            self._failed.add((partition, offset))

    def _note_touch(self, touch: Message, handled: int) -> None:
        value, at = touch.value() or b"", (touch.partition() or 0, touch.offset() or 0)
        place, offset = origin_of(value)
        book = self._by_origin.get(place)
        if book is None:
            return
        if at[1] >= handled or not self._tells_duplicates:
            book.note(offset, Fate.WAITING)
        elif at in self._failed:
            book.note(offset, Fate.REJECTED)
        else:
            origin = place << OFFSET_BITS | offset
            first = self._firsts.setdefault(hash((touch.key() or b"") + value[EVENT_HASH]), origin)
            book.note(offset, Fate.APPLIED if first == origin else Fate.DUPLICATE)

    def look_back(self, history_ms: int) -> None:
        """Look through the history before the touches of this audit for events that they repeat."""
        starts = self._offsets_at(self._touches, self.since_ms - MARGIN_MS - history_ms)
        for touch in self._between(starts):
            origin = self._firsts.get(hash((touch.key() or b"") + (touch.value() or b"")[EVENT_HASH]))
            if origin is not None:
                book = self._by_origin[origin >> OFFSET_BITS]
                book.correct(origin & ((1 << OFFSET_BITS) - 1), Fate.DUPLICATE)

    def judge(
        self,
        committed: Mapping[Partition, int],
        lost: Callable[[Message], None],
        *,
        look_back: bool,
    ) -> None:
        """Decide what is missing, or not there at all, below `committed`.

        `lost` is called with each record that is missing. `look_back`: all touches and letters from before
        this audit are looked through first, for the clock of a producer may have been far ahead.
        """
        if look_back and any(True for _ in self._unseen(committed)):
            for message in self._between(dict.fromkeys(self._begin, 0)):
                if message.topic() == self.topics.touches:
                    self._note_touch(message, self._begin[str(message.topic()), message.partition() or 0])
                else:
                    self._note_letter(message)
        unseen = dict(self._unseen(committed))
        for key, offsets in unseen.items():
            for offset in offsets:
                self.books[key].correct(offset, Fate.VOID)
        for message in self._records(unseen):
            self.books[str(message.topic()), message.partition() or 0].correct(
                message.offset() or 0, Fate.MISSING
            )
            lost(message)

    def minutes(self, until_ms: int) -> Iterator[Minute]:
        """The books by source and minute, oldest first; minutes without touchpoints are left out."""
        edges = range(self.since_ms // MINUTE_MS * MINUTE_MS, until_ms + MINUTE_MS, MINUTE_MS)
        keys = list(self.books)
        # All are asked for before the first answer is waited for.
        asked = [self._ask(keys, OffsetSpec.for_timestamp(edge)) for edge in edges[1:]]
        before = {key: book.start for key, book in self.books.items()}
        for number, at_ms in enumerate(edges):
            after = {key: book.end for key, book in self.books.items()}
            if number < len(asked):
                found = _answers(asked[number])
                after = {key: found[key] if found[key] >= 0 else end for key, end in after.items()}
            for topic in self.topics.inputs:
                minute = self._minute(topic, at_ms, before, after)
                if minute.touchpoints:
                    yield minute
            before = after

    def _minute(
        self, topic: str, at_ms: int, before: Mapping[Partition, int], after: Mapping[Partition, int]
    ) -> Minute:
        counts, first = dict.fromkeys(Fate, 0), None
        for key, book in self.books.items():
            if key[0] == topic:
                for fate, count in book.counts(before[key], after[key]).items():
                    counts[fate] += count
                missing = next(book.offsets(Fate.MISSING, before[key], after[key]), None)
                if first is None and missing is not None:
                    first = (*key, missing)
        counts[Fate.WAITING] += counts.pop(Fate.UNSEEN)  # Behind what the group has read.
        return Minute(self.topics.source_of(topic), at_ms, counts, first)

    # -- Kafka ----------------------------------------------------------------------------------------------

    def _check_partitions(self) -> None:
        """Raises ConfigError when a topic has got partitions that this audit does not know."""
        found = self._admin.list_topics(timeout=REQUEST_S).topics
        if any(len(found[topic].partitions) != count for topic, count in self._counts.items()):
            raise ConfigError("the partitions have changed, start `elo reconcile` again")

    def _unseen(self, committed: Mapping[Partition, int]) -> Iterator[tuple[Partition, list[int]]]:
        for key, book in self.books.items():
            if offsets := list(book.offsets(Fate.UNSEEN, book.start, committed[key])):
                yield key, offsets

    def _records(self, wanted: Mapping[Partition, list[int]]) -> Iterator[Message]:
        """The records that there are at these offsets."""
        if not wanted:
            return
        sets = {key: frozenset(offsets) for key, offsets in wanted.items()}
        reader = Reader(self._settings, {key: offsets[0] for key, offsets in wanted.items()})
        try:
            for message in reader.read_to({key: offsets[-1] + 1 for key, offsets in wanted.items()}):
                if message.offset() in sets[str(message.topic()), message.partition() or 0]:
                    yield message
        finally:
            reader.close()

    def _between(self, starts: Mapping[Partition, int]) -> Iterator[Message]:
        """Touches and letters from `starts` to where this audit has begun to read."""
        reader = Reader(self._settings, starts)
        try:
            for message in reader.read_to({key: self._begin[key] for key in starts}):
                if (message.offset() or 0) < self._begin[str(message.topic()), message.partition() or 0]:
                    yield message
        finally:
            reader.close()

    def _committed(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        asked = [TopicPartition(*key) for key in partitions]
        found = {}
        for entry in self._group.committed(asked, timeout=REQUEST_S):
            if entry.error is not None:
                raise KafkaException(entry.error)
            found[entry.topic, entry.partition] = max(entry.offset, 0)
        return found

    def _offsets_at(self, partitions: Sequence[Partition], at_ms: int) -> dict[Partition, int]:
        """The first offset of each whose timestamp is not before `at_ms`; its end where there is none."""
        ends = self._list(partitions, OffsetSpec.latest())
        found = self._list(partitions, OffsetSpec.for_timestamp(max(at_ms, 0)))
        return {key: found[key] if found[key] >= 0 else ends[key] for key in partitions}

    def _list(self, partitions: Sequence[Partition], spec: OffsetSpec) -> dict[Partition, int]:
        return _answers(self._ask(partitions, spec))

    def _ask(self, partitions: Sequence[Partition], spec: OffsetSpec) -> Mapping[TopicPartition, Any]:
        asked = {TopicPartition(*key): spec for key in partitions}
        return self._admin.list_offsets(
            asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=REQUEST_S
        )


def _answers(asked: Mapping[TopicPartition, Any]) -> dict[Partition, int]:
    return {(key.topic, key.partition): future.result().offset for key, future in asked.items()}
