"""What `/livez`, `/startupz` and `/readyz` say in each part of a worker's life."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from pipeline.runtime.health import Health, application

RESTORING, SERVES = SimpleNamespace(ready=False), SimpleNamespace(ready=True)


def answers(started: bool, tasks: dict[int, SimpleNamespace]) -> dict[str, int]:
    """Path → status, of a worker that owns `tasks`."""

    async def ask() -> dict[str, int]:
        worker = SimpleNamespace(tasks=tasks, is_started=lambda: started)
        async with TestClient(TestServer(application(Health(worker)))) as client:
            return {path: (await client.get(path)).status for path in ("/livez", "/startupz", "/readyz")}

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("life", "started", "tasks", "expected"),
    [
        ("it waits for the group", False, {}, (200, 503, 503)),
        ("admitted, without a partition", True, {}, (200, 200, 503)),
        ("restoring, however long", True, {0: RESTORING, 1: SERVES}, (200, 200, 503)),
        ("serving", True, {0: SERVES, 1: SERVES}, (200, 200, 200)),
    ],
)
def test_each_part_of_a_life_has_its_answers(
    life: str, started: bool, tasks: dict[int, SimpleNamespace], expected: tuple[int, ...]
) -> None:
    assert tuple(answers(started, tasks).values()) == expected, life
