"""A Faust transport on confluent-kafka that hands an agent batches: see docs/transport.md.

It stands alone: it imports nothing from the rest of the package.
"""

from __future__ import annotations

from .base import HOPELESS, TransportStats
from .batch import Batch, BatchSchema, Chain, Link
from .consumer import Consumer
from .errors import ConfigurationError, TransportError
from .options import CONSUMER_DEFAULTS, TransportOptions
from .transport import APP_SETTINGS, Transport, batch_topic, configure_app, consumer_of, create_app

__all__ = [
    "APP_SETTINGS",
    "CONSUMER_DEFAULTS",
    "HOPELESS",
    "Batch",
    "BatchSchema",
    "Chain",
    "ConfigurationError",
    "Consumer",
    "Link",
    "Transport",
    "TransportError",
    "TransportOptions",
    "TransportStats",
    "batch_topic",
    "configure_app",
    "consumer_of",
    "create_app",
]
