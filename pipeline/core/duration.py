"""Durations as people write them (`90s`, `15m`, `24h`, `7d`, `250ms`), to milliseconds and back."""

from __future__ import annotations

import re
from typing import Final

UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION: Final = re.compile(r"([0-9]{1,12})(ms|s|m|h|d|w)\Z")


def parse_duration_ms(text: str) -> int:
    """Return milliseconds, always positive. Raises ValueError with a sentence that says what to write."""
    found = _DURATION.match(text.strip())
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{text!r} is not a duration, write for example 90s, 15m, 24h or 7d")
    return int(found[1]) * UNITS_MS[found[2]]


def format_duration(duration_ms: int) -> str:
    """Return the shortest exact form: 604800000 → `7d`."""
    for unit in ("d", "h", "m", "s"):
        if duration_ms % UNITS_MS[unit] == 0:
            return f"{duration_ms // UNITS_MS[unit]}{unit}"
    return f"{duration_ms}ms"
