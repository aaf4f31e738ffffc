"""Why something was refused or failed: one closed list of reasons and the three families of error.

Bad input is a `Rejection`, which is returned. A broker or a disk that fails is `Retryable`. A program that is
wrong is an `InvariantViolation`. Bad configuration is a `ConfigError`. It must not know how any of them is
reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a touchpoint was rejected: metric label, dead-letter header, docs/reference/reasons.md."""

    MALFORMED_AVRO = "malformed_avro"
    UNKNOWN_SCHEMA = "unknown_schema"
    MALFORMED_JSON = "malformed_json"
    MISSING_FIELD = "missing_field"
    INVALID_FIELD = "invalid_field"
    FUTURE_EVENT = "future_event"
    NO_USABLE_IDENTIFIER = "no_usable_identifier"
    CONFLICTING_IDENTIFIERS = "conflicting_identifiers"
    TOO_LARGE = "too_large"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Bad input, an expected outcome: returned, never raised; the original bytes are dead-lettered.

    `field` is the path inside the touchpoint (`identifiers[2].value`), empty when the whole value is at
    fault. `detail` says what was expected; it never repeats a value that may be personal.
    """

    reason: Reason
    field: str = ""
    detail: str = ""


class PipelineError(Exception):
    """Base of all we raise. `context` holds ids, offsets, versions; never an e-mail, phone number or name."""

    def __init__(self, message: str, **context: object) -> None:
        detail = ", ".join(f"{name}={value}" for name, value in context.items())
        super().__init__(f"{message} ({detail})" if detail else message)
        self.message, self.context = message, context


class Retryable(PipelineError):
    """Broker or disk failed. Abort the transaction, stop the task, read again from the committed offset."""


class InvariantViolation(PipelineError):
    """The program is wrong. Stop before anything commits; a restart reads again from the last good state."""


class ConfigError(PipelineError):
    """Bad configuration, refused at start. The message is one sentence that says what to do."""


class AccessDenied(PipelineError):
    """Kafka refuses the login or an operation: no waiting mends it. The message says what to change."""
