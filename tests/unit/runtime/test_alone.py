"""When a worker may hand mail over within a batch: only when nothing that was sent is still on its way."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.runtime import alone as module
from pipeline.runtime.alone import Alone

PARTITIONS = 2


class Log:
    """`elo.mail`, and how far the worker has handled it."""

    def __init__(self) -> None:
        self.ends = dict.fromkeys(range(PARTITIONS), 0)
        self.handled = dict.fromkeys(range(PARTITIONS), 0)

    def task(self, partition: int) -> Any:
        return SimpleNamespace(
            partition=partition,
            stopping=False,
            has_mail_up_to=lambda end: self.handled[partition] >= end,
        )


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    made = Log()
    monkeypatch.setattr(module, "log_ends", lambda *_: dict(made.ends))
    return made


def look(alone: Alone, tasks: list[Any], *, sending: bool = False) -> bool:
    return asyncio.run(alone.is_coming(tasks, sending))


def make(log: Log) -> tuple[Alone, list[Any]]:
    environment: Any = SimpleNamespace(
        partitions=PARTITIONS,
        executor=ThreadPoolExecutor(1),
        settings=None,
        topics=SimpleNamespace(mail="elo.mail"),
    )
    return Alone(environment), [log.task(partition) for partition in range(PARTITIONS)]


def test_touches_wait_until_all_mail_was_handled(log: Log) -> None:
    alone, tasks = make(log)
    log.ends[1] = 3
    assert look(alone, tasks)
    assert not alone.holds(tasks)
    log.handled[1] = 3
    assert not look(alone, tasks)
    assert alone.holds(tasks)


def test_without_a_partition_nobody_waits(log: Log) -> None:
    alone, tasks = make(log)
    assert not look(alone, tasks[:1])
    assert not alone.holds(tasks[:1])


def test_the_end_of_the_mail_is_not_known_while_a_commit_sends_some(log: Log) -> None:
    """It may not have reached the log: what is handed over meanwhile would overtake it."""
    alone, tasks = make(log)
    assert look(alone, tasks, sending=True)
    assert not alone.holds(tasks)
    log.ends[0] = 5  # Committed now.
    assert look(alone, tasks)
    assert not alone.holds(tasks)
    log.handled[0] = 5
    assert not look(alone, tasks)
    assert alone.holds(tasks)


def test_a_partition_that_comes_or_goes_ends_it(log: Log) -> None:
    alone, tasks = make(log)
    assert not look(alone, tasks)
    assert alone.holds(tasks)
    tasks[0].stopping = True
    assert not alone.holds(tasks)
    tasks[0].stopping = False
    alone.end()
    assert not alone.holds(tasks)
