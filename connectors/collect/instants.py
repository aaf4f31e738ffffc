"""Instants of other people's formats, and the arithmetic that corrects a device's clock.

Texts in ISO 8601 and numbers in seconds or milliseconds become `int` milliseconds. It must not read a clock:
when a request was received is an argument.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

SECONDS_MAX: Final = 100_000_000_000
"""A smaller number is seconds (until the year 5138), a larger one milliseconds (from March 1973)."""
MILLISECONDS_MAX: Final = 253_402_300_800_000  # the year 10000


def parse_ms(given: object) -> int | None:
    """The instant of an ISO 8601 text or of a number, in ms; None when it is neither. No zone means UTC."""
    if isinstance(given, str):
        try:
            at = datetime.fromisoformat(given)
        except ValueError:
            try:
                given = float(given)
            except ValueError:
                return None
        else:
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            return round(at.timestamp() * 1000)
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    ms = given * 1000 if abs(given) < SECONDS_MAX else given
    return round(ms) if 0 <= ms < MILLISECONDS_MAX else None


def corrected_ms(occurred_ms: int | None, sent_ms: int | None, received_ms: int) -> int:
    """When something happened by our clock.

    `occurred_ms` and `sent_ms` are by the sender's clock, so how long ago it happened when it was sent is
    right even if the clock is not. Without `sent_ms` the sender's clock is believed. What was sent before it
    happened (some trackers cut `sent` to whole seconds) has happened now.
    """
    if occurred_ms is None:
        return received_ms
    if sent_ms is None:
        return occurred_ms
    return max(received_ms - max(sent_ms - occurred_ms, 0), 0)
