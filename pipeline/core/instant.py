"""Instants as people and documents write them: ISO 8601 in UTC, with milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS: Final = int((datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH).total_seconds()) * 1_000


def format_instant(at_ms: int) -> str | None:
    """1760000000000 → `2025-10-09T08:53:20.000Z`; None for an instant that does not come."""
    if at_ms > _LAST_MS:
        return None
    text = (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
