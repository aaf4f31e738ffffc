"""`elo doctor` on what lies in Kafka: can this version read it?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
from confluent_kafka import Message, TopicPartition
from confluent_kafka.admin import AdminClient

from ...core.errors import PipelineError
from ...core.messages import decode_message
from ...core.node import COMPONENT_KEY, Component
from ...core.published import decode_published
from ...core.touch import decode_touch
from ...runtime.connect import REQUEST_S
from ...runtime.control import decode_definition
from ...settings import Settings
from ..kafka import follow, partitions_of, reader
from .finding import Finding, failed, ok, several

NEWEST: Final = 20  # offsets looked at in each partition, from its end; some are no records
Check = Callable[[bytes, bytes], object]


def judge_stored(topic: str, records: Iterable[tuple[str, bytes, bytes]], check: Check) -> Finding:
    """Can the records be read? `records`: place, key and value of each; `check` raises when not."""
    count, wrong = 0, []
    for place, key, value in records:
        count += 1
        try:
            check(key, value)
        except (PipelineError, ValueError, TypeError, IndexError, KeyError, msgspec.MsgspecError):
            wrong.append(place)
    if wrong:
        return failed("stored", f"{topic}: {several(wrong)} cannot be read by this version",
                      "run the newer version that wrote them; to go back, see docs/recovery.md")  # fmt: skip
    return ok("stored", f"{topic}: the newest {count} records can be read")


def look_at_stored(settings: Settings, admin: AdminClient) -> Iterator[Finding]:
    """The newest records of what is stored with a version."""
    topics = settings.topics()
    checks: dict[str, Check] = {
        topics.touches: lambda _, value: decode_touch(value),
        topics.mail: lambda _, value: decode_message(value),
        topics.state: _check_state,
        topics.definitions: lambda key, value: decode_definition(key.decode(), value),
        topics.policy: lambda _, value: decode_published(value),
    }
    for topic, check in checks.items():
        yield judge_stored(topic, _newest(settings, admin, topic), check)


def _check_state(key: bytes, value: bytes) -> None:
    if key[:1] == COMPONENT_KEY:
        Component.decode(key[1:].decode(), value)


def _newest(settings: Settings, admin: AdminClient, topic: str) -> Iterator[tuple[str, bytes, bytes]]:
    """Place, key and value of the last records of each partition; tombstones are left out."""
    numbers = partitions_of(admin, [topic])[topic]
    consumer = reader(settings, [])
    try:
        starts = []
        for number in numbers:
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=REQUEST_S)
            starts.append(TopicPartition(topic, number, max(first, end - NEWEST)))
        consumer.assign(starts)
        for records in follow(consumer, len(numbers), to_end=True):
            yield from (_named(one) for one in records if one.value() is not None)
    finally:
        consumer.close()


def _named(message: Message) -> tuple[str, bytes, bytes]:
    return f"[{message.partition()}]@{message.offset()}", message.key() or b"", message.value() or b""
