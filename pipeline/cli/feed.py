"""Lines of JSON to touchpoint topics: read, encode, pace, send, and know that all arrived.

It decides which lines can be sent at all. Whether a touchpoint is a good one is for the intake to say.
"""

from __future__ import annotations

import gzip
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final

import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ..core.errors import Retryable
from ..settings import Settings
from ..topics import INPUT_BYTES_MAX
from ..wire.avro import encode_touchpoint
from .kafka import SLICE_S, client_config, connect, partitions_of
from .options import CommandFailed, console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

FALLBACK_SOURCE: Final = "crm"
"""Sources without a topic of their own are back-office systems as a rule; the record keeps its source."""
RECORD_OVERHEAD_BYTES: Final = 4096  # key, header and batch around a value of the largest size
DELIVERY_MS: Final = 60_000
PROGRESS_S: Final = 0.1
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Feed:
    """Sends files to the touchpoint topics of one deployment. Call `finish` at the end.

    `raw_source` None: lines are touchpoints, sent as Avro. Otherwise each line goes as it is to that
    source's topic.
    """

    def __init__(self, settings: Settings, rate: float | None, raw_source: str | None) -> None:
        topics = settings.topics()
        self.topics = {topics.source_of(name): name for name in topics.touchpoints}
        if raw_source is not None and raw_source not in self.topics:
            raise CommandFailed(f"--source {raw_source} has no topic, name one of {', '.join(self.topics)}")
        partitions_of(connect(settings), topics.touchpoints)
        self.rate, self.raw_source = rate, raw_source
        self.produced, self.refused = 0, 0
        self.by_source: Counter[str] = Counter()
        self.failures: list[KafkaError] = []
        self.started = time.monotonic()
        self.producer = Producer({
            **client_config(settings, enable_idempotence=True, linger_ms=settings.linger_ms),
            "compression.type": settings.kafka.get("compression.type", "lz4"),
            "message.max.bytes": INPUT_BYTES_MAX + RECORD_OVERHEAD_BYTES,
            "message.timeout.ms": DELIVERY_MS,
            "delivery.report.only.error": True,
            "on_delivery": self._delivered,
        })  # fmt: skip

    def send_file(self, name: str) -> Iterator[tuple[int, str]]:
        """Send every line of a file (`-`: standard input); yield number and problem of each refused one."""
        try:
            with _opened(name) as file, _shown(name, file) as show:
                for number, line in enumerate(file, start=1):
                    if (problem := self._send_line(line, number)) is not None:
                        self.refused += 1
                        yield number, problem
                    if self.rate is not None:
                        self._pace(self.rate)
                    show(self.produced)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self.finish()
            raise CommandFailed(f"{name}: the gzip file is damaged, what came before was sent") from None

    def finish(self) -> None:
        """Wait until the broker has everything. Raises Retryable when it did not take it in time."""
        while self.producer.flush(SLICE_S):
            pass
        if self.failures:
            self.produced -= len(self.failures)
            raise Retryable(
                f"{len(self.failures)} touchpoints did not arrive ({self.failures[0].str()}), "
                f"{self.produced} did; send the file again, duplicates do no harm"
            )

    def _send_line(self, line: bytes, number: int) -> str | None:
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if self.raw_source is not None:
            return self._send(self.raw_source, line, None)
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if not line.strip():
            return None
        try:
            touchpoint = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            return f"not JSON, {error}"
        if not isinstance(touchpoint, dict):
            return "not a JSON object, write one touchpoint a line"
        return self.send(touchpoint)

    def send(self, touchpoint: Mapping[str, Any]) -> str | None:
        """Send one touchpoint; return what about its shape keeps it from being sent."""
        try:
            value = encode_touchpoint(touchpoint)
        except ValueError as error:
            return _structure_problem(touchpoint) or str(error)
        source = touchpoint["source"]
        return self._send(source if source in self.topics else FALLBACK_SOURCE, value, _key_of(touchpoint))

    def _send(self, source: str, value: bytes, key: str | None) -> str | None:
        while True:
            try:
                self.producer.produce(self.topics[source], value, key)
            except BufferError:  # the local queue is full: the broker is slower than the file
                self.producer.poll(SLICE_S)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    return f"larger than the {INPUT_BYTES_MAX} bytes that the topic takes"
                raise
            else:
                break
        self.produced += 1
        self.by_source[source] += 1
        if self.produced % 1000 == 0:
            self.producer.poll(0)
        return None

    def _pace(self, rate: float) -> None:
        ahead = self.started + (self.produced + self.refused) / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failures.append(error)


def _key_of(touchpoint: Mapping[str, Any]) -> str | None:
    """The first identifier: touchpoints of a person mostly stay in order. The workers do not rely on it."""
    identifiers = touchpoint["identifiers"]
    return f"{identifiers[0]['type']}:{identifiers[0]['value']}" if identifiers else None


def _structure_problem(touchpoint: Mapping[str, Any]) -> str | None:
    """What about the shape keeps a touchpoint from being Avro, where we can say it better than fastavro."""
    for name in ("event_id", "source", "type", "occurred_at", "identifiers"):
        if touchpoint.get(name) is None:
            return f"{name} is missing"
    identifiers = touchpoint["identifiers"]
    for at, entry in enumerate(identifiers if isinstance(identifiers, list) else ()):
        if not isinstance(entry, dict) or not all(
            isinstance(entry.get(part), str) for part in ("type", "value")
        ):
            return f'identifiers[{at}] must be an object such as {{"type": "email", "value": "…"}}'
    for name, entry in (
        (touchpoint.get("context") or {}).items() if _is_map(touchpoint.get("context")) else ()
    ):
        if not isinstance(entry, str):
            return f"context.{name} must be given as str"
    return None


def _is_map(value: object) -> bool:
    return isinstance(value, dict)


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO | IO[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
    elif name.endswith(".gz"):
        with gzip.open(name) as file:
            yield file  # type: ignore[misc]
    else:
        with Path(name).open("rb") as file:
            yield file


class _Bar:
    """Advances a progress bar by the bytes read, at most every `PROGRESS_S`."""

    def __init__(self, progress: Progress, task: TaskID, file: Any) -> None:
        self.progress, self.task = progress, task
        self.file = getattr(file, "fileobj", file)  # of a gzip file the compressed side, whose size is known
        self.next_s = 0.0

    def __call__(self, produced: int) -> None:
        now_s = time.monotonic()
        if now_s >= self.next_s:
            self.next_s = now_s + PROGRESS_S
            self.progress.update(self.task, completed=self.file.tell(), produced=f"{produced:,}")


@contextmanager
def _shown(name: str, file: Any) -> Iterator[Any]:
    """A function to call after each line; it draws a bar when standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda produced: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(),
        TextColumn("{task.fields[produced]} touchpoints"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        if name == "-" or not Path(name).is_file():  # a pipe has no size
            task = progress.add_task(name, total=None, produced="0")
            yield lambda produced: progress.update(task, produced=f"{produced:,}")
        else:
            task = progress.add_task(Path(name).name, total=Path(name).stat().st_size, produced="0")
            yield _Bar(progress, task, file)
