"""The benchmarks: `python -m tests.bench [measure|bounds|profile|profile-worker|collect]`.

`measure` starts a broker, runs every system and prints a table; `profile` and `profile-worker` say where the
CPU of Elo goes; `bounds` measures ordinary people beside what many share; `collect` puts the collector under
load. Options: docs/benchmarks.md.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from pipeline.broker import KAFKA_VERSION, EmbeddedBroker
from pipeline.broker.progress import OnStream
from pipeline.topics import Topics

from . import elo, policy, streams
from .backfill import measure_backfill
from .bounds import run_bounds
from .cluster import Cluster
from .collector import measure_collector
from .elo_worker import EloWorker
from .generator import Record, touchpoints
from .hotpath import run_hotpath
from .latency import LatencyRun
from .load import load
from .options import BUILD, Options, read_options
from .oracle import Oracle
from .preview import measure_preview
from .raw import measure_raw
from .report import Row, append_row, format_table
from .streams_oracle import StreamsOracle
from .timers import measure_timers, modes
from .unmerge import measure_unmerge

WARM_UP_N: Final = 60_000


class Benchmarks:
    """All measurements of one run, on one broker. Every row is kept as soon as it is there."""

    def __init__(self, options: Options, broker: EmbeddedBroker, work: Path) -> None:
        self.options, self.work = options, work
        self.broker_pid = broker.pid or 0
        self.cluster = Cluster(broker.bootstrap)
        self.rows: list[Row] = []

    def run(self) -> list[Row]:
        """Measure what the options ask for."""
        if set(self.options.systems) - {"raw"}:
            self.warm_up()
        for repeat in range(self.options.repeats):
            if "throughput" in self.options.kinds or "restore" in self.options.kinds:
                self.run_preloaded(Topics(f"load{repeat}."))
            if "latency" in self.options.kinds:
                self.run_paced(repeat)
            if "policy" in self.options.kinds:
                self.run_policy(Topics(f"policy{repeat}."))
            if "timers" in self.options.kinds:
                self.run_timers(repeat)
            if "backfill" in self.options.kinds:
                self.run_backfill(repeat)
            if "preview" in self.options.kinds:
                self.run_preview(repeat)
            if "unmerge" in self.options.kinds:
                self.run_unmerge(repeat)
        return self.rows

    def warm_up(self) -> None:
        """Let a worker read something, so that nobody who is measured pays for the broker's compiler: that
        takes seconds of CPU, which is most of what a broker uses that was started just now.
        """
        _say(f"warming up the broker with {WARM_UP_N:,} touchpoints")
        with self.deployment("warm.") as (topics, worker):
            load(self.cluster, topics, touchpoints(WARM_UP_N, self.options.seed, int(time.time() * 1000)), ())
            worker.run("segments", "apply", str(elo.DEFINITIONS))
            worker.start()
            worker.wait_ready()
            worker.wait_intake(WARM_UP_N)
            worker.wait_idle()

    def run_timers(self, repeat: int) -> None:
        """Exits by time, steadily and in a wave."""
        for mode in modes(self.options):
            _say(f"timers of elo, {mode.name}: {mode.people:,} exits in {mode.span_s:g} s")
            with self.deployment(f"{mode.name}{repeat}.") as (topics, worker):
                self.keep(measure_timers(self.cluster, worker, topics, self.options, mode, self.broker_pid))

    def run_backfill(self, repeat: int) -> None:
        """A new segment over everybody, beside live touchpoints."""
        _say(f"back-fill of elo over {self.options.n:,} profiles")
        with self.deployment(f"fill{repeat}.") as (topics, worker):
            self.keep(measure_backfill(self.cluster, worker, topics, self.options, self.broker_pid))

    def run_preview(self, repeat: int) -> None:
        """What applying a new segment would do."""
        _say(f"previews of elo over {self.options.n:,} profiles")
        with self.deployment(f"preview{repeat}.") as (topics, worker):
            self.keep(measure_preview(self.cluster, worker, topics, self.options))

    def run_unmerge(self, repeat: int) -> None:
        """A large profile is parted."""
        _say(f"unmerge by elo of a profile of {self.options.n:,} touchpoints")
        with self.deployment(f"part{repeat}.") as (topics, worker):
            self.keep(measure_unmerge(self.cluster, worker, topics, self.options))

    @contextlib.contextmanager
    def deployment(self, prefix: str) -> Iterator[tuple[Topics, EloWorker]]:
        """Topics of their own and a worker, both gone afterwards."""
        topics = Topics(prefix)
        self.cluster.create(topics, self.options.partitions)
        worker = EloWorker(self.cluster, topics, self.work)
        try:
            yield topics, worker
        finally:
            worker.stop()
            worker.wipe()
            self.cluster.delete_topics(prefix)

    def keep(self, row: Row) -> None:
        """Append the row to the results."""
        self.rows.append(row)
        append_row(row, self.options.results)

    def run_preloaded(self, topics: Topics) -> None:
        """Throughput of every system on the same loaded topics, one after the other, and restore of Elo."""
        options = self.options
        oracle, streams_oracle = Oracle(), StreamsOracle()
        again = Sample(oracle, options.n)
        takers: list[Callable[[Record], None]] = [again.take if "elo" in options.systems else _ignore]
        if "kafka-streams" in options.systems:
            takers.append(streams_oracle.add)
        _say(f"loading {options.n:,} touchpoints")
        self.cluster.create(topics, options.partitions)
        events = touchpoints(options.n, options.seed, end_ms=int(time.time() * 1000))
        load(self.cluster, topics, events, takers)
        floor: Row = {}
        for system in options.systems:
            _say(f"throughput of {system}")
            if system == "raw":
                for floor in measure_raw(
                    self.cluster, topics, options.n, options.partitions, self.broker_pid
                ):
                    self.keep(floor)
            elif system == "elo":
                self.run_elo(topics, oracle, again.kept, floor)
            else:
                row = streams.measure_throughput(
                    self.cluster, topics, options, streams_oracle, self.broker_pid, self.work
                )
                self.keep(_with_ratio(row, floor))
        self.cluster.delete_topics(topics.prefix)

    def run_elo(self, topics: Topics, oracle: Oracle, again: list[Record], floor: Row) -> None:
        """Throughput of Elo, then the restore of what it has built."""
        worker = EloWorker(self.cluster, topics, self.work)
        try:
            row = elo.measure_throughput(worker, self.options, oracle, self.broker_pid)
            self.keep(_with_ratio(row, floor))
            if "restore" in self.options.kinds:
                _say("restore of elo")
                row = elo.measure_restore(self.cluster, worker, self.options, oracle, again, self.broker_pid)
                self.keep(row)
        finally:
            worker.stop()
            worker.wipe()

    def run_paced(self, repeat: int) -> None:
        """Latency of every system that answers, each on fresh topics."""
        for system in (system for system in self.options.systems if system != "raw"):
            _say(f"latency of {system} at {self.options.rate:,} touchpoints/s")
            topics = Topics(f"pace{repeat}-{system}.")
            self.cluster.create(topics, self.options.partitions)
            n = self.options.rate * (self.options.warm_up_s + self.options.seconds)
            events = list(touchpoints(n, self.options.seed + 4, end_ms=int(time.time() * 1000)))
            run = LatencyRun(topics, self.options, events)
            if system == "elo":
                oracle = Oracle()
                for event in events:
                    oracle.add(event.record)
                worker = EloWorker(self.cluster, topics, self.work)
                self.keep(elo.measure_latency(self.cluster, worker, run, oracle, self.broker_pid))
                worker.wipe()
            else:
                streams_oracle = StreamsOracle()
                for event in events:
                    streams_oracle.add(event.record)
                self.keep(
                    streams.measure_latency(self.cluster, run, streams_oracle, self.broker_pid, self.work)
                )
            self.cluster.delete_topics(topics.prefix)

    def run_policy(self, topics: Topics) -> None:
        """What it costs to publish a policy."""
        options = self.options
        _say(f"{policy.CHANGES} changes of policy over {options.n:,} touchpoints")
        self.cluster.create(topics, options.partitions)
        count = policy.touchpoints_for(options)
        events = list(touchpoints(count, options.seed, end_ms=int(time.time() * 1000)))
        oracle = Oracle()
        for event in events:
            oracle.add(event.record)
        worker = EloWorker(self.cluster, topics, self.work)
        try:
            self.keep(
                policy.PolicyRun(self.cluster, worker, options, self.broker_pid).measure(events, oracle)
            )
        finally:
            worker.stop()
            worker.wipe()
        self.cluster.delete_topics(topics.prefix)


class Sample:
    """Hands touchpoints to the oracle and keeps some of those that it accepted, evenly over the load."""

    def __init__(self, oracle: Oracle, n: int) -> None:
        self.kept: list[Record] = []
        self._oracle, self._every = oracle, max(1, n // (elo.RESENT * 2))

    def take(self, record: Record) -> None:
        """Count one touchpoint as sent once."""
        refused = self._oracle.rejected
        self._oracle.add(record)
        due = self._oracle.taken % self._every == 0 and len(self.kept) < elo.RESENT
        if due and refused == self._oracle.rejected:
            self.kept.append(record)


def _with_ratio(row: Row, floor: Row) -> Row:
    """Add how many times the CPU of reading and decoding alone a system takes, when that was measured."""
    return {**row, "ratio_to_raw": round(row["cpu_us_event"] / floor["cpu_us_event"], 1)} if floor else row


def _ignore(record: Record) -> None:
    """Take nothing."""


def _say(text: str) -> None:
    print(f"bench: {text}", flush=True)


def measure(options: Options) -> int:
    """Measure what the options ask for and print the table; 1 when a result is wrong."""
    missing = streams.missing_tools()
    if "kafka-streams" in options.systems and missing:
        _say(f"kafka-streams is left out: {' and '.join(missing)} not found")
        options = options.without("kafka-streams")
    if "kafka-streams" in options.systems:
        streams.build_job()
    _say(f"{os.cpu_count()} cores, Python {platform.python_version()}, Kafka {KAFKA_VERSION}")
    with _workplace() as (broker, work):
        rows = Benchmarks(options, broker, work).run()
    print(f"\n{format_table(rows)}\n\nKept in {options.results}")
    return 0 if all(row.get("correct", True) for row in rows) else 1


def profile(options: Options) -> int:
    """Print what each stage of a touchpoint costs in this process, without Kafka; then by function."""
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD) as work:
        run_hotpath(options, Path(work))
    return 0


def bounds(options: Options) -> int:
    """Measure what shared identifiers and endless components cost the others, in this process."""
    BUILD.mkdir(exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD) as work:
        for row in run_bounds(Path(work), time.time_ns() // 1_000_000):
            append_row(row, options.results)
            rows.append(row)
    print(f"{format_table(rows)}\n\nKept in {options.results}")
    return 0 if all(row["correct"] for row in rows) else 1


def profile_worker(options: Options) -> int:
    """Run the throughput job of Elo once more under the sampler and print where the CPU went."""
    report = BUILD.resolve() / "bench-profile.txt"
    topics = Topics("profile.")
    with _workplace() as (broker, work):
        cluster, oracle = Cluster(broker.bootstrap), Oracle()
        cluster.create(topics, options.partitions)
        events = touchpoints(options.n, options.seed, end_ms=int(time.time() * 1000))
        load(cluster, topics, events, [oracle.add])
        worker = EloWorker(cluster, topics, work, ("tests.bench.sampler", str(report), "pipeline"))
        try:
            row = elo.measure_throughput(worker, options, oracle, broker.pid or 0)
        finally:
            worker.stop()
    print(f"{report.read_text(encoding='utf-8')}\n{format_table([row])}\n\nKept in {report}")
    return 0


def collect(options: Options) -> int:
    """Measure the collector; 1 when an event is missing."""
    rows = []
    with _workplace() as (broker, work):
        for row in measure_collector(Cluster(broker.bootstrap), work, options.seconds, broker.pid or 0):
            append_row(row, options.results)
            rows.append(row)
    print(f"\n{format_table(rows)}\n\nKept in {options.results}")
    return 0 if all(row["correct"] for row in rows) else 1


@contextlib.contextmanager
def _workplace() -> Iterator[tuple[EmbeddedBroker, Path]]:
    """A broker and an empty directory below `build/`; both are gone afterwards."""
    BUILD.mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="bench-", dir=BUILD.resolve()))
    try:
        with EmbeddedBroker(work / "broker", owner_pid=os.getpid(), report=OnStream()) as broker:
            yield broker, work
    finally:
        shutil.rmtree(work, ignore_errors=True)


COMMANDS: Final = {
    "measure": measure,
    "profile": profile,
    "profile-worker": profile_worker,
    "collect": collect,
    "bounds": bounds,
}


def main(arguments: list[str]) -> int:
    """Run one of the commands, by default `measure`."""
    [name] = arguments or ["measure"]
    if name not in COMMANDS:
        raise SystemExit(f"bench: {name!r} is not known, write one of: {' '.join(COMMANDS)}")
    return COMMANDS[name](read_options(os.environ))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:2]))
