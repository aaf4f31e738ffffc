"""Whether this worker has the mail for itself, so that a message may reach its node without Kafka.

The protocol relies on one order: what is sent because of a message comes after it, everywhere. A message that
is handed over within a batch would overtake those that wait in `elo.mail`. So the worker must have every
partition, and all mail that anybody has written must have been handled: to get there, touches wait until the
mail is worked off, for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection
from typing import Final

from confluent_kafka import KafkaException

from .environment import Environment
from .restore import log_ends
from .task import Task

DRAIN_S: Final = 2.0  # touches wait at most so long
AGAIN_S: Final = 30.0  # then it is not tried for so long


class Alone:
    """Decides it for one worker."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._ends: dict[int, int] | None = None
        self._reached = False
        self._since = 0.0

    def end(self) -> None:
        """A partition has come or gone, or mail was sent through Kafka."""
        self._ends, self._reached = None, False

    def holds(self, tasks: Collection[Task]) -> bool:
        """Whether messages may be handed over within the batch."""
        return self._reached and not any(task.stopping for task in tasks)

    async def is_coming(self, tasks: Collection[Task], sending: bool) -> bool:
        """Look whether it has been reached. Returns whether touches should wait for that.

        `sending`: a commit under way sends mail through Kafka. Where that ends nobody can say yet.
        """
        if self._reached or len(tasks) < self._environment.partitions:
            return False
        now_s = time.monotonic()
        if now_s - self._since > AGAIN_S:
            self._since = now_s
        elif now_s - self._since > DRAIN_S:
            return False
        if sending:
            return True
        if self._ends is None:
            with contextlib.suppress(KafkaException):  # The broker may be away: the next look asks again.
                self._ends = await asyncio.get_running_loop().run_in_executor(
                    self._environment.executor, self._read_ends
                )
        ends = self._ends
        if ends is None:
            return True
        self._reached = all(task.has_mail_up_to(ends[task.partition]) for task in tasks)
        if self._reached:
            self._since = 0.0
        return not self._reached

    def _read_ends(self) -> dict[int, int]:
        """Runs on a thread."""
        env = self._environment
        return log_ends(env.settings, env.topics.mail, range(env.partitions))
