"""Logs: one line per event that matters, for people or as JSON. They never hold an identifier's value."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from ..settings import Settings

MASK: Final = "***"
_PERSONAL: Final = re.compile(
    r"\b(?P<type>\w+_id|cpf|nis|email|phone):[^\s'\",;)\]}]+"  # an identifier, as nodes are called
    r"|[^\s@'\"<>:=(,]+@[^\s@'\"<>),;]+\.\w+"  # an e-mail address
    r"|\+\d[\d ().-]{5,}\d"  # a phone number
    r"|\b\d{3}\.\d{3}\.\d{3}-\d{2}\b"  # a CPF
)


def mask(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take out of a line what looks like an identifier: exceptions say more than they should."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _PERSONAL.sub(_masked, value)
    return event


def _masked(found: re.Match[str]) -> str:
    return f"{found['type']}:{MASK}" if found["type"] else MASK


def configure_logs(settings: Settings) -> None:
    """Send everything to standard error, in the format and from the level of the settings."""
    level = logging.getLevelName(settings.log_level.upper())
    shared = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask,
    ]
    renderer = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("faust", "mode", "asyncio", "aiohttp"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))
