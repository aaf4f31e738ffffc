"""What is in force, as it is seen from outside: the identity policy, the published one or that of the file;
definitions of segments and computed traits.
"""

from __future__ import annotations

import logging

from confluent_kafka.admin import AdminClient

from ..core.errors import ConfigError
from ..core.published import POLICY_KEY, Published, decode_published
from ..core.segments.definition import Definition
from ..settings import SHIPPED_POLICY, Settings, read_policy_file
from .control import decode_definition
from .owner import notes_of
from .restore import partitions_of, read_log

log = logging.getLogger(__name__)
"""Of the standard library: where nobody configures logs, in a command, it writes to standard error."""


def policy_of_file(settings: Settings) -> Published:
    """The policy that `ELO_IDENTITY` names. Raises ConfigError."""
    policy, text, model = read_policy_file(settings, settings.identity or SHIPPED_POLICY)
    return Published(policy, text, model=model)


def read_published(settings: Settings) -> Published | None:
    """The newest policy on `identity.policy`; None if there is none, or no such topic."""
    topic = settings.topics().policy
    if topic not in AdminClient(settings.quiet_kafka_config()).list_topics(timeout=30).topics:
        return None
    found = None
    for records in read_log(settings, topic, 0, 0):
        for record in records:
            if record.key() == POLICY_KEY and record.value() is not None:
                try:
                    found = decode_published(record.value())
                except ConfigError as error:
                    log.error("%s, offset %d: not a policy, skipped: %s", topic, record.offset(), error)
    return found


def read_definitions(settings: Settings) -> dict[str, Definition]:
    """Id → the newest definition on `segments.definitions`, as workers read it: what is none is skipped."""
    found: dict[str, Definition] = {}
    topic = settings.topics().definitions
    for records in read_log(settings, topic, 0, 0):
        for record in records:
            name = (record.key() or b"").decode(errors="replace")
            if record.value() is None:
                found.pop(name, None)
                continue
            try:
                found[name] = decode_definition(name, record.value())
            except (ConfigError, ValueError) as error:
                log.error("%s, offset %d: not a definition, skipped: %s", topic, record.offset(), error)
    return found


def policy_in_force(settings: Settings) -> Published:
    """The policy by which people are told apart now: the one with the greatest version, of several the
    published one.
    """
    return greatest(policy_of_file(settings), read_published(settings))


def policy_of_workers(settings: Settings) -> Published:
    """The same, for what only makes sense by the policy of the workers, as profiles do.

    Raises: ConfigError when they go by a newer one than this process knows of.
    """
    found, touches = policy_in_force(settings), settings.topics().touches
    notes = notes_of(settings, touches, partitions_of(settings, touches))
    newest = max((note.get("policy_version", 0) for note in notes), default=0)
    if newest > found.policy.version:
        raise ConfigError(
            f"the workers go by identity policy version {newest}, this command by version "
            f"{found.policy.version}: name their file with ELO_IDENTITY"
        )
    return found


def greatest(file: Published, published: Published | None) -> Published:
    """Which of the two counts."""
    return published if published is not None and published.policy.version >= file.policy.version else file
