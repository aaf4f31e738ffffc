"""What publishing an identity policy costs the touchpoints that come meanwhile.

One worker has read the whole load. Then spurts of touchpoints of the same people come as fast as they can be
sent; into every second one a policy is published, which a third of all people become others by, or are again
who they were. After an even number of changes all is as the oracle has it. `BENCH_PEOPLE` others are known
before, who send nothing more; of them a third change as well, and the next policy is rehearsed first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Any, Final

import yaml

from pipeline.core.policy import parse_policy
from pipeline.core.published import POLICY_KEY, Published
from pipeline.settings import SHIPPED_POLICY

from .cluster import Cluster
from .elo import DEFINITIONS, DIFFERENCES_MAX
from .elo_worker import EloWorker
from .generator import Event, Record
from .load import PacedLoad, load
from .machine import Meter, rss_mb_max, usage
from .options import Options
from .oracle import Oracle
from .report import Row, make_row

CHANGES: Final = 4
SPURTS: Final = 2 * CHANGES + 1
SPURT_SHARE: Final = 4  # a spurt has a quarter as many touchpoints as the load before
PUBLISHED_AT: Final = 10  # after a tenth of the spurt
AT_ONCE: Final = 1_000_000_000  # touchpoints/s: as fast as they can be sent
LIMITS: Final = (2, 20)  # devices of a person: of each three people one has more than two
POLL_S: Final = 0.05
OTHERS_AGE_MS: Final = 3_600_000


def touchpoints_for(options: Options) -> int:
    """How many touchpoints the whole measurement takes."""
    return options.n + SPURTS * (options.n // SPURT_SHARE)


class PolicyRun:
    """The measurement on fresh topics. `events`: as many as `touchpoints_for` says."""

    def __init__(self, cluster: Cluster, worker: EloWorker, options: Options, broker_pid: int) -> None:
        self._cluster, self._worker, self._options = cluster, worker, options
        self._broker_pid = broker_pid
        self._sent = 0
        self._version = 1
        self._published_at = 0.0
        self._change_s: list[float] = []

    def measure(self, events: Sequence[Event], oracle: Oracle) -> Row:
        """Load, then spurts with and without a change. The costs are medians of pairs of neighbours."""
        n, worker = self._options.n, self._worker
        size = n // SPURT_SHARE
        worker.run("segments", "apply", str(DEFINITIONS))
        worker.start()
        worker.wait_ready()
        if self._options.people:
            self._load_others(oracle)
        self._send(events[:n])
        worker.wait_idle()
        rehearse_s = worker.rehearse(self._next_policy())
        spurts = []
        for number in range(SPURTS):
            part = events[n + number * size : n + (number + 1) * size]
            spurts.append(self._spurt(part, publishes=number % 2 == 1))
            self._wait_adopted()
        differences = worker.differences(oracle)
        with_change, without = spurts[1::2], spurts[::2]
        beside = [
            {name: (before[name] + after[name]) / 2 for name in before} for before, after in pairwise(without)
        ]
        cost = {
            name: median(one[name] / other[name] for one, other in zip(with_change, beside, strict=True))
            for name in ("events_s", "cpu_us_event")
        }
        return make_row(
            "policy",
            "elo",
            n=size,
            people=self._options.people,
            rehearse_s=rehearse_s,
            workers=1,
            partitions=self._options.partitions,
            events_s=round(median(one["events_s"] for one in with_change)),
            events_s_without=round(median(one["events_s"] for one in without)),
            cpu_us_event=round(median(one["cpu_us_event"] for one in with_change), 1),
            cpu_us_without=round(median(one["cpu_us_event"] for one in without), 1),
            throughput_kept=round(cost["events_s"], 2),
            cpu_factor=round(cost["cpu_us_event"], 2),
            change_s=round(median(self._change_s), 1),
            judged=round(median(one["judged"] for one in with_change)),
            rss_mb=rss_mb_max(worker.child.pid),
            other_cores=round(median(one["other_cores"] for one in spurts), 2),
            correct=not differences,
            differences=differences[:DIFFERENCES_MAX] or None,
        )

    def _spurt(self, events: Sequence[Event], *, publishes: bool) -> dict[str, float]:
        worker = self._worker
        judged = worker.metrics().get("elo_policy_components_total", 0.0)
        meter = Meter(worker=worker.child.pid, broker=self._broker_pid)
        first = meter.sample()
        self._send(events, self._publish if publishes else None)
        topics = [worker.topics.touches, worker.topics.mail]
        while not self._cluster.is_consumed(f"{worker.topics.prefix}elo", topics):
            time.sleep(POLL_S)
        used = usage(first, meter.sample())
        return {
            "events_s": len(events) / used.span_s,
            "cpu_us_event": used.cpu_s["worker"] / len(events) * 1e6,
            "judged": worker.metrics().get("elo_policy_components_total", 0.0) - judged,
            "other_cores": used.other_cores,
        }

    def _send(self, events: Sequence[Event], publish: Any = None) -> None:
        """Send touchpoints and wait until the intake has read them."""
        load = PacedLoad(self._worker.topics, events)
        at_index = {len(events) // PUBLISHED_AT: publish} if publish else {}
        load.run(self._cluster, AT_ONCE, at_index)
        self._sent += len(events)
        self._worker.wait_intake(self._sent)

    def _load_others(self, oracle: Oracle) -> None:
        """Everybody who is known and sends nothing more: one touchpoint each, a third with three devices."""
        others = _others(self._options.people, int(time.time() * 1000))
        load(self._cluster, self._worker.topics, others, (oracle.add,))
        self._sent += self._options.people
        self._worker.wait_intake(self._sent)

    def _wait_adopted(self) -> None:
        """Until everything is consumed and no partition works on a policy any more."""
        self._worker.wait_idle()
        while self._worker.metrics().get("elo_policy_pending", 1.0):
            time.sleep(POLL_S)
        self._worker.wait_idle()
        if self._published_at:
            self._change_s.append(time.time() - self._published_at)
            self._published_at = 0.0

    def _next_policy(self) -> dict[str, Any]:
        """The policy that is published next."""
        document: dict[str, Any] = yaml.safe_load(SHIPPED_POLICY.read_text("utf-8"))
        document["identifiers"]["device_id"]["limit"] = LIMITS[(self._version - 1) % 2]
        document["version"] = self._version + 1
        return document

    def _publish(self) -> None:
        """Put the next policy on its topic, as `elo identity publish` does."""
        document = self._next_policy()
        self._version += 1
        policy = Published(parse_policy(document), yaml.safe_dump(document, sort_keys=False), "bench", "", 0)
        producer = self._cluster.producer()
        producer.produce(self._worker.topics.policy, policy.encode(), POLICY_KEY)
        producer.flush()
        self._published_at = time.time()


def _others(count: int, now_ms: int) -> Iterator[Event]:
    for number in range(count):
        devices = [f"od{number}-{one}" for one in range(3 if number % 3 == 0 else 1)]
        identifiers = [("user_id", f"o{number}"), ("email", f"o{number}@others.example")]
        identifiers += [("device_id", device) for device in devices]
        record: Record = {
            "event_id": f"o-{number}",
            "source": "app",
            "type": "page_viewed",
            "occurred_at": now_ms - OTHERS_AGE_MS - number % 1_000,
            "identifiers": [{"type": kind, "value": value} for kind, value in identifiers],
            "traits": "{}",
            "properties": "{}",
            "consent": {},
            "context": {},
        }
        yield Event("app", devices[0].encode(), record)
