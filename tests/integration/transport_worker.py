"""A worker for tests/integration/test_transport.py: a Faust app that writes down what it sees.

`python transport_worker.py SETTINGS` with a JSON object; see `Settings`. It has two modes. `plain` reads
ordinary topics and logs every batch. `tasks` is the shape of a real exactly-once resolver: one task and one
transactional producer per partition of `lead`, offsets of `lead` and `mail` inside the transactions, one
`out` record per batch.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import confluent_kafka as ck
from faust.types.tuples import TP

from pipeline.transport import Batch, Chain, Link, TransportOptions, batch_topic, consumer_of, create_app


@dataclass
class Settings:
    """What one worker does. `mode` is `plain` or `tasks`; times in seconds."""

    name: str
    bootstrap: str
    group: str
    log: str
    datadir: str
    mode: str = "plain"
    plain: list[str] = field(default_factory=list)
    lead: str = ""
    mail: str = ""
    out: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    records_max: int = 500
    backlog_records_max: int = 2000
    agent_sleep: float = 0.0
    commit_interval: float = 0.3
    forget_every: int = 0  # the agent throws away every n-th batch, as Faust may
    raise_at: int = -1  # the agent raises when it sees this offset
    pause: list[int] = field(default_factory=list)  # partitions paused until the gate opens
    gate: str = ""  # before_commit waits until this file exists
    stop_flow_every: float = 0.0  # stop and resume Faust's flow this often


SETTINGS = Settings(**json.loads(sys.argv[1]))
LOG = os.open(SETTINGS.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def log(kind: str, **what: Any) -> None:
    """Append one line; it survives a kill."""
    os.write(LOG, (json.dumps({"kind": kind, "at": time.time(), **what}) + "\n").encode())


def gate_is_open() -> bool:
    """Whether the test has made the file that opens the gate; without a gate, always."""
    return not SETTINGS.gate or os.path.exists(SETTINGS.gate)


def describe(batch: Batch) -> dict[str, Any]:
    """Return what a test wants to know about a batch."""
    return {
        "topic": batch.topic,
        "partition": batch.partition,
        "start": batch.position_start,
        "end": batch.position_end,
        "offsets": [record.offset() for record in batch.records],
        "ended": batch.end_of_partition,
    }


class Task:
    """One partition in `tasks` mode: fence, begin, then one transaction per batch."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.queue: asyncio.Queue[Batch] = asyncio.Queue()
        self.chains: dict[str, Chain] = {}
        self.runner = asyncio.ensure_future(self.run())

    def tp(self, topic: str) -> TP:
        return TP(topic, self.partition)

    def open(self) -> None:
        self.producer = ck.Producer(
            {
                "bootstrap.servers": SETTINGS.bootstrap,
                "transactional.id": f"{SETTINGS.group}-{self.partition}",
                "retry.backoff.ms": 5,
                "linger.ms": 0,
            }
        )
        self.producer.init_transactions(30)
        reader = ck.Consumer({"bootstrap.servers": SETTINGS.bootstrap, "group.id": SETTINGS.group})
        self.meta = reader.consumer_group_metadata()
        parts = [ck.TopicPartition(topic, self.partition) for topic in (SETTINGS.lead, SETTINGS.mail)]
        self.chains = {part.topic: Chain(max(part.offset, 0)) for part in reader.committed(parts, timeout=20)}
        reader.close()

    async def run(self) -> None:
        try:
            await asyncio.to_thread(self.open)
            consumer = consumer_of(app)
            for topic, chain in self.chains.items():
                consumer.begin(self.tp(topic), chain.position)
            while True:
                batch = await self.queue.get()
                if self.queue.qsize() < 2:
                    consumer.resume(self.tp(SETTINGS.lead))
                await self.process(consumer, batch)
        except ck.KafkaException as error:
            log("fenced", partition=self.partition, error=str(error))
            if TASKS.get(self.partition) is self:
                os._exit(3)

    async def process(self, consumer: Any, batch: Batch) -> None:
        chain = self.chains[batch.topic]
        link = chain.check(batch)
        if link is Link.GAP:
            log(
                "gap",
                topic=batch.topic,
                partition=self.partition,
                expected=chain.position,
                start=batch.position_start,
            )
            chain.epoch = consumer.rewind(self.tp(batch.topic), chain.position)
        if link is not Link.FITS:
            return
        log("batch", **describe(batch))
        records = [record for record in batch.records if record.offset() >= chain.position]
        if records:
            await asyncio.to_thread(self.commit, batch, records)
        chain.position = batch.position_end

    def commit(self, batch: Batch, records: list[Any]) -> None:
        self.producer.begin_transaction()
        offsets = [record.offset() for record in records]
        self.producer.produce(SETTINGS.out, json.dumps([batch.topic, batch.partition, offsets]).encode())
        if batch.topic == SETTINGS.lead:
            for offset in offsets[::7]:
                self.producer.produce(
                    SETTINGS.mail, str(offset).encode(), partition=(self.partition + offset) % 8
                )
        part = ck.TopicPartition(batch.topic, batch.partition, batch.position_end)
        self.producer.send_offsets_to_transaction([part], self.meta)
        self.producer.commit_transaction(30)


TASKS: dict[int, Task] = {}
FORGOTTEN = 0


def on_assigned(tps: set[TP]) -> None:
    """Start a task for each partition of the lead topic."""
    log("assigned", tps=sorted(tps))
    for tp in tps:
        if tp.topic == SETTINGS.lead:
            TASKS[tp.partition] = Task(tp.partition)
        if tp.topic in SETTINGS.plain and tp.partition in SETTINGS.pause:
            consumer_of(app).pause(tp)


def on_revoked(tps: set[TP]) -> None:
    """Stop the tasks that go; their transaction, if any, is fenced by the next owner."""
    log("revoked", tps=sorted(tps))
    for tp in tps:
        if tp.topic == SETTINGS.lead:
            TASKS.pop(tp.partition).runner.cancel()


async def before_commit() -> None:
    """Stands for a producer's flush."""
    log("flush")
    while not gate_is_open():  # noqa: ASYNC110  another process opens it
        await asyncio.sleep(0.05)


tasks_mode = SETTINGS.mode == "tasks"
mine = frozenset({SETTINGS.lead, SETTINGS.mail}) if tasks_mode else frozenset()
app = create_app(
    SETTINGS.name,
    SETTINGS.bootstrap,
    TransportOptions(
        group_id=SETTINGS.group,
        consumer_config={"session.timeout.ms": 6000, "heartbeat.interval.ms": 500, **SETTINGS.config},
        follows={SETTINGS.mail: SETTINGS.lead} if tasks_mode else {},
        own_offsets=mine,
        held=mine,
        before_commit=before_commit,
        on_assigned=on_assigned,
        on_revoked=on_revoked,
        records_max=SETTINGS.records_max,
        backlog_records_max=SETTINGS.backlog_records_max,
    ),
    datadir=SETTINGS.datadir,
    broker_commit_interval=SETTINGS.commit_interval,
)

if SETTINGS.plain:

    @app.agent(batch_topic(app, SETTINGS.plain))
    async def plain(stream: Any) -> None:
        """Log each batch, then finish it."""
        async for batch in stream:
            log("batch", **describe(batch))
            if SETTINGS.raise_at in [record.offset() for record in batch.records]:
                raise ValueError("an agent that raises")
            if SETTINGS.agent_sleep:
                await asyncio.sleep(SETTINGS.agent_sleep)
            log("done", topic=batch.topic, partition=batch.partition, end=batch.position_end)


if tasks_mode:

    @app.agent(batch_topic(app, [SETTINGS.lead, SETTINGS.mail]))
    async def resolver(stream: Any) -> None:
        """Pass each batch to its task; forget some, as Faust may do."""
        global FORGOTTEN
        async for batch in stream:
            task = TASKS.get(batch.partition)
            if task is None:
                continue
            FORGOTTEN += 1
            if SETTINGS.forget_every and FORGOTTEN % SETTINGS.forget_every == 0 and batch.records:
                log("forgot", topic=batch.topic, partition=batch.partition)
                continue
            task.queue.put_nowait(batch)
            if task.queue.qsize() > 4:
                consumer_of(app).pause(TP(SETTINGS.lead, batch.partition))


@app.task
async def report() -> None:
    """Log the counters; resume what is paused when the gate opens; shake the flow if asked to."""
    shaken = time.time()
    consumer = consumer_of(app)
    while True:
        await asyncio.sleep(0.1)
        now = time.time()
        stats = consumer.stats
        log(
            "stats",
            records=stats.records,
            batches=stats.batches,
            batches_put_back=stats.batches_put_back,
            records_put_back=stats.records_put_back,
            rebalances=stats.rebalances,
            rewinds=stats.rewinds,
            throttles=stats.throttles,
            commits=stats.commits,
            polls=stats.polls,
            backlog={f"{tp.topic}/{tp.partition}": consumer.backlog(tp) for tp in consumer.assignment()},
            ended=[list(tp) for tp in consumer.assignment() if consumer.caught_up(tp) is not None],
            lag={f"{tp.topic}/{tp.partition}": consumer.lag(tp) for tp in consumer.assignment()},
        )
        if SETTINGS.pause and gate_is_open():
            for tp in consumer.assignment():
                consumer.resume(tp)
        if SETTINGS.stop_flow_every and now - shaken > SETTINGS.stop_flow_every and not app.rebalancing:
            shaken = now
            consumer.stop_flow()
            app.flow_control.suspend()
            await asyncio.sleep(0.05)
            app.flow_control.resume()
            consumer.resume_flow()


@app.on_before_shutdown.connect
async def drain(sender: Any, **kwargs: Any) -> None:
    """Let each task finish the batch in hand: the group still counts us as a member."""
    log("shutdown")


if __name__ == "__main__":
    app.Worker(loglevel="warning", redirect_stdouts=False).execute_from_commandline()
