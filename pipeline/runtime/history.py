"""Reads touches from `elo.touches` from outside: those that count, each once.

A repetition of an event id under the same strongest identifier is left out, as the workers leave it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..core.past import Arrival
from ..core.touch import EVENT_HASH, Touch, decode_touch
from ..settings import Settings
from .checkpoint import partition_of
from .restore import offsets_since, partitions_of, read_logs


def read_touches(
    settings: Settings,
    partitions: Iterable[int],
    *,
    of_key: Callable[[bytes], bool] | None = None,
    matching: Callable[[Touch], bool] | None = None,
    since_ms: int = 0,
) -> Iterator[Touch]:
    """The touches of wanted keys that match, each partition in its order; logged at or after `since_ms`.

    The key of a touch is its strongest identifier. Memory grows with the touches that are given, not with
    those that are left out.
    """
    for one in read_arrivals(settings, partitions, of_key=of_key, matching=matching, since_ms=since_ms):
        yield one.touch


def read_arrivals(
    settings: Settings,
    partitions: Iterable[int],
    *,
    of_key: Callable[[bytes], bool] | None = None,
    matching: Callable[[Touch], bool] | None = None,
    since_ms: int = 0,
) -> Iterator[Arrival]:
    """The same, with when and where each was logged."""
    topic = settings.topics().touches
    starts = dict.fromkeys(partitions, 0)
    if since_ms:
        starts = offsets_since(settings, topic, starts, since_ms)
    count = partitions_of(settings, topic)
    seen: set[tuple[bytes, bytes]] = set()
    for records in read_logs(settings, topic, starts):
        for record in records:
            key = record.key()
            if of_key is not None and not of_key(key):
                continue
            if partition_of(key.decode(), count) != record.partition():
                continue  # It was copied to another one when this one was split.
            value = record.value()
            touch, event = decode_touch(value), (key, value[EVENT_HASH])
            if event not in seen and (matching is None or matching(touch)):
                seen.add(event)
                yield Arrival(record.timestamp()[1], record.partition(), record.offset(), touch)
