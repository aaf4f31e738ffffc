"""The floor: what it costs to read the touchpoints, and to read and decode them, and nothing else."""

from __future__ import annotations

import time
from typing import Final

from confluent_kafka import TopicPartition

from pipeline.topics import Topics
from pipeline.wire.avro import TouchpointDecoder

from .cluster import READ_RECORDS_MAX, Cluster
from .machine import Meter, usage
from .report import Row, make_row

MODES: Final = ("consume", "consume+decode")


def measure_raw(cluster: Cluster, topics: Topics, n: int, partitions: int, broker_pid: int) -> list[Row]:
    """Read the loaded touchpoints once in each mode, in this process."""
    return [_measure(cluster, topics, n, partitions, broker_pid, mode) for mode in MODES]


def _measure(cluster: Cluster, topics: Topics, n: int, partitions: int, broker_pid: int, mode: str) -> Row:
    places = cluster.places(topics.touchpoints)
    consumer = cluster.consumer(
        (TopicPartition(*place, 0) for place in places),
        queued_max_messages_kbytes=262_144,
        fetch_message_max_bytes=4_194_304,
    )
    meter, decode = Meter(broker=broker_pid), TouchpointDecoder()
    read, first, used_s, last_at = 0, None, 0.0, 0.0
    ended = 0
    while ended < len(places):
        for message in consumer.consume(READ_RECORDS_MAX, 0.05):
            if message.error() is not None:
                ended += 1
                continue
            if first is None:
                first, used_s = meter.sample(), time.process_time()
            if mode != "consume":
                decode(message.value() or b"")
            read += 1
        last_at = time.time()
    used_s = time.process_time() - used_s
    consumer.close()
    if first is None:
        raise SystemExit("bench: the touchpoint topics are empty")
    total = usage(first, meter.sample())
    return make_row(
        "throughput",
        "raw",
        mode=mode,
        n=n,
        workers=1,
        partitions=partitions,
        events_s=round(read / (last_at - first.at)),
        cpu_us_event=round(used_s / read * 1e6, 2),
        other_cores=total.other_cores,
        correct=read == n,
    )
