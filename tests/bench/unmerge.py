"""How long a large profile takes to be parted: from the steward's split to the last compensating change.

Two people with 25 identifiers each and all touchpoints of the measurement are merged by a decision, then
split by another. Afterwards both must be who they were before the merge.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

from pipeline.core.decisions import Action
from pipeline.topics import Topics

from .cluster import Cluster
from .elo_worker import EloWorker, decode_change
from .generator import Event
from .latency import Watcher
from .load import load
from .machine import rss_mb_max
from .options import Options
from .report import Row, make_row

IDENTIFIERS_EACH: Final = 25
PEOPLE: Final = ("ana", "bia")
SPAN_MS: Final = 6 * 3_600_000
WATCHED_S: Final = 5.0  # so long changes are waited for after the split
STATE: Final = ("identifiers", "traits", "counters", "consent", "first_seen", "last_seen")


def definitions(events: int) -> list[dict[str, Any]]:
    """Segments that one is in, that both are in, and that only the two together are in."""
    together = events * 2 // 3
    return [
        {"id": "ana-herself", "where": {"trait": "name", "is": "ana"}},
        {"id": "looked-often", "where": {"event": "product_viewed", "within": "2d", "at_least": 3}},
        {"id": "bia-herself", "where": {"trait": "name", "is": "bia"}},
        {"id": "spent-together", "where": {"event": "product_viewed", "sum": "price", "gte": together}},
    ]


def measure_unmerge(cluster: Cluster, worker: EloWorker, topics: Topics, options: Options) -> Row:
    """Load, merge, split."""
    worker.apply(definitions(options.n))
    worker.start()
    load(cluster, topics, _touchpoints(options.n, int(time.time() * 1000)), ())
    worker.wait_ready()
    worker.wait_intake(options.n)
    worker.wait_idle()
    before = worker.profiles()
    _decide(cluster, topics, Action.MERGE, [f"user_id:{who}" for who in PEOPLE])
    time.sleep(1.0)  # it is in the log before anybody looks whether it was worked off
    worker.wait_idle()
    merged = worker.profiles()
    watcher = Watcher(cluster, topics.membership)
    time.sleep(1.0)
    told = len(watcher.seen)
    split_at = _decide(cluster, topics, Action.SPLIT, _identifiers(PEOPLE[1]))
    time.sleep(WATCHED_S)
    changes = watcher.stop()[told:]
    worker.wait_idle()
    differences = [] if len(merged) == 1 else [f"{len(merged)} profiles after the merge"]
    if _states(worker.profiles()) != _states(before) or len(before) != len(PEOPLE):
        differences.append("the two are not who they were before")
    causes = sorted({decode_change(change.value)["cause"] for change in changes})
    if causes != ["unmerge"]:
        differences.append(f"changes are caused by {causes}")
    last_at = max((change.visible_at for change in changes), default=split_at + WATCHED_S)
    return make_row(
        "unmerge", "elo", n=options.n, workers=1, partitions=options.partitions,
        identifiers=IDENTIFIERS_EACH * len(PEOPLE), changes=len(changes),
        unmerge_ms=round((last_at - split_at) * 1000, 1), rss_mb=rss_mb_max(worker.child.pid),
        correct=not differences, differences=differences or None,
    )  # fmt: skip


def _identifiers(who: str) -> list[str]:
    return [f"user_id:{who}", *(f"anonymous_id:{who}-{number}" for number in range(IDENTIFIERS_EACH - 1))]


def _touchpoints(count: int, now_ms: int) -> Iterator[Event]:
    """The log-ins of both, then what they look at under all their identifiers."""
    for who in PEOPLE:
        user, *others = _identifiers(who)
        for other in others:
            yield _event(f"login-{other}", [user, other], now_ms - SPAN_MS, json.dumps({"name": who}))
    logins = len(PEOPLE) * (IDENTIFIERS_EACH - 1)
    known = [_identifiers(who) for who in PEOPLE]
    for number in range(count - logins):
        own = known[number % len(PEOPLE)]
        at_ms = now_ms - SPAN_MS + number * SPAN_MS // count
        yield _event(f"e-{number}", [own[number // len(PEOPLE) % IDENTIFIERS_EACH]], at_ms, "{}")


def _event(event_id: str, identifiers: list[str], at_ms: int, traits: str) -> Event:
    pairs = [one.split(":", 1) for one in identifiers]
    record: dict[str, Any] = {
        "event_id": event_id,
        "source": "web",
        "type": "product_viewed",
        "occurred_at": at_ms,
        "identifiers": [{"type": name, "value": value} for name, value in pairs],
        "traits": traits,
        "properties": '{"price": 1}',
        "consent": {},
        "context": {},
    }
    return Event("web", identifiers[0].encode(), record)


def _decide(cluster: Cluster, topics: Topics, action: Action, identifiers: list[str]) -> float:
    """Send a steward's decision; return when, seconds since the epoch."""
    pairs = [one.split(":", 1) for one in identifiers]
    decision = {
        "decision_id": f"bench-{action.value}",
        "action": action.value,
        "identifiers": [{"type": name, "value": value} for name, value in pairs],
        "by": "bench",
        "reason": "measured",
    }
    producer = cluster.producer()
    sent_at = time.time()
    producer.produce(topics.decisions, json.dumps(decision).encode(), identifiers[0].encode())
    producer.flush()
    return sent_at


def _states(profiles: list[dict[str, Any]]) -> list[Any]:
    """What a profile is, and where it is inside; not since when, nor how often it has moved."""
    return sorted(
        [json.dumps({name: one[name] for name in STATE}, sort_keys=True), sorted(one["memberships"])]
        for one in profiles
    )
