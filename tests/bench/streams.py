"""The reference job on Kafka Streams: built with Maven, run as its own process, checked by its own oracle.

Exactly-once, commits every 100 ms, one stream thread: what a user of Kafka Streams gets who asks for what Elo
gives.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import fastavro
from confluent_kafka.admin import NewTopic

from pipeline.topics import Topics

from .child import Child
from .cluster import Cluster
from .latency import LatencyRun, Seen
from .machine import Meter, rss_mb_max, usage
from .options import BUILD, Options
from .report import Row, make_row
from .streams_oracle import StreamsOracle

SOURCE: Final = Path(__file__).parent / "kstreams"
SEGMENT_SCHEMA: Final = cast(
    Any, fastavro.parse_schema(json.loads((SOURCE / "src/main/avro/segment.avsc").read_text()))
)
JVM: Final = ("-Xms1g", "-Xmx1g", "-XX:+UseParallelGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
POLL_S: Final = 0.02
STARTS_WITHIN_S: Final = 60
SETTLE_S: Final = 10  # from the start of the JVM to a paced load: it must own its partitions by then


def missing_tools() -> list[str]:
    """Which of the programs that this needs are not found."""
    return [program for program in ("java", "mvn") if shutil.which(program) is None]


def build_job() -> Path:
    """Build the job, unless this very source is built already; return the folder with its jars."""
    digest = hashlib.sha256()
    for path in sorted(path for path in SOURCE.rglob("*") if path.is_file() and "target" not in path.parts):
        digest.update(path.relative_to(SOURCE).as_posix().encode() + b"\0" + path.read_bytes())
    home = BUILD / "kstreams" / digest.hexdigest()[:16]
    if not (home / "built").exists():
        print(
            "bench: building the Kafka Streams job with Maven (downloads its libraries the first time)",
            flush=True,
        )
        shutil.copytree(SOURCE, home, dirs_exist_ok=True)
        subprocess.run(
            ["mvn", "-q", "-B", "-Dstyle.color=never", "-DskipTests", "package"], cwd=home, check=True
        )
        (home / "built").touch()
    return home / "target"


class StreamsJob:
    """One run of the job, with topics and a state folder of its own."""

    def __init__(self, cluster: Cluster, prefix: str, partitions: int, work: Path) -> None:
        self._cluster, self._run = cluster, f"kstreams-{time.time_ns() // 1_000_000}"
        self.segments, self.rejected = f"{self._run}.segments", f"{self._run}.rejected"
        cluster.create_topics([
            NewTopic(self.segments, partitions, 1, config={"message.timestamp.type": "LogAppendTime"}),
            NewTopic(self.rejected, partitions, 1),
        ])  # fmt: skip
        self._stats, self._state = work / f"{self._run}.stats", work / f"{self._run}.state"
        jars = build_job()
        command = ["java", *JVM, "-cp", f"{jars}/*:{jars}/libs/*", "bench.Job"]
        environment = {
            **os.environ, "APP_ID": self._run, "BOOTSTRAP": cluster.bootstrap, "STATE_DIR": str(self._state),
            "TOPIC_PREFIX": prefix, "PARTITIONS": str(partitions), "SEGMENTS_TOPIC": self.segments,
            "REJECTED_TOPIC": self.rejected, "STATS_FILE": str(self._stats), "GUARANTEE": "exactly_once_v2",
            "THREADS": "1", "COMMIT_MS": "100",
        }  # fmt: skip
        self.child = Child("Kafka Streams", command, environment, work / f"{self._run}.log")

    def stats(self) -> Mapping[str, float] | None:
        """The newest counters of the job; None before the first touchpoint."""
        self.child.check()
        lines = self._stats.read_text().splitlines(keepends=True) if self._stats.exists() else []
        whole = [line for line in lines[-2:] if line.endswith("\n")]
        found = json.loads(whole[-1]) if whole else None
        return found if found and found["src"] else None

    def is_done(self, topics: Topics, n: int) -> bool:
        """Whether all `n` touchpoints went through all stages and are committed."""
        stats = self.stats()
        if stats is None or stats["rej"] + stats["dup"] + stats["prof"] < n:
            return False
        hops = [f"{self._run}-{name}-repartition" for name in ("by-identifier", "by-profile")]
        return self._cluster.is_consumed(self._run, [*topics.touchpoints, *hops])

    def differences(self, oracle: StreamsOracle) -> list[str]:
        """Compare the output with the oracle; none when they agree."""
        members: Counter[str] = Counter()
        for message in self._cluster.read_all([self.segments]):
            change = _decode_change(message.value() or b"")
            members[change["segment"]] += 1 if change["change"] == "entered" else -1
        rejected = sum(1 for _ in self._cluster.read_all([self.rejected]))
        found = {"members": dict(members), "rejected": rejected}
        wanted = {"members": oracle.members(), "rejected": oracle.rejected}
        return [
            f"{name} is {found[name]}, expected {wanted[name]}"
            for name in wanted
            if found[name] != wanted[name]
        ]

    def clean(self) -> None:
        """End the process and remove what it left."""
        self.child.stop()
        self._cluster.delete_topics(self._run)
        shutil.rmtree(self._state, ignore_errors=True)


def _decode_change(value: bytes) -> dict[str, Any]:
    return cast(dict[str, Any], fastavro.schemaless_reader(io.BytesIO(value[5:]), SEGMENT_SCHEMA, None))


def measure_throughput(
    cluster: Cluster, topics: Topics, options: Options, oracle: StreamsOracle, broker_pid: int, work: Path
) -> Row:
    """Process the loaded touchpoints, from the first one read to the last one committed."""
    job = StreamsJob(cluster, topics.prefix, options.partitions, work)
    meter = Meter(job=job.child.pid, broker=broker_pid)
    try:
        while (stats := job.stats()) is None:
            time.sleep(POLL_S)
        first = meter.sample()
        while not job.is_done(topics, options.n):
            time.sleep(POLL_S)
        last = meter.sample()
        used = usage(first, last)
        memory = rss_mb_max(job.child.pid)
        job.child.stop()
        differences = job.differences(oracle)
    finally:
        job.clean()
    events = options.n - stats["src"]  # those that came before the first sample are not in the CPU
    return make_row(
        "throughput",
        "kafka-streams",
        mode="exactly-once",
        n=options.n,
        workers=1,
        partitions=options.partitions,
        events_s=round(options.n / (last.at - stats["first"])),
        cpu_us_event=round(used.cpu_s["job"] / events * 1e6, 1),
        broker_us_event=round(used.cpu_s["broker"] / events * 1e6, 1),
        rss_mb=memory,
        other_cores=used.other_cores,
        correct=not differences,
        differences=differences or None,
    )


def measure_latency(
    cluster: Cluster, run: LatencyRun, oracle: StreamsOracle, broker_pid: int, work: Path
) -> Row:
    """Touch → segment change at the paced load of `run`."""
    job = StreamsJob(cluster, run.topics.prefix, run.options.partitions, work)
    try:
        time.sleep(SETTLE_S)
        job.child.check()
        result = run.measure(
            cluster, job.segments, job.child.pid, broker_pid, lambda: job.is_done(run.topics, run.n)
        )
        memory = rss_mb_max(job.child.pid)
        job.child.stop()
        differences = job.differences(oracle)
    finally:
        job.clean()
    return result.make_row(
        "kafka-streams", _touch_of, rss_mb=memory, mode="exactly-once", differences=differences
    )


def _touch_of(seen: Seen) -> str | None:
    return str(_decode_change(seen.value)["event_id"])
