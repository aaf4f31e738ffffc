"""The demo: a broker, a worker and a live shop on this machine, checked against the shop's own truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.settings import Settings


def run(
    settings: Settings, seconds: float | None = None, rate: float = 200.0, keep: bool = False, seed: int = 7
) -> int:
    """Play one demo on standard output and return the exit code: 0 when the truth check passed, else 1.

    Args:
        settings: only its `data_dir` is used: the demo has a Kafka and a deployment of its own below it.
        seconds: how long the shop is open; None: until Ctrl-C.
        rate: touchpoints per second.
        keep: leave data and logs for a look afterwards.
        seed: equal seeds play the same people.
    Raises: PipelineError with one sentence when something could not start or has died.
    """
    from rich.console import Console

    from .session import Options
    from .session import run as play

    return play(settings, Options(seconds, rate, seed, keep), Console(highlight=False))
