"""Probabilistic matching on labelled sets, beside Splink: `python -m tests.bench.matching [SET …]`.

The protocol is that of the sets' README: every set in five random orders, one model for each set that is
learned without labels, the same program and defaults for all; order agreement is the least over all pairs of
orders. Splink runs where `build/splink` is a virtual environment that has it.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from pipeline.core.matching.measure import measure

ROOT: Final = Path(__file__).resolve().parents[2]
SETS: Final = Path(os.environ.get("MATCHING_SETS", ROOT.parent / "shared" / "data" / "er"))
ORDERS: Final = int(os.environ.get("MATCHING_ORDERS", "5"))
SPLINK: Final = ROOT / "build" / "splink" / "bin" / "python"
TABLE: Final = ROOT / "build" / "matching.md"
WITHOUT_ID: Final = ("febrl1", "febrl2", "febrl3", "febrl4", "dsgen_a", "dsgen_d")
"""Sets that are too easy with national_id: they run with it and without it."""
HEAD: Final = (
    "set", "records", "F1 mean", "F1 worst", "precision", "recall", "orders agree", "records/s", "MB",
    "Splink F1", "Splink P",
)  # fmt: skip
Run = tuple[dict[str, str], float, int]
"""Clusters, CPU seconds, and the most memory in MB."""


def main(names: list[str]) -> int:
    """Run the sets of these names, or all, and print a table."""
    if not SETS.is_dir():
        print(f"skipped: there are no labelled sets at {SETS}; MATCHING_SETS names another folder")
        return 0
    if not SPLINK.exists():
        print("Splink is not installed in build/splink: its columns stay empty")
    files = sorted(path.name.removesuffix(".jsonl.gz") for path in SETS.glob("*.jsonl.gz"))
    chosen = [
        (name, left_out) for name in files for left_out in ((), ("national_id",) * (name in WITHOUT_ID))
    ]
    lines = [" | ".join(("", *HEAD, "")).strip(), "|---" * len(HEAD) + "|"]
    print("\n".join(lines))
    for name, left_out in dict.fromkeys(chosen):
        label = name + ("" if not left_out else ", no id")
        if names and label.replace(", ", "-").replace(" ", "-") not in names and name not in names:
            continue
        lines.append(row(label, read(name, left_out)))
        print(lines[-1], flush=True)
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def read(name: str, left_out: tuple[str, ...]) -> list[dict[str, Any]]:
    """The records of a set in the order of their ids, without some fields."""
    with gzip.open(SETS / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines if line.strip()]
    for record in records:
        for field in left_out:
            record["fields"].pop(field, None)
    return sorted(records, key=lambda record: record["record_id"])


def row(label: str, records: list[dict[str, Any]]) -> str:
    """All orders of one set, and Splink, as a line of the table."""
    truth = {record["record_id"]: record["entity_id"] for record in records}
    command = [sys.executable, "-m", "pipeline", "identity", "evaluate"]
    runs = [run(command, shuffled(records, seed)) for seed in range(1, ORDERS + 1)]
    found = [measure(clusters, truth) for clusters, _, _ in runs]
    mean = {name: sum(one[name] for one in found) / len(found) for name in ("f1", "precision", "recall")}
    agreement = min((measure(a[0], b[0])["f1"] for a, b in combinations(runs, 2)), default=1.0)
    speed = len(records) * len(runs) / sum(seconds for _, seconds, _ in runs)
    cells = [label, f"{len(records)}", f"{mean['f1']:.4f}", f"{min(one['f1'] for one in found):.4f}"]
    cells += [f"{mean['precision']:.4f}", f"{mean['recall']:.4f}", f"{agreement:.4f}", f"{speed:.0f}"]
    cells.append(f"{max(memory for _, _, memory in runs)}")
    cells += beside(records, truth)
    return f"| {' | '.join(cells)} |"


def beside(records: list[dict[str, Any]], truth: dict[str, str]) -> list[str]:
    """F1 and precision of Splink; empty where it is not installed or cannot do a set."""
    if not SPLINK.exists():
        return ["", ""]
    try:
        clusters, _, _ = run([str(SPLINK), str(Path(__file__).with_name("splink_child.py"))], records)
    except subprocess.CalledProcessError:
        return ["failed", ""]
    found = measure(clusters, truth)
    return [f"{found['f1']:.4f}", f"{found['precision']:.4f}"]


def shuffled(records: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The random order of a seed: the same as that of the sets' own tool."""
    order = list(records)
    random.Random(seed).shuffle(order)
    return order


def run(command: list[str], records: list[dict[str, Any]]) -> Run:
    """Give the records, without their truth, to a program in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "set.jsonl"), Path(folder, "clusters.tsv")
        with source.open("w", encoding="utf-8") as lines:
            for record in records:
                lines.write(
                    json.dumps({key: record[key] for key in ("record_id", "source", "fields")}) + "\n"
                )
        with target.open("w") as output, Path(folder, "errors.txt").open("w") as errors:
            process = subprocess.Popen([*command, str(source)], stdout=output, stderr=errors, cwd=ROOT)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        clusters = dict(line.split("\t") for line in target.read_text("utf-8").splitlines())
    return clusters, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
