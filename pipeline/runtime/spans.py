"""Whether spans are made for OpenTelemetry: the standard variables say so, and the extra `otel` is installed.

An address in OTEL_EXPORTER_OTLP_ENDPOINT, or in that of traces alone, or OTEL_TRACES_EXPORTER=otlp asks for
them; OTEL_SDK_DISABLED=true takes it back. Else nothing is imported, and nothing done for a record or batch.
Source: docs/decisions/0035-spans-of-batches.md
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from .otel import Spans

log = structlog.get_logger()

PROTOCOL: Final = "http/protobuf"
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def open_spans(service: str) -> Spans | None:
    """What makes the spans of this process; None when nobody asks for them, or they cannot be made.

    `service`: its name, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES has one.
    """
    if not are_wanted(os.environ):
        return None
    protocol = next(filter(None, (os.environ.get(name) for name in PROTOCOLS)), PROTOCOL)
    if protocol != PROTOCOL:
        log.warning("no spans are sent: the protocol is another one", wanted=protocol, spoken=PROTOCOL)
        return None
    try:
        from .otel import Spans
    except ImportError:
        log.warning("no spans are sent: elo-pipeline[otel] is not installed")
        return None
    return Spans(service)


def are_wanted(environment: Mapping[str, str]) -> bool:
    """Whether these variables name somebody to send spans to."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if exporters := environment.get("OTEL_TRACES_EXPORTER"):
        return "otlp" in (one.strip() for one in exporters.split(","))
    return any(environment.get(name) for name in ENDPOINTS)
