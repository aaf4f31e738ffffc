"""Reads touches from `elo.touches` from outside: those that count, each once.

A repetition of an event id under the same strongest identifier is left out, as the workers leave it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..core.past import Arrival
from ..core.touch import EVENT_HASH, Touch, decode_touch
from ..settings import Settings
from .checkpoint import partition_of
from .restore import partitions_of, read_log


def read_touches(
    settings: Settings,
    partitions: Iterable[int],
    *,
    of_key: Callable[[bytes], bool] | None = None,
    matching: Callable[[Touch], bool] | None = None,
) -> Iterator[Touch]:
    """The touches of these partitions by partition and offset: those of wanted keys that match.

    The key of a touch is its strongest identifier. Memory grows with the touches that are given, not with
    those that are left out.
    """
    for one in read_arrivals(settings, partitions, of_key=of_key, matching=matching):
        yield one.touch


def read_arrivals(
    settings: Settings,
    partitions: Iterable[int],
    *,
    of_key: Callable[[bytes], bool] | None = None,
    matching: Callable[[Touch], bool] | None = None,
) -> Iterator[Arrival]:
    """The same, with when and where each was logged."""
    topic = settings.topics().touches
    count = partitions_of(settings, topic)
    for partition in partitions:
        seen: set[tuple[bytes, bytes]] = set()
        for records in read_log(settings, topic, partition, 0):
            for record in records:
                key, value = record.key(), record.value()
                if of_key is not None and not of_key(key):
                    continue
                if partition_of(key.decode(), count) != partition:
                    continue  # It was copied to another one when this one was split.
                touch, event = decode_touch(value), (key, value[EVENT_HASH])
                if event not in seen and (matching is None or matching(touch)):
                    seen.add(event)
                    yield Arrival(record.timestamp()[1], partition, record.offset(), touch)
