"""The intake against librdkafka's own imitation of a broker, which answers as late as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import SimpleNamespace
from typing import Any, Final

from pipeline.runtime import intake as module
from pipeline.runtime.intake import Intake
from pipeline.settings import load_policy, load_settings
from pipeline.wire.avro import encode_touchpoint

ANSWER_MS: Final = 60
STEP_S: Final = 0.01  # far less than an answer takes: the queue is never empty by itself
SENT: Final = {"event_id": "e", "source": "web", "type": "seen", "occurred_at": 1, "identifiers": []}


class Touched:
    """A record of `touchpoints.web`, as the consumer hands it over."""

    def __init__(self, topic: str, offset: int) -> None:
        identifiers = [{"type": "anonymous_id", "value": f"a{offset}"}]
        touchpoint = {**SENT, "event_id": f"e{offset}", "identifiers": identifiers}
        self._topic, self._offset, self._value = topic, offset, encode_touchpoint(touchpoint)

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._value

    def key(self) -> None:
        return None

    def headers(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 1, 1


def make_intake() -> Intake:
    """An intake that may begin."""
    kafka = {"test.mock.num.brokers": "1", "test.mock.broker.rtt": str(ANSWER_MS)}
    settings = load_settings({"kafka": kafka})
    made = Intake(settings, settings.topics(), partitions=4)
    made.use(load_policy(settings))
    return made


async def load(intake: Intake, sent: list[int]) -> None:
    """Touches one after the other, sooner than the broker answers, until cancelled."""
    while True:
        record: Any = Touched(intake.topics.touchpoints[0], len(sent))
        await intake.handle([record])
        sent.append(record.offset())
        await asyncio.sleep(STEP_S)


def test_a_flush_ends_although_touches_come_sooner_than_acknowledgements(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "FLUSH_FREELY_S", 0.3)
    monkeypatch.setattr(module, "FLUSH_TIMEOUT_S", 10.0)
    intake, sent = make_intake(), list[int]()

    async def scene() -> tuple[int, float, int]:
        loading = asyncio.create_task(load(intake, sent))
        await asyncio.sleep(0.5)
        assert len(intake._producer), "the broker answers too soon for this test"
        before, began = len(sent), time.monotonic()
        await intake.flush()
        took_s, after = time.monotonic() - began, len(sent)
        await asyncio.sleep(0.2)
        loading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loading
        return after - before, took_s, len(sent) - after

    meanwhile, took_s, afterwards = asyncio.run(scene())
    assert took_s < 5.0
    assert meanwhile > 5, "nothing may be held back before the time"
    assert afterwards > 5, "it goes on when the broker has everything"


class Letter(Touched):
    """A rejected record that somebody has copied back to its topic."""

    def value(self) -> bytes:
        return b"{"

    def headers(self) -> Any:
        return [("team", b"shop"), ("elo.reason", b"too_large"), ("elo.offset", b"7"), ("team", None)]


def test_a_record_that_is_rejected_again_has_each_header_of_ours_once() -> None:
    intake, sent = make_intake(), list[Any]()
    producer: Any = SimpleNamespace(produce=lambda *_, headers: sent.extend(headers), poll=lambda _: 0)
    intake._producer = producer
    record: Any = Letter(intake.topics.touchpoints[0], 3)
    intake._handle_touchpoints([record])
    assert sent[:3] == [("team", b"shop"), ("team", None), ("elo.reason", "malformed_json")]
    assert [value for name, value in sent if name == "elo.offset"] == ["3"]
