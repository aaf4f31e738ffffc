"""`elo segments preview` of a new 7-day segment over many profiles: from the sample, and exactly.

Each profile has one touchpoint of the last days, half of them views that the segment asks about, so all of
the history has to be read.
"""

from __future__ import annotations

import statistics
import time
from typing import Any, Final

from pipeline.topics import Topics

from .backfill import NEW, load_people, looked_lately
from .cluster import Cluster
from .elo_worker import EloWorker
from .options import Options
from .report import Row, make_row

TIMES: Final = 3


def measure_preview(cluster: Cluster, worker: EloWorker, topics: Topics, options: Options) -> Row:
    """Load, then preview."""
    ages_ms, now_ms = load_people(cluster, worker, topics, options)
    estimates = [worker.preview([NEW]) for _ in range(TIMES)]
    exact_s, exact = worker.preview([NEW], "--exact")
    differences = [
        found
        for _, estimate in estimates
        for found in _differences(estimate, exact, ages_ms, int(time.time() * 1000) - now_ms)
    ]
    return make_row(
        "preview", "elo", n=options.n, workers=1, partitions=options.partitions,
        preview_s=round(statistics.median(seconds for seconds, _ in estimates), 1), exact_s=round(exact_s, 1),
        correct=not differences, differences=differences or None,
    )  # fmt: skip


def _differences(estimate: Any, exact: Any, ages_ms: list[int], grown_ms: int) -> list[str]:
    """What is not as it must be. `grown_ms`: by how much everybody is older than at the beginning."""
    found = []
    least, most = looked_lately(ages_ms, grown_ms)
    inside = exact["segments"][0]["inside"]["count"]
    if exact["profiles"] != len(ages_ms) or not least <= inside <= most:
        found.append(f"{inside} of {exact['profiles']} are inside, expected {least} to {most}")
    if not estimate["estimated"]:
        found.append("everybody was counted")
        return found
    intervals = [
        (exact["profiles"], estimate["interval"]),
        (inside, estimate["segments"][0]["inside"]["interval"]),
    ]
    for count, (low, high) in intervals:
        if not low - (high - low) / 2 <= count <= high + (high - low) / 2:  # twice the width: one in 10,000
            found.append(f"{count} is far from {low} to {high}")
    return found
