"""Elo on the reference job: throughput, restore and latency of one worker."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from .cluster import Cluster
from .elo_worker import EloWorker, decode_change
from .generator import Record
from .latency import LatencyRun, Seen, percentile
from .load import encode
from .machine import Meter, Sample, rss_mb_max, usage
from .options import Options
from .oracle import Oracle
from .report import Row, make_row

DEFINITIONS: Final = Path(__file__).parent / "segments.yaml"
POLL_S: Final = 0.02  # before the first touchpoint nothing is disturbed by looking so often
DIFFERENCES_MAX: Final = 5  # so many are kept in the row; the first ones show the pattern
RESENT: Final = 200  # touchpoints sent again after a restore: each must be recognised
CAUSED_BY_TOUCH: Final = ("event", "merge")


def measure_throughput(worker: EloWorker, options: Options, oracle: Oracle, broker_pid: int) -> Row:
    """Process the loaded touchpoints with one fresh worker, which is left running.

    The span starts at the last look that saw no touchpoint read, so it is rather too long than too short.
    """
    worker.run("segments", "apply", str(DEFINITIONS))
    worker.start()
    meter = Meter(worker=worker.child.pid, broker=broker_pid)
    first = _last_sample_without(worker, meter, "elo_touchpoints_total")
    worker.wait_intake(options.n)
    ended_at = worker.wait_idle()
    last = meter.sample()
    used = usage(first, last)
    memory = rss_mb_max(worker.child.pid)
    differences = worker.count_differences(oracle) + worker.differences(oracle)
    return make_row(
        "throughput",
        "elo",
        n=options.n,
        workers=1,
        partitions=options.partitions,
        events_s=round(options.n / (ended_at - first.at)),
        cpu_us_event=round(used.cpu_s["worker"] / options.n * 1e6, 1),
        broker_us_event=round(used.cpu_s["broker"] / options.n * 1e6, 1),
        rss_mb=memory,
        other_cores=used.other_cores,
        correct=not differences,
        differences=differences[:DIFFERENCES_MAX] or None,
    )


def _last_sample_without(worker: EloWorker, meter: Meter, counter: str) -> Sample:
    """Wait until a counter of the worker is above zero; return the sample before the last look that saw none.

    A worker that becomes ready before it is seen to count has counted in between.
    """
    last = meter.sample()
    while True:
        sample, ready = meter.sample(), worker.is_ready()
        if worker.metrics().get(counter) or (ready and counter == "elo_restore_records_total"):
            return last
        last = sample
        time.sleep(POLL_S)


def measure_restore(
    cluster: Cluster,
    worker: EloWorker,
    options: Options,
    oracle: Oracle,
    again: list[Record],
    broker_pid: int,
) -> Row:
    """Stop the worker, lose its disk, start it: how fast is the changelog replayed, and is it whole?

    `again`: accepted touchpoints that are sent once more; a restored worker must know each of them.
    """
    differences = worker.stop()
    worker.wipe()
    worker.start()
    started = time.time()
    meter = Meter(worker=worker.child.pid, broker=broker_pid)
    first = _last_sample_without(worker, meter, "elo_restore_records_total")
    while not worker.is_ready():
        worker.child.check()
        time.sleep(POLL_S)
    last = meter.sample()
    restored = worker.metrics().get("elo_restore_records_total", 0)
    used = usage(first, last)
    producer = cluster.producer(linger_ms=5)
    for record in again:
        producer.produce(f"{worker.topics.prefix}touchpoints.{record['source']}", encode(record))
    producer.flush()
    worker.wait_intake(options.n + len(again))
    worker.wait_idle()
    known = worker.metrics().get("elo_duplicates_total", 0)
    if known != len(again):
        differences.append(
            f"{known:.0f} of {len(again)} repeated touchpoints were recognised after the restore"
        )
    memory = rss_mb_max(worker.child.pid)
    differences += worker.stop()
    return make_row(
        "restore",
        "elo",
        n=int(restored),
        workers=1,
        partitions=options.partitions,
        events_s=round(restored / used.span_s),
        cpu_us_event=round(used.cpu_s["worker"] / max(1, restored) * 1e6, 1),
        rss_mb=memory,
        ready_s=round(last.at - started, 2),
        touchpoints=oracle.taken,
        other_cores=used.other_cores,
        correct=not differences,
        differences=differences or None,
    )


def measure_latency(
    cluster: Cluster, worker: EloWorker, run: LatencyRun, oracle: Oracle, broker_pid: int
) -> Row:
    """Touch → membership change at the paced load of `run`, changes of merges included."""
    worker.run("segments", "apply", str(DEFINITIONS))
    worker.start()
    try:
        worker.wait_ready()
        places = cluster.places(run.topics.touchpoints)

        def is_done() -> bool:
            positions = cluster.committed(f"{run.topics.prefix}elo", places)
            return sum(item.offset for item in positions.values()) >= run.n

        result = run.measure(cluster, run.topics.membership, worker.child.pid, broker_pid, is_done)
        worker.wait_idle()
        memory = rss_mb_max(worker.child.pid)
        differences = worker.count_differences(oracle) + worker.differences(oracle)
    finally:
        worker.stop()
    sent = result.paced.sent

    def touch_of(seen: Seen, causes: Collection[str] = CAUSED_BY_TOUCH) -> str | None:
        change = decode_change(seen.value)
        touches = [event_id for event_id in change["event_ids"] if event_id in sent]
        if change["cause"] not in causes or not touches:
            return None
        return str(max(touches, key=sent.__getitem__))  # the others were known before, and changed nothing

    merges_ms = [visible for visible, _ in result.delays(lambda seen: touch_of(seen, ("merge",)))]
    return result.make_row(
        "elo",
        touch_of,
        merges=len(merges_ms),
        merge_p50_ms=percentile(merges_ms, 0.50),
        merge_p99_ms=percentile(merges_ms, 0.99),
        rss_mb=memory,
        differences=differences[:DIFFERENCES_MAX],
    )
