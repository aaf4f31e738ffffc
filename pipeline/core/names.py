"""Event names of other systems as types of touchpoints: `Order Completed` → `order_completed`."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

NAME_CHARS_MAX: Final = 100  # of a touchpoint's type
UNNAMED: Final = "tracked"
"""The type of an event whose name has no Latin letter or digit; the name is kept as the property `event`."""
_HUMPS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OTHER: Final = re.compile(r"[^a-z0-9]+")


@lru_cache(maxsize=4096)
def snake_case(name: str) -> str:
    """The name in snake_case, without accents; empty when nothing of it is left.

    `Order Completed`, `orderCompleted` and `order-completed` are one type. A leading digit gets `event_`.
    """
    plain = unicodedata.normalize("NFKD", name[: 4 * NAME_CHARS_MAX])
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    words = _OTHER.sub("_", _HUMPS.sub("_", plain).lower()).strip("_")
    if words[:1].isdigit():
        words = f"event_{words}"
    return words[:NAME_CHARS_MAX].strip("_")


def type_of(name: str) -> tuple[str, bool]:
    """The type of an event by its name, and whether the name says more than the type can."""
    found = snake_case(name)
    return (found, False) if found else (UNNAMED, True)
