"""Results: one JSON object a measurement, in `build/bench.jsonl` as the contract has it, and a table."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from .machine import NOISY_CORES

Row = dict[str, Any]
COLUMNS: Final = (
    ("kind", "kind"),
    ("system", "system"),
    ("mode", "mode"),
    ("n", "n"),
    ("events_s", "events/s"),
    ("requests_s", "requests/s"),
    ("cpu_us_event", "CPU us/event"),
    ("throughput_kept", "throughput kept"),
    ("cpu_factor", "CPU factor"),
    ("others_kept", "others kept"),
    ("once_s", "once s"),
    ("unmerge_ms", "parted ms"),
    ("rehearse_s", "rehearsed s"),
    ("change_s", "changed s"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
    ("live_p99_ms", "live p99 ms"),
    ("drained_s", "drained s"),
    ("backfill_s", "back-fill s"),
    ("preview_s", "preview s"),
    ("exact_s", "exact s"),
    ("rss_mb", "RSS MB"),
    ("ratio_to_raw", "CPU to raw"),
    ("other_cores", "other cores"),
    ("correct", "correct"),
)


def make_row(kind: str, system: str, **fields: object) -> Row:
    """One result. Fields that are None do not apply and are left out."""
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    given = {name: value for name, value in fields.items() if value is not None}
    return {"when": when, "kind": kind, "system": system, **given}


def append_row(row: Row, results: Path) -> None:
    """Append the row to the results, as soon as it is there."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def format_table(rows: Sequence[Row]) -> str:
    """The rows as text, with the ratios that belong to them and what to know when reading them."""
    shown = [column for column in COLUMNS if any(column[0] in row for row in rows)]
    cells = [[title for _, title in shown]]
    cells += [[_cell(name, row.get(name, "")) for name, _ in shown] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(shown))]
    lines = ["  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, *_notes(rows)])


def _cell(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if name == "other_cores" and isinstance(value, float) and value > NOISY_CORES:
        return f"{value} (noisy)"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _is_noisy(row: Row) -> bool:
    return bool(row.get("other_cores", 0) > NOISY_CORES)


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = []
    elo = [row for row in rows if (row["kind"], row["system"]) == ("throughput", "elo")]
    streams = [row for row in rows if (row["kind"], row["system"]) == ("throughput", "kafka-streams")]
    if elo and streams and not _is_noisy(elo[-1]) and not _is_noisy(streams[-1]):
        speed = elo[-1]["events_s"] / streams[-1]["events_s"]
        cpu = elo[-1]["cpu_us_event"] / streams[-1]["cpu_us_event"]
        notes.append(
            f"Elo to Kafka Streams: {speed:.2f} of the touchpoints/s, {cpu:.2f} times the CPU of each."
        )
    if streams:
        notes.append(
            "Kafka Streams does the simpler job: no merges, timers or validation, windows in whole hours."
        )
    if any(_is_noisy(row) for row in rows):
        notes.append(
            "noisy: other processes used that many cores meanwhile; measure again on a quiet machine."
        )
    notes.extend(
        f"{row['system']} {row['kind']}: {text}" for row in rows for text in row.get("differences", ())
    )
    return ["", *notes] if notes else []
