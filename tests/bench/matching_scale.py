"""How time and memory of matching grow: `python -m tests.bench.matching_scale [RECORDS …]`.

Made-up people in Portuguese (`tests/support/crowds.py`) with faults of several kinds, two records of a person
on average; one process each, of which CPU time, start of Python included, and peak memory are taken. The
exponent is that of the time between a size and the one before it: 1 if time grows in proportion.
"""

from __future__ import annotations

import sys
from math import log
from typing import Any, Final

from pipeline.core.matching.measure import measure
from tests.support.crowds import Crowd, make_crowd

from .matching import TABLE, run

SIZES: Final = (20_000, 80_000, 200_000, 500_000)
RECORDS_A_PERSON: Final = 1.8
FAULTS: Final = ("keyboard", "heard", "missing", "dates", "moved", "initials")
HEAD: Final = ("records", "CPU s", "records/s", "exponent", "MB", "KB each", "F1", "precision")


def main(sizes: list[int]) -> int:
    """Run each size and print a table."""
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    print("\n".join(lines), flush=True)
    before: tuple[int, float] | None = None
    for size in sizes or SIZES:
        records = made(size)
        truth = {record["record_id"]: record["entity_id"] for record in records}
        clusters, seconds, memory = run([sys.executable, "-m", "pipeline", "identity", "evaluate"], records)
        found, n = measure(clusters, truth), len(records)
        exponent = "" if before is None else f"{log(seconds / before[1]) / log(n / before[0]):.2f}"
        cells = [f"{n:,}", f"{seconds:.0f}", f"{n / seconds:,.0f}", exponent, f"{memory}"]
        cells += [f"{memory * 1024 / n:.1f}", f"{found['f1']:.4f}", f"{found['precision']:.4f}"]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
        before = n, seconds
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.with_name("matching-scale.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def made(size: int) -> list[dict[str, Any]]:
    """About so many records."""
    crowd = Crowd(int(size / RECORDS_A_PERSON), FAULTS, fault_rate=0.6)
    return [
        {
            "record_id": one.record_id,
            "entity_id": one.entity_id,
            "source": "made",
            "fields": dict(one.fields),
        }
        for one in make_crowd(1, crowd)
    ]


if __name__ == "__main__":
    sys.exit(main([int(size) for size in sys.argv[1:]]))
