"""One worker: a Faust app with the intake agent and the resolver agent on the batch transport.

Faust owns agents, partition assignment, timers, signals and the life of the process; what happens to a
partition is the task's. An unexpected error ends the process before anything is committed.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import structlog
from confluent_kafka import KafkaException
from faust.types.tuples import TP
from rocksdict import Cache

from .. import COMPILED, __version__
from ..core.errors import PipelineError
from ..core.published import Published
from ..settings import Settings
from ..topics import Topics
from ..transport import Batch, TransportOptions, batch_topic, consumer_of, create_app
from . import metrics
from .connect import denial_of
from .control import Control, decode_definition, decode_policy
from .environment import Environment, wall_ms
from .health import Health, check_port, serve
from .intake import Intake
from .logs import configure_logs
from .processor import Processor
from .published import policy_of_file
from .spans import open_spans
from .standby import Standby
from .startup import check_topics, give_memory_back, make_data_dir, take_worker_id, use_one_arena
from .task import Task
from .traces import LINKS_MAX, Traces
from .watchdog import LOOK_S, Watchdog

log = structlog.get_logger()

EXIT_CLEAN: Final = 0
EXIT_FATAL: Final = 3
BLOCK_CACHE_BYTES: Final = 32 * 1024 * 1024
SWITCH_INTERVAL_S: Final = (
    0.001  # a thread back from the broker gets the interpreter soon; see docs/architecture.md
)
LAG_EVERY_S: Final = 1.0
BACKLOG_RECORDS_MAX: Final = 1_500  # of each partition of each topic; more only takes memory
TRIM_EVERY_S: Final = 5.0
GARBAGE_EVERY_S: Final = 60.0
GARBAGE_REST_S: Final = 5.0
"""The cycle collector runs only while nothing is to do: nothing that is made per record is in a cycle, and
its passes over the cached nodes took half of a loaded worker's time (docs/benchmarks.md).
"""
STOP_TIMEOUT_S: Final = 30.0
HEARTBEAT_MS: Final = 500  # how soon a worker hears that another has come or gone; Kafka's 3 s were felt


def run(settings: Settings) -> int:
    """Run one worker until SIGTERM, SIGINT or a fatal error. Returns the exit code: 0 clean, 3 fatal."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_CLEAN))  # Until Faust installs its own handler.
    use_one_arena()
    configure_logs(settings)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    file = policy_of_file(settings)
    policy = file.policy
    topics = settings.topics(policy.history_ms)
    partitions = check_topics(settings, topics)
    metrics.BUILD.info(
        {"version": __version__, "policy_version": str(policy.version), "compiled": str(COMPILED).lower()}
    )
    make_data_dir(settings)
    check_port(settings.web_host, settings.web_port)
    worker = Worker(settings, topics, partitions, file)
    worker.execute()
    return worker.exit_code


class Worker:
    """The Faust app, its agents and the tasks of the partitions that it owns."""

    def __init__(self, settings: Settings, topics: Topics, partitions: int, policy: Published) -> None:
        self.settings = settings
        self.topics = topics
        self.exit_code = EXIT_CLEAN
        self.tasks: dict[int, Task] = {}
        self.lives: dict[int, asyncio.Task[None]] = {}
        self.processor: Processor | None = None
        self._processing: asyncio.Task[None] | None = None
        spans = open_spans("elo-worker")
        self.intake = Intake(settings, topics, partitions, spans)
        self.health = Health(self)
        self.executor = ThreadPoolExecutor(max_workers=2 * partitions + 2, thread_name_prefix="task")
        self.control = Control(settings, topics.definitions, decode_definition, self._control_changed)
        self.policies = Control(settings, topics.policy, decode_policy, self._control_changed)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_read_controls = self._was_admitted = False
        self.watchdog = Watchdog(settings.watchdog_ms / 1000)
        self.app = self._make_app()
        worker_id, state_dir, self._id_lock = take_worker_id(settings)
        self.environment = Environment(
            settings=settings,
            topics=topics,
            policy=policy,
            partitions=partitions,
            executor=self.executor,
            cache=Cache(BLOCK_CACHE_BYTES),
            control=self.control,
            policies=self.policies,
            understood=self.intake.use,
            nodes_bytes=settings.cache_mb * 1024 * 1024 // max(1, partitions),
            at_end=lambda topic, partition, offset: self._consumer.is_read_to_end(
                TP(topic, partition), offset
            ),
            has_read=lambda topic, partition, offset, end: self._consumer.has_read(
                TP(topic, partition), offset, end
            ),
            membership=lambda: self._consumer.group_metadata(),  # noqa: PLW0108 - there is no consumer yet
            claim=lambda part: self._consumer.commit_noted(part),  # noqa: PLW0108 - nor here
            start=lambda topic, partition, offset: self._consumer.begin_at(TP(topic, partition), offset),
            rewind=lambda topic, partition, offset: self._consumer.rewind(TP(topic, partition), offset),
            pause=self._pause,
            data_dir=state_dir,
            transactional_id=f"{settings.group}-{worker_id}",
            wake=self._wake_processor,
            reopen=self._reopen,
            watchdog=self.watchdog,
            traces=Traces(LINKS_MAX if spans is not None else 0),
            spans=spans,
        )
        self.standby = Standby(self.environment, self.fail)

    @property
    def _consumer(self) -> Any:
        return consumer_of(self.app)

    def _make_app(self) -> Any:
        settings, topics = self.settings, self.topics
        internal = frozenset((topics.touches, topics.mail))
        name = {"group_instance_id": settings.worker_name} if settings.worker_name else {}
        options = TransportOptions(
            group_id=settings.group,
            consumer_config=settings.kafka_config(
                session_timeout_ms=settings.session_timeout_ms,
                heartbeat_interval_ms=min(settings.session_timeout_ms // 4, HEARTBEAT_MS),
                **name,
            ),
            leave_on_close=settings.leave_on_stop,
            # One unit of work for the group: spread topic by topic, all of elo.touches may end up at one
            # worker.
            follows=dict.fromkeys((topics.mail, *topics.touchpoints, topics.decisions), topics.touches),
            lone=frozenset((topics.decisions,)),
            own_offsets=internal,
            held=internal,
            before_commit=self.intake.flush,
            on_assigned=self._assigned,
            on_revoked=self._revoked,
            records_max=settings.batch_records_max,
            backlog_records_max=BACKLOG_RECORDS_MAX,
        )
        app = create_app(
            settings.group,
            settings.bootstrap,
            options,
            datadir=str(settings.data_dir / "faust"),
            broker_commit_interval=0.25,
        )
        inputs = batch_topic(app, (*topics.touchpoints, topics.decisions))
        internal_topics = batch_topic(app, (topics.touches, topics.mail))

        @app.agent(inputs, name="intake")
        async def intake(stream: Any) -> None:
            async for batch in stream:
                if batch.records:
                    await self.intake.handle(batch.records)

        @app.agent(internal_topics, name="resolver")
        async def resolver(stream: Any) -> None:
            async for batch in stream:
                self._offer(batch)

        self._add_services(app)
        return app

    def _add_services(self, app: Any) -> None:
        """What runs beside the agents: definitions, health, lag, the collector; and the orderly end."""
        settings = self.settings

        @app.task(on_leader=False)
        async def started() -> None:
            self._loop = asyncio.get_running_loop()
            self.watchdog.start()
            await serve(self.health, settings.web_host, settings.web_port)
            for control in (self.control, self.policies):
                control.start()
                await control.wait()
            self._has_read_controls = True
            self._control_changed()

        @app.task(on_leader=False)
        async def pulse() -> None:
            while True:
                self.watchdog.begin("event loop")
                await asyncio.sleep(LOOK_S)

        @app.timer(GARBAGE_EVERY_S)
        async def garbage() -> None:
            if all(task.is_resting(GARBAGE_REST_S) for task in self.tasks.values()):
                gc.collect()

        @app.timer(TRIM_EVERY_S)
        async def trim() -> None:
            give_memory_back()

        @app.timer(LAG_EVERY_S)
        async def lag() -> None:
            self._measure_lag()
            if self.settings.standby and self.is_started():
                self.standby.want([number for number, life in self.lives.items() if not life.done()])

        @app.on_before_shutdown.connect
        async def drain(sender: Any, **arguments: Any) -> None:
            await self.stop_tasks()

    def is_started(self) -> bool:
        """Whether it has read definitions and policies and was admitted to the group, once."""
        if self._has_read_controls and not self._was_admitted:
            self._was_admitted = self._consumer.group_metadata() is not None
        return self._was_admitted

    # -- partitions ------------------------------------------------------------------------------------

    def _offer(self, batch: Batch) -> None:
        task = self.tasks.get(batch.partition)
        if task is not None:
            task.offer(batch)

    def _assigned(self, tps: set[TP]) -> None:
        for tp in sorted(tps):
            if tp.topic == self.topics.touches:
                self._begin_life(tp.partition)

    def _begin_life(self, partition: int) -> None:
        before = self.lives.get(partition)
        task = self.tasks[partition] = Task(self.environment, partition)
        self.lives[partition] = asyncio.ensure_future(self._live(task, before))

    def _revoked(self, tps: set[TP]) -> None:
        for tp in tps:
            if tp.topic == self.topics.touches and (task := self.tasks.pop(tp.partition, None)) is not None:
                task.stop()
            for gauge in (metrics.LAG_RECORDS, metrics.LAG_SECONDS):
                gauge.remove_by_labels({"topic": tp.topic, "partition": str(tp.partition)})
            self.intake.handled_ms.pop((tp.topic, tp.partition), None)

    async def _live(self, task: Task, before: asyncio.Task[None] | None) -> None:
        """One life of a partition here. The one before must have closed its files."""
        if before is not None:
            await asyncio.wait([before])
            gc.collect()
        try:
            await self.control.wait()
            await self.policies.wait()
            await self.standby.release(task.partition)
            processor = self._start_processor()
            await task.open(lambda: processor.checkpoint.changelog_next.get(task.partition, 0))
            if not task.stopping:
                await processor.serve(task)
            await task.close()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, the process must end
            self.fail(error)

    def _start_processor(self) -> Processor:
        if self.processor is None:
            self.processor = Processor(self.environment)
            self._processing = asyncio.ensure_future(self._process(self.processor))
        return self.processor

    def _reopen(self) -> None:
        """Begin a new life of every partition that was abandoned."""
        for partition, task in self.tasks.items():
            if task.stopping:
                self._begin_life(partition)

    async def _process(self, processor: Processor) -> None:
        try:
            await processor.run()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, the process must end
            self.fail(error)

    def _wake_processor(self) -> None:
        if self.processor is not None:
            self.processor.wake()

    def fail(self, error: BaseException) -> None:
        """End the process: nothing more is committed, a restart reads again from the last good state."""
        if isinstance(error, KafkaException):
            error = denial_of(self.settings, error.args[0]) or error
        log.error("fatal, the worker ends", error=str(error) or repr(error), kind=type(error).__name__)
        if isinstance(error, PipelineError):
            sys.stderr.write(f"elo: {error}\n")
        else:
            sys.excepthook(type(error), error, error.__traceback__)
        sys.stderr.flush()
        os._exit(EXIT_FATAL)

    async def stop_tasks(self) -> None:
        """Let every task finish and commit the batch under way, and close its files."""
        for task in self.tasks.values():
            task.stop()
        self.tasks.clear()
        lives = [life for life in self.lives.values() if not life.done()]
        if lives:
            await asyncio.wait(lives, timeout=STOP_TIMEOUT_S)
        if self.processor is not None and self._processing is not None:
            self.processor.stop()
            await asyncio.wait([self._processing], timeout=STOP_TIMEOUT_S)
        self.standby.stop()
        self.control.stop()
        self.policies.stop()

    def _control_changed(self) -> None:
        """Called on the control threads."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake_tasks)

    def _wake_tasks(self) -> None:
        for control in (self.control, self.policies):
            if control.failure is not None:
                self.fail(control.failure)
        self._wake_processor()

    def _pause(self, topic: str, partition: int, pause: bool) -> None:
        change = self._consumer.pause if pause else self._consumer.resume
        change(TP(topic, partition))

    def _measure_lag(self) -> None:
        now_ms = wall_ms()
        for tp in self._consumer.assignment():
            lag = self._consumer.lag(tp)
            if lag is not None:
                metrics.LAG_RECORDS.labels(tp.topic, tp.partition).set(lag)
                if tp.topic in self.topics.inputs:
                    lag_s = self.intake.lag_seconds(*tp, now_ms) if lag else 0.0
                    metrics.LAG_SECONDS.labels(tp.topic, tp.partition).set(lag_s)
        states = {"ready": 0, "restoring": 0}
        for partition, task in self.tasks.items():
            states["ready" if task.ready else "restoring"] += 1
            lag_s = task.lag_seconds()
            metrics.LAG_SECONDS.labels(self.topics.touches, partition).set(lag_s)
            task.measure()
        for state, count in states.items():
            metrics.PARTITIONS.labels(state).set(count)

    # -- process ---------------------------------------------------------------------------------------

    def execute(self) -> None:
        """Run Faust's worker: event loop, signals, orderly shutdown."""
        import uvloop

        gc.disable()
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        worker = self.app.Worker(
            loglevel=self.settings.log_level, redirect_stdouts=False, quiet=True, override_logging=False
        )
        worker.spinner = None  # It writes to a log what only a terminal understands.
        try:
            worker.execute_from_commandline()
        except SystemExit as end:
            self.exit_code = EXIT_CLEAN if end.code in (0, None) else EXIT_FATAL
        except KeyboardInterrupt:
            self.exit_code = EXIT_CLEAN
        if self.app.crashed:
            self.exit_code = EXIT_FATAL
