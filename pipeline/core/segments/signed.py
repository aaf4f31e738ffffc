"""The signed instant, in which a compiled condition answers "is it true?" and "until when?" in one number.

Positive when the condition holds and negative when it does not; its size is the next instant (ms) at which
that may change by itself, NEVER if it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, TypeAlias

from ..facet import NEVER, Facet

YES: Final = NEVER
NO: Final = -NEVER
Evaluate: TypeAlias = Callable[[Facet, Collection[str], int], int]
"""(fold, identifier types of the profile, now in ms > 0) → signed instant, its size > now."""


def during(start_ms: int, end_ms: int, now_ms: int) -> int:
    """True in [start, end), false before and for good afterwards."""
    if now_ms < start_ms:
        return -start_ms
    return end_ms if now_ms < end_ms else NO
