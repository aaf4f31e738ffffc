"""The identity policy in force, as it is seen from outside: the published one or that of the file."""

from __future__ import annotations

import structlog
from confluent_kafka.admin import AdminClient

from ..core.errors import ConfigError
from ..core.published import POLICY_KEY, Published, decode_published
from ..settings import SHIPPED_POLICY, Settings, read_policy_file
from .restore import read_log

log = structlog.get_logger()


def policy_of_file(settings: Settings) -> Published:
    """The policy that `ELO_IDENTITY` names. Raises ConfigError."""
    return Published(*read_policy_file(settings, settings.identity or SHIPPED_POLICY))


def read_published(settings: Settings) -> Published | None:
    """The newest policy on `identity.policy`; None if there is none, or no such topic."""
    topic = settings.topics().policy
    if topic not in AdminClient(settings.kafka_config()).list_topics(timeout=30).topics:
        return None
    found = None
    for records in read_log(settings, topic, 0, 0):
        for record in records:
            if record.key() == POLICY_KEY and record.value() is not None:
                try:
                    found = decode_published(record.value())
                except ConfigError as error:
                    log.error("not an identity policy, skipped", offset=record.offset(), error=str(error))
    return found


def policy_in_force(settings: Settings) -> Published:
    """The policy by which people are told apart now: the one with the greatest version, of several the
    published one.
    """
    return greatest(policy_of_file(settings), read_published(settings))


def greatest(file: Published, published: Published | None) -> Published:
    """Which of the two counts."""
    return published if published is not None and published.policy.version >= file.policy.version else file
