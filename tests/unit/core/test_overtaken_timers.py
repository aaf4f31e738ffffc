"""A timer that goes off when nothing is due any more writes nothing, and loses no later one."""

from __future__ import annotations

import json
from typing import Any, Final

from pipeline.core.facet import NEVER
from pipeline.core.node import armed_of, component_key
from pipeline.core.outbox import MembershipChange
from pipeline.core.policy import Policy, parse_policy
from pipeline.core.segments.parse import definition_from_json
from pipeline.core.touch import Touch
from tests.support.memory import CALM, Chaos, Cluster, Partition

START_MS: Final = 1_790_000_000_000
WAIT_MS: Final = 10_000
MONTH_MS: Final = 30 * 86_400_000  # after which a redirect ends
PEOPLE: Final = 40
VIEWED: Final = definition_from_json({"id": "viewed", "where": {"event": "product_viewed", "within": "1m"}})


def policy() -> Policy:
    return parse_policy({
        "identifiers": {"user_id": {"limit": 1}, "email": {"limit": 5, "normalise": "email"}},
        "link_wait": f"{WAIT_MS}ms",
    })  # fmt: skip


def touch(number: int, at_ms: int, *identifiers: str, event: str = "page_viewed") -> Touch:
    return Touch(f"e{number}", "web", event, at_ms, list(identifiers), json.dumps({}))


class Counting(Partition):
    """Notes which components each commit writes."""

    written: list[str]

    def commit(self, fired: list[tuple[int, str]], armed: list[tuple[int, str]]) -> None:
        self.written += sorted(self.store.changed_components)
        super().commit(fired, armed)


def cluster_of(written: list[str], **more: Any) -> Cluster:
    kind = type("Noting", (Counting,), {"written": written})
    return Cluster(policy(), [VIEWED], seed=1, start_ms=START_MS, partition=kind, **more)


def test_the_timer_of_a_hold_that_was_settled_before_writes_nothing() -> None:
    """On four partitions most log-ins take several batches, so outputs are held and a timer is set."""
    written: list[str] = []
    cluster = cluster_of(written, size=4, chaos=Chaos(batch_max=5))
    for person in range(PEOPLE):
        cluster.accept(touch(2 * person, cluster.now_ms, f"email:{person}@x.com"))
        cluster.accept(touch(2 * person + 1, cluster.now_ms, f"user_id:{person}", f"email:{person}@x.com"))
        cluster.settle()
    waiting = [
        timer for one in cluster.partitions for timer in one.timers if timer[0] < START_MS + 2 * WAIT_MS
    ]
    assert len(waiting) > PEOPLE / 2
    stored = {key: value for one in cluster.partitions for key, value in one.logs.values.items()}
    assert {armed_of(stored[component_key(root)]) for _, root in waiting} <= {NEVER, START_MS + MONTH_MS}
    written.clear()
    cluster.advance(START_MS + 3 * WAIT_MS)
    assert not [timer for one in cluster.partitions for timer in one.timers if timer[0] < cluster.now_ms]
    assert written == []


def test_an_exit_is_in_time_although_after_a_restart_only_the_publication_has_a_timer() -> None:
    """The first eight bytes of a component are the earlier of the two, and all that a restore looks at."""
    written: list[str] = []
    cluster = cluster_of(written, chaos=CALM, publish_interval_ms=20_000)
    (worker,) = cluster.partitions
    cluster.accept(touch(1, START_MS, "user_id:1", event="product_viewed"))
    worker.run_batch()  # Not at rest: the profile waits for its publication.
    assert {due_ms for due_ms, _ in worker.timers} == {START_MS + 60_000}
    worker = cluster.partitions[0] = worker.crash()
    assert {due_ms for due_ms, _ in worker.timers} == {START_MS + 20_000}
    cluster.now_ms = START_MS + 10_000
    cluster.accept(touch(2, cluster.now_ms, "user_id:1"))
    worker.run_batch()
    assert worker.outputs.unpublished == {"user_id:1": START_MS + 30_000}
    cluster.now_ms = START_MS + 20_000
    written.clear()
    cluster.accept(touch(3, cluster.now_ms, "user_id:2"))
    worker.run_batch()
    assert worker.outputs.unpublished["user_id:1"] == START_MS + 30_000
    assert written == ["user_id:2"]
    cluster.advance(START_MS + 70_000)
    changes = [one.output for one in cluster.told if isinstance(one.output, MembershipChange)]
    assert [(one.change, one.occurred_at, one.decided_at) for one in changes] == [
        ("entered", START_MS, START_MS),
        ("exited", START_MS + 60_000, START_MS + 60_000),
    ]
