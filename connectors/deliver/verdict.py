"""What the answer of a destination means for a change. Pure: status and headers in, a verdict out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """The outcomes of an attempt; also the label of `elo_deliver_attempts_total`."""

    DELIVERED = "delivered"
    RETRY = "retry"  # tried again: it did not answer, or not in a way that says the change is at fault
    REFUSED = "refused"  # the change is at fault: sent alone once more, then kept as a letter
    GONE = "gone"  # 410: the destination is disabled


@dataclass(frozen=True, slots=True)
class Verdict:
    """`detail` names the status or the kind of error, never a body. `after_ms`: from now on, as it asked.

    `status`: that of the answer, if there was one.
    """

    kind: Kind
    detail: str = ""
    after_ms: int | None = None
    status: int | None = None


REFUSING: Final = frozenset((400, 406, 411, 412, 413, 414, 415, 416, 417, 418, 422, 431, 451))
"""Statuses that speak of what was sent. 401, 403, 404, 405 and redirects do not: a wrong key or address is
put right by somebody, and until then every change would become a letter."""
_AFTER_MS_MAX: Final = 86_400_000
_RESETS: Final = ("X-RateLimit-Reset", "RateLimit-Reset")
_EPOCH_S: Final = 1_000_000_000
"""Above this a reset is an instant (Braze), below it a number of seconds."""
_FAR_S: Final = 1e12  # as good as any later instant; what is far beyond it is no `int`


def judge(status: int, headers: Mapping[str, str], now_ms: int) -> Verdict:
    """The verdict on an answer. `headers` must not care for upper and lower case."""
    detail = f"HTTP {status}"
    if 200 <= status < 300:
        return Verdict(Kind.DELIVERED, detail, status=status)
    if status == 410:
        return Verdict(Kind.GONE, detail, status=status)
    if status in REFUSING:
        return Verdict(Kind.REFUSED, detail, status=status)
    return Verdict(Kind.RETRY, detail, _after_ms(status, headers, now_ms), status)


def _after_ms(status: int, headers: Mapping[str, str], now_ms: int) -> int | None:
    """How long the destination asks to wait: seconds, or a date; of a 429 also when its window resets."""
    given = headers.get("Retry-After", "").strip()
    if not given and status == 429:
        given = next((headers[name] for name in _RESETS if name in headers), "").strip()
    try:
        seconds = float(given)
        is_instant = seconds > _EPOCH_S
    except ValueError:
        try:
            at = parsedate_to_datetime(given)
        except (TypeError, ValueError, OverflowError):
            return None
        seconds, is_instant = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp(), True
    if not seconds < float("inf"):  # also "nan"
        return None
    wait_ms = min(seconds, _FAR_S) * 1000 - (now_ms if is_instant else 0)
    return int(min(max(wait_ms, 0), _AFTER_MS_MAX))
