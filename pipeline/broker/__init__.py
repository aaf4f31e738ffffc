"""A real Apache Kafka on this machine, without Docker and without a system Java.

`EmbeddedBroker` is the whole interface. It must not know topics, settings or commands.
"""

from __future__ import annotations

from .embedded import BrokerStatus, EmbeddedBroker
from .errors import BrokerError
from .jars import KAFKA_VERSION

__all__ = ["KAFKA_VERSION", "BrokerError", "BrokerStatus", "EmbeddedBroker"]
