"""Promise: the transport loses no record, in whatever way workers come and go, and commits nothing too early.

Each test runs whole Faust workers as processes (transport_worker.py) against a real broker.
"""

from __future__ import annotations

import collections
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

WORKER = Path(__file__).with_name("transport_worker.py")
WAIT_S = 25.0  # longest wait for something that normally takes under 5 s


class Workers:
    """Workers of one test, their logs, and the topics they use."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        self.bootstrap, self.prefix, self.folder = bootstrap, prefix, folder
        self.group = f"{prefix}group"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.admin = AdminClient({"bootstrap.servers": bootstrap})

    def topic(self, name: str, partitions: int = 4) -> str:
        """Create a topic and return its full name."""
        full = f"{self.prefix}{name}"
        self.admin.create_topics([NewTopic(full, partitions, 1)])[full].result(20)
        return full

    def start(self, name: str, **settings: Any) -> None:
        """Start a worker; its log goes to `<name>.log`."""
        text = json.dumps(
            {
                "name": name,
                "bootstrap": self.bootstrap,
                "group": self.group,
                "log": str(self.log_path(name)),
                "datadir": str(self.folder / f"{name}-data"),
                **settings,
            }
        )
        with open(self.folder / f"{name}.out", "wb") as out:
            self.processes[name] = subprocess.Popen(
                [sys.executable, str(WORKER), text], stdout=out, stderr=out
            )

    def stop(self, name: str, how: int = signal.SIGTERM, timeout: float = 15) -> int:
        """Signal a worker and wait for its end; return its exit code."""
        process = self.processes[name]
        process.send_signal(how)
        return process.wait(timeout)

    def log_path(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def log(self, name: str, *kinds: str) -> list[dict[str, Any]]:
        """Return what a worker has logged so far, of the given kinds if any."""
        path = self.log_path(name)
        if not path.exists():
            return []
        lines = [
            json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")
        ]
        return [line for line in lines if not kinds or line["kind"] in kinds]

    def stats(self, name: str) -> dict[str, Any]:
        """Return the last counters of a worker."""
        lines = self.log(name, "stats")
        return lines[-1] if lines else {}

    def seen(self, name: str) -> list[tuple[str, int, int]]:
        """Return topic, partition, offset of every record handed to the agents of a worker, in order."""
        return [
            (b["topic"], b["partition"], offset) for b in self.log(name, "batch") for offset in b["offsets"]
        ]

    def wait(self, condition: Callable[[], object], what: str, timeout: float = WAIT_S) -> None:
        """Wait until `condition` is true; fail with the workers' output."""
        limit = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > limit:
                tails = {p.name: p.read_text()[-1500:] for p in self.folder.glob("*.out")}
                pytest.fail(f"never happened: {what}\n" + "\n".join(f"{k}: {v}" for k, v in tails.items()))
            time.sleep(0.05)

    def committed(self, topic: str, partitions: int = 4) -> list[int]:
        """Return the committed offsets of the group, 0 where there is none."""
        reader = ck.Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group})
        parts = reader.committed([ck.TopicPartition(topic, p) for p in range(partitions)], timeout=15)
        reader.close()
        return [max(part.offset, 0) for part in parts]

    def produce(
        self,
        topic: str,
        count: int,
        partitions: int = 4,
        rate: float = 0,
        over: threading.Event | None = None,
    ) -> None:
        """Produce `count` records round the partitions, `rate` a second (0: at once), or until it is over."""
        producer = ck.Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5})
        start = time.monotonic()
        for i in range(count):
            producer.produce(topic, str(i).encode(), partition=i % partitions)
            if over is not None and over.is_set():
                break
            if rate and i % 20 == 0:
                producer.poll(0)
                time.sleep(max(0.0, start + i / rate - time.monotonic()))
        producer.flush(20)


@pytest.fixture
def workers(kafka: Any, topic_prefix: str, tmp_path: Path) -> Iterator[Workers]:
    """Workers that are gone when the test ends."""
    workers = Workers(kafka.bootstrap, topic_prefix, tmp_path)
    yield workers
    for process in workers.processes.values():
        if process.poll() is None:
            process.kill()
            process.wait(10)


def read_all(workers: Workers, topic: str, partitions: int) -> list[ck.Message]:
    """Return all committed records of a topic."""
    reader = ck.Consumer(
        {
            "bootstrap.servers": workers.bootstrap,
            "group.id": f"{workers.prefix}check",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    reader.assign([ck.TopicPartition(topic, p, ck.OFFSET_BEGINNING) for p in range(partitions)])
    records, ended = [], set()
    while len(ended) < partitions:
        for message in reader.consume(5000, 1.0):
            if message.error() is None:
                records.append(message)
            elif message.error().code() == ck.KafkaError._PARTITION_EOF:
                ended.add(message.partition())
    reader.close()
    return records


def chain_breaks(log: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return where a batch does not begin at the end of the one before it, within one assignment."""
    ends: dict[tuple[str, int], int] = {}
    breaks = []
    for line in log:
        if line["kind"] in ("assigned", "revoked"):
            for topic, partition in line["tps"]:
                ends.pop((topic, partition), None)
        elif line["kind"] == "batch":
            key = line["topic"], line["partition"]
            inside = [line["start"], *line["offsets"], line["end"] - (1 if line["offsets"] else 0)]
            if ends.get(key, line["start"]) != line["start"] or inside != sorted(inside):
                breaks.append((*key, ends.get(key), line["start"], line["offsets"][:3], line["end"]))
            ends[key] = line["end"]
    return breaks


def check_exactly_once(workers: Workers, lead: str, mail: str, out: str, alive: tuple[str, ...]) -> None:
    """Wait until the workers `alive` have read everything; every record must be in one transaction."""
    count = len(read_all(workers, lead, 8))

    def done() -> bool:
        ends = [workers.stats(name).get("ended", []) for name in alive]
        return sum(map(len, ends)) == 16 and sum(workers.committed(lead, 8)) >= count

    workers.wait(done, "all touches are committed")
    time.sleep(1.5)
    seen: collections.Counter[tuple[str, int, int]] = collections.Counter()
    for record in read_all(workers, out, 1):
        topic, partition, offsets = json.loads(record.value())
        seen.update((topic, partition, offset) for offset in offsets)
    touches = {(lead, record.partition(), record.offset()) for record in read_all(workers, lead, 8)}
    mails = {(mail, record.partition(), record.offset()) for record in read_all(workers, mail, 8)}
    assert len(mails) > count // 10
    assert [key for key, times in seen.items() if times > 1] == []
    assert (touches | mails) - set(seen) == set()


def test_workers_that_join_leave_and_die_process_every_record_exactly_once(
    workers: Workers,
) -> None:
    """One task per partition, offsets in transactions, mail that follows, and batches that get lost."""
    lead, mail, out = workers.topic("touches", 8), workers.topic("mail", 8), workers.topic("out", 1)
    settings: dict[str, Any] = {
        "mode": "tasks",
        "lead": lead,
        "mail": mail,
        "out": out,
    }
    over = threading.Event()
    load = threading.Thread(target=workers.produce, args=(lead, 200_000, 8, 3_000, over))
    workers.start("one", forget_every=23, **settings)
    workers.wait(lambda: workers.log("one", "batch") or workers.log("one", "assigned"), "first assignment")
    load.start()
    time.sleep(1.5)
    workers.start("two", **settings)
    workers.wait(lambda: workers.seen("two"), "the second worker gets partitions")
    time.sleep(1)
    assert workers.stop("two") == 0
    workers.start("three", **settings)
    workers.wait(lambda: workers.seen("three"), "the third worker gets partitions")
    time.sleep(1)
    workers.stop("one", signal.SIGKILL)
    workers.start("four", **settings)
    workers.wait(lambda: workers.seen("four"), "the fourth worker gets partitions")
    over.set()
    load.join()
    check_exactly_once(workers, lead, mail, out, alive=("three", "four"))
    gaps = [line for line in workers.log("one") if line["kind"] == "gap"]
    assert len(gaps) > 10, "lost batches were noticed and read again"
    assert [workers.processes[name].poll() for name in ("three", "four")] == [None, None]
    for name in ("two", "three", "four"):
        assert workers.log(name, "gap") == []
        assert chain_breaks(workers.log(name)) == []
    for name in ("one", "two", "three", "four"):
        for line in workers.log(name, "assigned", "revoked"):
            touches = {p for topic, p in line["tps"] if topic == lead}
            assert touches == {p for topic, p in line["tps"] if topic == mail}


def test_batches_that_faust_drops_are_handed_over_again_in_order(workers: Workers) -> None:
    """Faust empties its queues when its flow resumes: no record is lost, seen twice or out of order."""
    topic = workers.topic("raw")
    workers.produce(topic, 40_000)
    workers.start("one", plain=[topic], agent_sleep=0.02, stop_flow_every=0.3, records_max=200)
    workers.wait(lambda: len(workers.seen("one")) >= 40_000, "all records are seen")
    assert workers.stats("one")["batches_put_back"] > 3
    assert chain_breaks(workers.log("one")) == []
    assert max(collections.Counter(workers.seen("one")).values()) == 1
    workers.wait(lambda: workers.committed(topic) == [10_000] * 4, "all is committed")


def test_offsets_are_committed_after_agent_and_flush_and_at_the_end(workers: Workers) -> None:
    """Nothing is committed while the flush waits. A clean stop leaves nothing to read again."""
    topic = workers.topic("raw")
    gate = workers.folder / "gate"
    workers.produce(topic, 8_000)
    workers.start("one", plain=[topic], gate=str(gate), agent_sleep=0.01)
    workers.wait(lambda: len(workers.seen("one")) == 8_000, "all records are seen")
    time.sleep(0.8)
    assert workers.log("one", "flush") != []
    assert workers.committed(topic) == [0] * 4
    gate.touch()
    workers.wait(lambda: workers.committed(topic) == [2_000] * 4, "all is committed")
    workers.produce(topic, 4_000)
    workers.wait(lambda: len(workers.seen("one")) == 12_000, "the rest is seen")
    assert workers.stop("one") == 0
    assert workers.committed(topic) == [3_000] * 4

    workers.start("two", plain=[topic], agent_sleep=0.05, records_max=100)
    workers.produce(topic, 8_000)
    workers.wait(lambda: len(workers.log("two", "done")) > 12, "the second worker is in the middle of it")
    workers.stop("two", signal.SIGKILL)
    done = {(b["topic"], b["partition"]): b["end"] for b in workers.log("two", "done")}
    committed = workers.committed(topic)
    assert all(committed[p] <= done.get((topic, p), 3_000) for p in range(4))
    assert sum(committed) > 12_000
    workers.start("three", plain=[topic])
    rest = {(topic, p, offset) for p in range(4) for offset in range(committed[p], 5_000)}
    workers.wait(lambda: set(workers.seen("three")) == rest, "the third worker reads what was not committed")


def test_a_paused_partition_waits_alone_and_loses_nothing(workers: Workers) -> None:
    """The others go on; its records wait within the backlog's bounds, then in the broker."""
    topic = workers.topic("raw")
    workers.produce(topic, 40_000)
    gate, tail = workers.folder / "gate", f"{topic}/1"
    workers.start("one", plain=[topic], pause=[1], gate=str(gate), records_max=500, backlog_records_max=2_000)
    workers.wait(lambda: len(workers.seen("one")) >= 30_000, "the other partitions are read")
    workers.wait(lambda: workers.stats("one")["backlog"][tail] >= 2_000, "its backlog is full")
    assert {partition for _, partition, _ in workers.seen("one")} == {0, 2, 3}
    stats = workers.stats("one")
    assert stats["backlog"][tail] <= 2_500
    assert stats["lag"][tail] in (None, 10_000)
    assert stats["throttles"] >= 1
    gate.touch()
    workers.wait(lambda: len(workers.seen("one")) == 40_000, "the paused partition is read")
    assert max(collections.Counter(workers.seen("one")).values()) == 1
    assert chain_breaks(workers.log("one")) == []
    workers.wait(lambda: len(workers.stats("one")["ended"]) == 4, "the end of each partition is seen")
    last = {b["partition"]: b["end"] for b in workers.log("one", "batch")}
    assert last == dict.fromkeys(range(4), 10_000)


def test_an_agent_that_raises_stops_the_worker_and_its_batch_is_read_again(workers: Workers) -> None:
    """Faust alone would acknowledge the batch and go on."""
    topic = workers.topic("raw", 1)
    workers.produce(topic, 3_000, 1)
    workers.start("one", plain=[topic], raise_at=1_700, records_max=500, agent_sleep=0.05)
    assert workers.processes["one"].wait(WAIT_S) != 0
    assert workers.committed(topic, 1)[0] <= 1_500
