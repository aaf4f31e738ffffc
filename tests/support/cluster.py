"""Three embedded brokers as one cluster: replication 3, at least 2 in sync. Each may be killed."""

from __future__ import annotations

import base64
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.broker import EmbeddedBroker
from pipeline.broker.config import BEHAVIOUR, HOST, server_properties
from pipeline.broker.process import free_ports

from .fleet import wait_for

NODES: Final = 3
IN_SYNC_S: Final = 60.0
LOOK_S: Final = 0.5
PRODUCTION: Final = {
    "broker.session.timeout.ms": 6_000,  # see docs/operating.md, "Brokers"; Kafka has 9 s
    "broker.heartbeat.interval.ms": 1_000,
    "default.replication.factor": 3,
    "min.insync.replicas": 2,
    "offsets.topic.replication.factor": 3,
    "transaction.state.log.replication.factor": 3,
    "transaction.state.log.min.isr": 2,
    "share.coordinator.state.topic.replication.factor": 3,
    "share.coordinator.state.topic.min.isr": 2,
}


class Node(EmbeddedBroker):
    """One of the brokers. `ports`: (port, controller port) of each node, in the order of their numbers."""

    def __init__(self, data_dir: Path, number: int, ports: list[tuple[int, int]], cluster_id: str) -> None:
        """It is not started yet."""
        super().__init__(data_dir, ports[number][0], owner_pid=os.getpid())
        self.number, self._ports, self._id = number, ports, cluster_id

    def _new_cluster_id(self) -> str:
        return self._id

    def _properties(self, port: int, controller_port: int, log_dir: str) -> str:
        voters = ",".join(f"{number + 1}@{HOST}:{own}" for number, (_, own) in enumerate(self._ports))
        port, controller_port = self._ports[self.number]
        return server_properties(
            port,
            controller_port,
            log_dir,
            node_id=self.number + 1,
            voters=voters,
            behaviour={**BEHAVIOUR, **PRODUCTION},
        )


class Cluster:
    """The nodes. `bootstrap` names all of them."""

    def __init__(self, directory: Path) -> None:
        """Nothing is started yet."""
        free = free_ports(HOST, 2 * NODES)
        ports = list(zip(free[::2], free[1::2], strict=True))
        identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        self.nodes = [
            Node(directory / f"broker-{number}", number, ports, identity) for number in range(NODES)
        ]
        self.bootstrap = ",".join(node.bootstrap for node in self.nodes)

    def start(self) -> None:
        """Start all at once: one alone has no majority, and would not answer. Wait until all are known."""
        with ThreadPoolExecutor(NODES) as executor:
            for started in [executor.submit(node.start) for node in self.nodes]:
                started.result()
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        wait_for(lambda: _known(admin) == NODES, "all brokers know each other")

    def wait_in_sync(self) -> None:
        """Wait until each partition of each topic has all of its copies in sync."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        deadline = time.monotonic() + IN_SYNC_S
        while behind := self._behind(admin):
            assert time.monotonic() < deadline, f"copies are behind: {', '.join(behind)}"
            time.sleep(LOOK_S)

    def _behind(self, admin: AdminClient) -> list[str]:
        try:
            topics = admin.list_topics(timeout=LOOK_S).topics
        except KafkaException as failure:
            return [failure.args[0].str()]
        return [
            f"{name} [{number}]"
            for name, topic in topics.items()
            for number, partition in topic.partitions.items()
            if len(partition.isrs) < NODES
        ]

    def close(self) -> None:
        """End all, and remove what they kept."""
        for node in self.nodes:
            node.kill()
            shutil.rmtree(node.data_dir, ignore_errors=True)


def _known(admin: AdminClient) -> int:
    """How many brokers one of them knows of; 0 while none answers."""
    try:
        return len(admin.list_topics(timeout=LOOK_S).brokers)
    except KafkaException:
        return 0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three brokers that run."""
    made = Cluster(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.close()
