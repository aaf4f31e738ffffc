"""What publishing an identity policy costs the touchpoints that come meanwhile.

One worker has read the whole load. Then spurts of touchpoints of the same people come as fast as they can be
sent; into every second one a policy is published, which a third of all people become others by, or are again
who they were. After an even number of changes all is as the oracle has it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
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
from .generator import Event
from .load import PacedLoad
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

    def measure(self, events: Sequence[Event], oracle: Oracle) -> Row:
        """Load, then spurts with and without a change. The costs are medians of pairs of neighbours."""
        n, worker = self._options.n, self._worker
        size = n // SPURT_SHARE
        worker.run("segments", "apply", str(DEFINITIONS))
        worker.start()
        worker.wait_ready()
        self._send(events[:n])
        worker.wait_idle()
        spurts = []
        for number in range(SPURTS):
            part = events[n + number * size : n + (number + 1) * size]
            spurts.append(self._spurt(part, publishes=number % 2 == 1))
            worker.wait_idle()
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
            workers=1,
            partitions=self._options.partitions,
            events_s=round(median(one["events_s"] for one in with_change)),
            events_s_without=round(median(one["events_s"] for one in without)),
            cpu_us_event=round(median(one["cpu_us_event"] for one in with_change), 1),
            cpu_us_without=round(median(one["cpu_us_event"] for one in without), 1),
            throughput_kept=round(cost["events_s"], 2),
            cpu_factor=round(cost["cpu_us_event"], 2),
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

    def _publish(self) -> None:
        """Put the next policy on its topic, as `elo identity publish` does."""
        document = yaml.safe_load(SHIPPED_POLICY.read_text("utf-8"))
        document["identifiers"]["device_id"]["limit"] = LIMITS[(self._version - 1) % 2]
        self._version += 1
        document["version"] = self._version
        policy = Published(parse_policy(document), yaml.safe_dump(document, sort_keys=False), "bench", "", 0)
        producer = self._cluster.producer()
        producer.produce(self._worker.topics.policy, policy.encode(), POLICY_KEY)
        producer.flush()
