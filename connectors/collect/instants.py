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
DATE_CHARS: Final = 8
"""As in 20261123. With more digits a text is a number, though ISO 8601 may have it as an instant."""


def parse_ms(given: object) -> int | None:
    """The instant of an ISO 8601 text or of a number, in ms; None when it is neither. No zone means UTC."""
    if isinstance(given, str):
        is_number = given.isdecimal() and len(given) > DATE_CHARS
        at_ms = None if is_number else _iso_ms(given)
        if at_ms is not None:
            return at_ms
        try:
            given = float(given)
        except ValueError:
            return None
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    ms = given * 1000 if abs(given) < SECONDS_MAX else given
    return round(ms) if 0 <= ms < MILLISECONDS_MAX else None


def _iso_ms(text: str) -> int | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


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
