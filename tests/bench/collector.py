"""The collector under load over HTTP: batches of 100, then single requests, at full speed and at half.

The senders run in a process of their own, each on one connection, as SDKs do. `correct`: every event that was
answered with 200 is on the topic, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import psutil

from pipeline.topics import Topics

from .cluster import Cluster
from .machine import Meter, Usage, usage
from .report import Row, make_row

KEY: Final = "wk"
BATCHES: Final = (100, 1)
SENDERS: Final = {100: 8, 1: 32}
READY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Load:
    """What one run sends. `rate`: requests a second over all senders; 0: as fast as answers come."""

    port: int
    batch: int
    senders: int
    seconds: float
    rate: float
    run: str


@dataclass(slots=True)
class Answers:
    """What came back: how long each took in seconds, and how many were not 200."""

    seconds: list[float]
    others: int
    elapsed_s: float


def measure_collector(cluster: Cluster, work: Path, seconds: float, broker_pid: int) -> Iterator[Row]:
    """Throughput and the latency at half of it, for each size of batch."""
    topics = Topics("collect.")
    cluster.create(topics, 4)
    with _collector(cluster.bootstrap, topics.prefix, work) as (process, port):
        for batch in BATCHES:
            fastest = 0.0
            for rate in (0.0, 0.5):
                run = f"{batch}-{rate}"
                load = Load(port, batch, SENDERS[batch], seconds, rate * fastest, run)
                meter = Meter(broker=broker_pid, collector=process.pid)
                first = meter.sample()
                with ProcessPoolExecutor(1) as pool:
                    answers = pool.submit(send, load).result()
                total = usage(first, meter.sample())
                fastest = fastest or len(answers.seconds) / answers.elapsed_s
                yield _row(cluster, topics, load, answers, process, total)


def _row(
    cluster: Cluster, topics: Topics, load: Load, answers: Answers, process: psutil.Process, used: Usage
) -> Row:
    answers.seconds.sort()
    count = len(answers.seconds)
    events = count * load.batch
    arrived = sum(
        1 for message in cluster.read_all(topics.touchpoints) if load.run.encode() in message.value()
    )
    return make_row(
        "collect",
        "elo",
        mode=f"batches of {load.batch}" + (" at half" if load.rate else ""),
        n=events,
        events_s=round(events / answers.elapsed_s),
        requests_s=round(count / answers.elapsed_s),
        p50_ms=round(answers.seconds[count // 2] * 1000, 1),
        p99_ms=round(answers.seconds[int(count * 0.99)] * 1000, 1),
        rss_mb=round(process.memory_info().rss / 1024 / 1024),
        cpu_us_event=round(used.cpu_s["collector"] / events * 1e6, 1),
        other_cores=used.other_cores,
        correct=arrived == events and answers.others == 0,
    )


@contextlib.contextmanager
def _collector(bootstrap: str, prefix: str, work: Path) -> Iterator[tuple[psutil.Process, int]]:
    """`elo collect` in a process of its own, ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "pipeline", "collect", "--port", str(port), "--write-key", f"{KEY}=web"]
    command += ["--bootstrap", bootstrap, "--topic-prefix", prefix, "--data-dir", str(work / "collector")]
    started = subprocess.Popen(command, env=dict(os.environ))
    try:
        deadline = time.monotonic() + READY_S
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if time.monotonic() > deadline or started.poll() is not None:
                raise SystemExit("bench: the collector does not start")
            time.sleep(0.05)
        yield psutil.Process(started.pid), port
    finally:
        started.terminate()
        started.wait(30)


def send(load: Load) -> Answers:
    """Send in this process, which has nothing else to do."""
    return asyncio.run(_send_all(load))


async def _send_all(load: Load) -> Answers:
    answers = Answers([], 0, 0.0)
    begun_s = time.perf_counter()
    await asyncio.gather(*(_send(load, answers, number, begun_s) for number in range(load.senders)))
    answers.elapsed_s = time.perf_counter() - begun_s
    return answers


async def _send(load: Load, answers: Answers, sender: int, begun_s: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
    path = b"batch" if load.batch > 1 else b"track"
    number = 0
    while (elapsed_s := time.perf_counter() - begun_s) < load.seconds:
        if load.rate and (ahead_s := (number * load.senders + sender) / load.rate - elapsed_s) > 0:
            await asyncio.sleep(ahead_s)
        body = _body(load, f"{load.run}-{sender}-{number}", sender)
        number += 1
        asked_s = time.perf_counter()
        writer.write(b"POST /v1/%s HTTP/1.1\r\nhost: x\r\nx-write-key: %s\r\ncontent-length: %d\r\n\r\n%s"
                     % (path, KEY.encode(), len(body), body))  # fmt: skip
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        if b" 200 " in head[:15]:
            answers.seconds.append(time.perf_counter() - asked_s)
        else:
            answers.others += 1
    writer.close()


def _body(load: Load, request: str, sender: int) -> bytes:
    """Tracks as analytics-python sends them."""
    items = [
        {
            "type": "track", "event": "Product Viewed", "userId": f"u{sender}", "anonymousId": None,
            "messageId": f"{request}-{step}", "timestamp": "2026-11-23T01:14:52.477+00:00",
            "context": {"library": {"name": "analytics-python", "version": "2.4.0"}},
            "properties": {"price": 12.5, "category": "running shoes", "step": step},
        }
        for step in range(load.batch)
    ]  # fmt: skip
    return orjson.dumps(
        {"batch": items, "sentAt": "2026-11-23T01:14:52.9+00:00"} if load.batch > 1 else items[0]
    )
