"""An identity policy as it is published: a record of the topic `identity.policy`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from .errors import ConfigError
from .matching.document import decode_model, encode_model, read_model
from .policy import Policy, read_policy
from .policy_matching import no_models

POLICY_KEY: Final = b"policy"
"""The one key of the topic: the newest record is the policy in force."""


@dataclass(frozen=True, slots=True)
class Published:
    """A policy, the text that it was read from, and who published it, why and when (ms; 0 for a file).

    `model`: the document of the trained model that it names, empty if it names none.
    """

    policy: Policy
    text: str
    by: str = ""
    reason: str = ""
    at_ms: int = 0
    model: bytes = b""

    @property
    def model_version(self) -> str:
        """That of the trained model; empty if there is none."""
        matching = self.policy.matching
        return matching.model if matching is not None and self.model else ""

    def to_json(self) -> dict[str, Any]:
        """The value of the record."""
        return {
            "version": self.policy.version,
            "document": self.text,
            "model": self.model_version or None,
            "by": self.by,
            "reason": self.reason,
            "published_at": self.at_ms,
        }

    def encode(self) -> bytes:
        """The bytes of the record."""
        model = orjson.Fragment(self.model) if self.model else None
        return orjson.dumps({**self.to_json(), "model": model})


def policy_of(text: str, model: bytes) -> Policy:
    """The policy of a text and of the trained model that comes with it. Raises ConfigError."""
    return read_policy(text, lambda _: decode_model(model)) if model else read_policy(text)


def decode_published(value: bytes) -> Published:
    """Inverse of `Published.encode`. Raises ConfigError for what is no policy."""
    try:
        record = orjson.loads(value)
        found = record.get("model")
        policy = read_policy(record["document"], no_models if found is None else lambda _: read_model(found))
        trained = None if policy.matching is None else policy.matching.trained
        model = b"" if trained is None else encode_model(trained)
        who = str(record["by"]), str(record["reason"]), int(record["published_at"])
        return Published(policy, record["document"], *who, model)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"not a record of an identity policy ({error})") from None
