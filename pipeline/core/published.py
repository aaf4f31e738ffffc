"""An identity policy as it is published: a record of the topic `identity.policy`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from .errors import ConfigError
from .policy import Policy, read_policy

POLICY_KEY: Final = b"policy"
"""The one key of the topic: the newest record is the policy in force."""


@dataclass(frozen=True, slots=True)
class Published:
    """A policy, the text that it was read from, and who published it, why and when (ms; 0 for a file)."""

    policy: Policy
    text: str
    by: str = ""
    reason: str = ""
    at_ms: int = 0

    def to_json(self) -> dict[str, Any]:
        """The value of the record."""
        return {
            "version": self.policy.version,
            "document": self.text,
            "by": self.by,
            "reason": self.reason,
            "published_at": self.at_ms,
        }

    def encode(self) -> bytes:
        """The bytes of the record."""
        return orjson.dumps(self.to_json())


def decode_published(value: bytes) -> Published:
    """Inverse of `Published.encode`. Raises ConfigError for what is no policy."""
    try:
        record = orjson.loads(value)
        policy = read_policy(record["document"])
        return Published(
            policy, record["document"], str(record["by"]), str(record["reason"]), int(record["published_at"])
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"not a record of an identity policy ({error})") from None
