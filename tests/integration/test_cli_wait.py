"""`elo wait` on a real Kafka, with a worker that is played: offsets, notes and records in transactions."""

from __future__ import annotations

import json
import time
from typing import Any, Final

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.support.deployment import Deployment

IN_MADRID: Final = b"{id: in-madrid, where: {trait: city, is: Madrid}}"


class Worker:
    """Commits as a worker does: offsets, a note and records in one transaction."""

    def __init__(self, deployment: Deployment) -> None:
        self.prefix = deployment.prefix
        servers: dict[str, Any] = {"bootstrap.servers": deployment.bootstrap, "log_level": 0}
        self.group = Consumer({**servers, "group.id": f"{self.prefix}elo"})
        self.producer = Producer({**servers, "transactional.id": f"{self.prefix}worker"})
        self.producer.init_transactions(10)

    def begin(self, offsets: dict[str, int], note: dict[str, Any] | None = None, mail: bool = False) -> None:
        self.producer.begin_transaction()
        if mail:
            self.producer.produce(self.prefix + "elo.mail", b"mail", b"k", 0)
            self.producer.flush(10)
        positions = [
            TopicPartition(self.prefix + topic, 0, offset, json.dumps(note or {}))
            for topic, offset in offsets.items()
        ]
        self.producer.send_offsets_to_transaction(positions, self.group.consumer_group_metadata())

    def commit(self, offsets: dict[str, int], note: dict[str, Any] | None = None, mail: bool = False) -> None:
        self.begin(offsets, note, mail)
        self.producer.commit_transaction(10)

    def close(self) -> None:
        self.group.close()


@pytest.fixture
def worker(deployment: Deployment) -> Worker:
    return Worker(deployment)


def test_wait_returns_when_all_is_consumed_and_names_what_is_not(
    deployment: Deployment, worker: Worker
) -> None:
    def behind(timeout: float = 0) -> list[dict[str, Any]]:
        done = deployment.elo("wait", "--timeout", timeout, "--json")
        assert done.code == (1 if done.document["behind"] else 0)
        assert done.document["idle"] is (not done.document["behind"])
        assert done.err.count("\n") == len(done.document["behind"][:1])
        return [{**entry, "topic": entry["topic"].removeprefix(deployment.prefix)}
                for entry in done.document["behind"]]  # fmt: skip

    assert behind() == []
    deployment.send("touchpoints.web", b"{}")
    assert behind() == [{"topic": "touchpoints.web", "partition": 0, "records": 1}]
    deployment.send("elo.touches", b"touch")
    worker.commit({"touchpoints.web": 1})
    assert behind() == [{"topic": "elo.touches", "partition": 0, "records": 1}]
    worker.begin({"elo.touches": 1}, {"due": None, "open": 0, "defs": 0}, mail=True)
    assert {"topic": "elo.mail", "partition": 0, "transaction": True} in behind()
    worker.producer.commit_transaction(10)
    assert behind() == [{"topic": "elo.mail", "partition": 0, "records": 2}]  # the record and its marker
    worker.commit({"elo.mail": 1})
    assert behind() == []  # behind by the marker only
    worker.commit({"elo.touches": 1}, {"due": None, "open": 2, "defs": 0})
    assert behind() == [{"topic": "elo.touches", "partition": 0, "open": 2}]
    due_ms = time.time_ns() // 1_000_000 + 600_000
    worker.commit({"elo.touches": 1}, {"due": due_ms, "open": 0, "defs": 0})
    assert behind() == []
    worker.commit({"elo.touches": 1}, {"due": due_ms - 600_000, "open": 0, "defs": 0})
    assert [entry["due_ms"] for entry in behind()] == [due_ms - 600_000]
    worker.commit({"elo.touches": 1}, {"due": None, "open": 0, "defs": 0})
    deployment.elo("segments", "apply", "-", stdin=IN_MADRID)
    assert behind() == [{"topic": "elo.touches", "partition": 0, "definitions": 2}]  # with its marker
    worker.commit({"elo.touches": 1}, {"due": None, "open": 0, "defs": 2})
    assert behind() == []
    worker.close()


def test_wait_waits_until_the_workers_are_done(deployment: Deployment, worker: Worker) -> None:
    deployment.send("touchpoints.web", b"{}")
    process = deployment.start("wait", "--timeout", "30")
    time.sleep(1.5)
    assert process.poll() is None
    worker.commit({"touchpoints.web": 1})
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "")
    worker.close()


def test_wait_says_in_one_sentence_what_is_behind(deployment: Deployment) -> None:
    deployment.send("touchpoints.web", b"{}")
    done = deployment.elo("wait", "--timeout", 0.3)
    assert (done.code, done.out) == (1, "")
    assert f"still behind after 0.3 s: {deployment.prefix}touchpoints.web[0] by 1 record; " in done.err
