"""What goes wrong with the embedded broker, as one sentence for the person at the terminal."""

from __future__ import annotations

from ..core.errors import PipelineError


class BrokerError(PipelineError):
    """The embedded broker cannot do what was asked. The message is one sentence that says what to do.

    `log_lines` are the last lines that Kafka or the JVM wrote (oldest first), empty when they say nothing.
    """

    def __init__(self, message: str, log_lines: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.log_lines = log_lines
