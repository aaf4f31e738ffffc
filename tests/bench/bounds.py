"""What many people share, or one does without end, beside ordinary people: does their throughput hold?

One partition in this process, without Kafka, on a real RocksDB: `python -m tests.bench bounds`. Batches of
the reference job and of a history that hurts are handled by turns; on a second partition the same history
comes in its harmless form, in which nobody shares anything. What counts is the CPU of each batch, so other
work on the machine matters little. Counted work is in tests/property/test_bounds.py.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import yaml

from pipeline.core.errors import Rejection
from pipeline.core.node import COMPONENT_KEY, IDENTIFIER_KEY, PAGE_KEY
from pipeline.core.policy import Policy, parse_policy
from pipeline.core.touch import Touch
from pipeline.settings import SHIPPED_POLICY

from .generator import touchpoints
from .hotpath import HotPath, keyed
from .load import encode
from .report import Row, make_row

KEPT_MIN: Final = 0.8
SHARE: Final = 0.1  # of all touches, one in ten is of the history that hurts
OTHERS: Final = 40_000
BATCHES: Final = 40
QUARTER: Final = BATCHES // 4
YEAR_MS: Final = 365 * 86_400_000
OWNERS: Final = 12
REUSED: Final = {"phone": {"limit": 5, "normalise": "phone", "unique": "newest"}}
Made = Iterator[tuple[int, tuple[str, ...]]]
"""Touches: (ms after the first, identifiers, strongest first)."""


def kiosk(people: int, shared: bool) -> Made:
    """Everybody leaves the e-mail of the shop's own terminal, which also sends it alone."""
    for number in range(people):
        email = "email:kiosk@shop.com" if shared else f"email:k{number}@shop.com"
        yield 3 * number, (f"user_id:k{number}", email, f"device_id:k{number}")
        yield 3 * number + 1, (email, f"anonymous_id:k{number}")
        yield 3 * number + 2, (f"user_id:k{number}", email)


def one_device(logins: int, shared: bool) -> Made:
    """Everybody logs in on a tablet, which is used without a log-in in between."""
    for number in range(logins):
        device = "device_id:tablet" if shared else f"device_id:t{number}"
        yield 2 * number, (f"user_id:t{number}", device)
        yield 2 * number + 1, (device, f"anonymous_id:t{number}")


def circle(links: int, shared: bool) -> Made:
    """A ring of e-mails and devices, link by link; then it is walked nine times more."""
    for walk in range(10):
        for number in range(links):
            device = number // 2
            email = (device + number % 2) % (links // 2) if shared else device
            yield walk * links + number, (f"email:c{email}@x.com", f"device_id:c{device}")


def reused(numbers: int, shared: bool) -> Made:
    """Phone numbers that are somebody else's every year."""
    for year in range(OWNERS):
        for number in range(numbers):
            phone = f"phone:+55119{number:04}{0 if shared else year:04}"
            for more in range(4):
                yield year * YEAR_MS + more, (f"user_id:y{number}.{year}", phone)


@dataclass(frozen=True, slots=True)
class Case:
    """A history that hurts, in its size, and what the shipped policy is changed by."""

    name: str
    history: Callable[[int, bool], Made]
    size: int
    rules: dict[str, Any]

    def touches(self, scale: int, *, shared: bool) -> list[Touch]:
        """The history, or its harmless form."""
        made = self.history(max(2, self.size // scale), shared)
        return [
            Touch(f"{self.name}{number}", "web", "page_viewed", at_ms, list(identifiers))
            for number, (at_ms, identifiers) in enumerate(made)
        ]

    def policy(self) -> Policy:
        """The policy that it is judged by."""
        document = yaml.safe_load(SHIPPED_POLICY.read_text("utf-8"))
        document["identifiers"].update(self.rules)
        return parse_policy(document)


CASES: Final = (
    Case("kiosk", kiosk, 100_000, {}),
    Case("one-device", one_device, 10_000, {}),
    Case("circle", circle, 1_000, {}),
    Case("reused-id", reused, 500, REUSED),
)


def run_bounds(work: Path, now_ms: int, scale: int = 1) -> Iterator[Row]:
    """One row a history. `scale`: divides its size, for a look."""
    reader = HotPath(work / "reader", now_ms).reader
    read = (reader.read(encode(one.record), now_ms) for one in touchpoints(OTHERS // scale, 7, now_ms))
    others = [touch for touch in read if not isinstance(touch, Rejection)]
    for case in CASES:
        yield _measure(case, others, scale, work / case.name, now_ms)


def _measure(case: Case, others: list[Touch], scale: int, work: Path, now_ms: int) -> Row:
    hurting, harmless = case.touches(scale, shared=True), case.touches(scale, shared=False)
    hurt, calm = (HotPath(work / name, now_ms, policy=case.policy()) for name in ("hurt", "calm"))
    clock = Clock()
    reviews: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    gc.disable()  # As in a worker.
    for own, strange, like in zip(_parts(others), _parts(hurting), _parts(harmless), strict=True):
        clock.time("hurting", hurt, strange)
        reviews.update(one.kind for one in hurt.outbox.reviews)
        refused.update(hurt.outbox.refused)
        clock.time("beside hurting", hurt, own)
        clock.time("harmless", calm, like)
        clock.time("beside harmless", calm, own)
    gc.enable()
    cost, last, before = clock.us("hurting"), clock.us("hurting", 3), clock.us("hurting", 1)
    beside, beside_calm = clock.us("beside hurting"), clock.us("beside harmless")
    as_usual = (1 - SHARE) * beside_calm + SHARE * clock.us("harmless", 3)
    kept = as_usual / ((1 - SHARE) * beside + SHARE * last)
    return make_row(
        "bounds",
        "elo",
        mode=case.name,
        n=len(hurting),
        others_kept=round(kept, 2),
        cpu_us_event=round(last, 1),
        cpu_us_harmless=round(clock.us("harmless", 3), 1),
        cpu_us_second_quarter=round(before, 1),
        cpu_us_others=round(beside, 1),
        cpu_us_others_as_usual=round(beside_calm, 1),
        once_s=round(max(0.0, (cost - last) * len(hurting) / 1e6), 2),
        batch_ms_max=round(clock.longest_ms("hurting")),
        record_bytes_max=_largest(hurt),
        refused=dict(refused),
        reviews=dict(reviews),
        correct=kept >= KEPT_MIN,
    )


class Clock:
    """CPU seconds and touches of each batch, by what it was."""

    def __init__(self) -> None:
        self._spent: dict[str, list[tuple[float, int]]] = {}

    def time(self, name: str, path: HotPath, touches: list[Touch]) -> None:
        """Handle a batch, and write it to the disk."""
        records = keyed(touches)
        started = time.process_time()
        path.resolve(records)
        path.flush()
        self._spent.setdefault(name, []).append((time.process_time() - started, len(touches)))

    def us(self, name: str, quarter: int | None = None) -> float:
        """Of each touch, in one of the four quarters or in all."""
        spent = self._spent[name]
        if quarter is not None:
            spent = spent[quarter * QUARTER : (quarter + 1) * QUARTER]
        return sum(seconds for seconds, _ in spent) / sum(count for _, count in spent) * 1e6

    def longest_ms(self, name: str) -> float:
        """Of the longest batch."""
        return max(seconds for seconds, _ in self._spent[name]) * 1e3


def _parts(touches: list[Touch]) -> list[list[Touch]]:
    edges = [len(touches) * at // BATCHES for at in range(BATCHES + 1)]
    return [touches[begin:end] for begin, end in pairwise(edges)]


def _largest(path: HotPath) -> int:
    """Bytes of the largest record of a node."""
    kinds = (COMPONENT_KEY, IDENTIFIER_KEY, PAGE_KEY)
    return max(len(value) for kind in kinds for _, value in path.store.scan(kind))
