"""The settings of a worker's life: its name, its end, its stand-by copies. `pipeline.settings` takes them in.

It must not know how settings are read.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from .core.duration import parse_duration_ms
from .settings_collect import CollectSettings


def to_ms(value: object) -> object:
    """A whole number is milliseconds already; a text is a duration such as `500ms`. Zero means "at once"."""
    if not isinstance(value, str):
        return value
    if value.strip().isdecimal():
        return int(value)
    return parse_duration_ms(value)


Milliseconds = Annotated[int, BeforeValidator(to_ms)]


class LifeSettings(CollectSettings):
    """How a worker joins, stands by, and ends."""

    worker_name: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        description="Name of this worker in its group, the same after each restart and no other's: one that "
        "is back within `session_timeout_ms` after a crash has its partitions still. Empty: none.",
    )
    leave_on_stop: bool = Field(
        True,
        description="Whether a worker with a name hands its partitions over when it is stopped; if not, they "
        "wait for its return for `session_timeout_ms`.",
    )
    standby: bool = Field(
        True,
        description="Whether a worker keeps warm copies of the partitions that others have, on its disk, so "
        "that it takes them over within seconds.",
    )
    watchdog_ms: Milliseconds = Field(
        60_000,
        ge=1_000,
        le=3_600_000,
        description="A worker that does not move for so long ends itself with code 3, for a restart.",
    )
