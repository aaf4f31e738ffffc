"""Whether a Kafka broker answers and is the expected one, and what it needs before it serves quickly."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

ANSWER_TIMEOUT_S: Final = 0.5
PREPARE_TIMEOUT_S: Final = 5.0
RECONNECT_MS_MAX: Final = 50  # librdkafka waits up to 10 s between attempts by default


class Readiness:
    """Asks one broker for its metadata until it has an answer. A context manager: it holds a connection."""

    def __init__(self, bootstrap: str, cluster_id: str) -> None:
        self.cluster_id = cluster_id
        self._admin: AdminClient | None = _quiet_client(bootstrap)

    def __enter__(self) -> Readiness:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admin = None

    def answers(self) -> bool:
        """Whether the expected cluster has a broker in service; waits half a second at most."""
        if self._admin is None:
            return False
        try:
            metadata = self._admin.list_topics(timeout=ANSWER_TIMEOUT_S)
        except KafkaException:
            return False
        return bool(metadata.brokers) and metadata.cluster_id == self.cluster_id


def prepare_groups(bootstrap: str) -> None:
    """Let a new broker create its offsets topic now, without waiting for it.

    The first consumer group of a new cluster else waits 3.4 s for a coordinator, with this 0.3 s.
    """
    client = _quiet_client(bootstrap)  # held until the answer is there: without a client there is none
    with contextlib.suppress(KafkaException, TimeoutError):
        for future in client.describe_consumer_groups(["elo-first"]).values():
            future.result(PREPARE_TIMEOUT_S)


def _quiet_client(bootstrap: str) -> AdminClient:
    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "reconnect.backoff.ms": RECONNECT_MS_MAX // 2,
        "reconnect.backoff.max.ms": RECONNECT_MS_MAX,
        "log_level": 0,
        "error_cb": lambda _error: None,
    }
    return AdminClient(settings)
