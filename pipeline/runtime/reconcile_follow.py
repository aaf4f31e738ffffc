"""`elo reconcile --follow`: looks again and again, and tells Prometheus what it finds.

It keeps nothing: a restart begins as far back as the first start did.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Final

import structlog
from confluent_kafka import KafkaException, Message
from prometheus_client import start_http_server

from ..core.errors import Retryable
from ..core.reconcile import Fate
from ..settings import Settings
from . import reconcile_metrics as metrics
from .health import check_port
from .logs import configure_logs
from .reconcile import Audit

log = structlog.get_logger()

LOOK_S: Final = 2.0  # between two looks
TAKEN: Final = "taken"
OUTCOMES: Final = (TAKEN, Fate.REJECTED.label, Fate.MISSING.label)
LOGGED_MAX: Final = 20  # missing touchpoints that one look writes to the log, each on its line


class Follower:
    """Audits one deployment until it is stopped."""

    def __init__(self, settings: Settings, audit: Audit) -> None:
        self._audit = audit
        self._stop = threading.Event()
        self._logged = 0
        self._told: set[tuple[str, int]] = set()
        """Partitions whose first missing touchpoint is told."""
        for topic in audit.topics.inputs:  # A counter that begins with its first missing one shows no growth.
            for outcome in OUTCOMES:
                metrics.TOUCHPOINTS.labels(audit.topics.source_of(topic), outcome)
        if settings.web_port:
            check_port(settings.web_host, settings.web_port)
            start_http_server(settings.web_port, settings.web_host, metrics.REGISTRY)

    def run(self) -> None:
        """Look until SIGTERM or SIGINT. A broker that is away is waited for."""
        first = True
        while not self._stop.is_set():
            try:
                self.look(look_back=first)
                first = False
            except (KafkaException, Retryable) as error:
                log.warning("the broker does not answer, looking again", error=str(error))
            self._stop.wait(LOOK_S)

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """End after the look that is under way."""
        self._stop.set()

    def look(self, *, look_back: bool) -> None:
        """One look: everything that the group has committed is judged, counted and closed."""
        audit, self._logged = self._audit, 0
        committed = audit.look()
        audit.judge(committed, self._tell, look_back=look_back)
        for (topic, partition), book in audit.books.items():
            found = book.settle(committed[topic, partition])
            source = audit.topics.source_of(topic)
            taken = found[Fate.WAITING] + found[Fate.DUPLICATE] + found[Fate.APPLIED]
            counts = (taken, found[Fate.REJECTED], found[Fate.MISSING])
            for outcome, count in zip(OUTCOMES, counts, strict=True):
                metrics.TOUCHPOINTS.labels(source, outcome).inc(count)
        metrics.LOOKED_AT.set(time.time())

    def _tell(self, lost: Message) -> None:
        topic, partition, offset = str(lost.topic()), lost.partition() or 0, lost.offset() or 0
        if (topic, partition) not in self._told:
            self._told.add((topic, partition))
            metrics.FIRST_MISSING.labels(topic, partition).set(offset)
        self._logged += 1
        if self._logged <= LOGGED_MAX:
            log.error("a touchpoint is missing", topic=topic, partition=partition, offset=offset)


def follow(settings: Settings, audit: Audit) -> None:
    """Run until a signal comes."""
    configure_logs(settings)
    follower = Follower(settings, audit)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, follower.stop)
    follower.run()
