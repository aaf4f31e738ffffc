"""The segment definitions, or the identity policy, in force, as every task of a worker sees them.

A thread follows the topic without a group: every worker reads all of it. Tasks ask for what changed since the
offset that they have applied. A value that is not what it should be is logged and skipped: the commands check
before they write, so it can only come from elsewhere.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import orjson
import structlog
from confluent_kafka import Consumer, KafkaError, TopicPartition

from ..core.errors import ConfigError, Retryable
from ..core.published import POLICY_KEY, Published, decode_published
from ..core.segments.definition import Definition
from ..core.segments.parse import definition_from_json
from ..settings import Settings
from .connect import denial_of

log = structlog.get_logger()
Value = TypeVar("Value")
POLL_S: Final = 0.1
LOOK_S: Final = 0.02
START_TIMEOUT_S: Final = 60.0


class Control(Generic[Value]):
    """The newest values of a topic by key. Next offset and values are replaced together, never changed in
    place.

    `decode`: from key and bytes to a value; raises ConfigError or ValueError.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        decode: Callable[[str, bytes], Value],
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._decode = decode
        self._on_change = on_change
        self._stopping = threading.Event()
        self._loaded = threading.Event()
        self.failure: BaseException | None = None
        self.view: tuple[int, dict[str, Value]] = (0, {})
        self._thread = threading.Thread(target=self._run, name=topic, daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    async def wait(self) -> None:
        """Return when all of it was read once. Raises Retryable when the broker is silent.

        It holds no thread: one for each partition that waits would leave none for the work waited for.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._loaded.is_set():
            if time.monotonic() > deadline:
                raise Retryable("the broker is silent, a topic cannot be read", topic=self._topic)
            await asyncio.sleep(LOOK_S)
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as failure:  # noqa: BLE001 - handed to whoever starts or watches the worker.
            self.failure = failure
            self._loaded.set()
            self._on_change()

    def _follow(self) -> None:
        consumer = Consumer(
            self._settings.reader_config(f"{self._settings.group}-definitions", fetch_wait_max_ms=100)
        )
        consumer.assign([TopicPartition(self._topic, 0, 0)])
        offset, values = self.view
        try:
            while not self._stopping.is_set():
                fresh = dict(values)
                for message in consumer.consume(500, POLL_S):
                    error = message.error()
                    if error is None:
                        self._apply(fresh, message)
                        offset = message.offset() + 1
                    elif error.code() == KafkaError._PARTITION_EOF:
                        offset = max(offset, message.offset())
                        self.view = offset, fresh
                        self._loaded.set()
                    elif (denied := denial_of(self._settings, error)) is not None:
                        raise denied
                if offset != self.view[0] or fresh != values:
                    values = fresh
                    self.view = offset, fresh
                    self._on_change()
        finally:
            consumer.close()

    def _apply(self, values: dict[str, Value], message: Any) -> None:
        key = (message.key() or b"").decode(errors="replace")
        if message.value() is None:
            values.pop(key, None)
            return
        try:
            values[key] = self._decode(key, message.value())
        except (ConfigError, ValueError) as error:
            log.error("a record was skipped", topic=self._topic, offset=message.offset(), error=str(error))


def decode_definition(segment_id: str, value: bytes) -> Definition:
    """A record of `segments.definitions`."""
    definition = definition_from_json(orjson.loads(value))
    if definition.id != segment_id:
        raise ConfigError("key and id of a segment definition differ")
    return definition


def decode_policy(key: str, value: bytes) -> Published:
    """A record of `identity.policy`."""
    if key != POLICY_KEY.decode():
        raise ConfigError(f"the key of an identity policy is {POLICY_KEY.decode()}")
    return decode_published(value)
