"""The settings of the collector, as part of all settings: `pipeline.settings` takes them in.

It must not know how settings are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode


def to_keys(value: object) -> object:
    """From the environment: `KEY=SOURCE` pairs between commas. From YAML: a mapping."""
    if isinstance(value, str):
        pairs = [part.rpartition("=") for part in value.split(",") if part.strip()]
        if any(not separator or not key.strip() for key, separator, _ in pairs):
            raise ValueError("write KEY=SOURCE pairs between commas")
        return {key.strip(): source.strip() for key, _, source in pairs}
    if not isinstance(value, Mapping):
        raise ValueError("write a mapping of write keys to sources")
    return {str(key): str(source) for key, source in value.items()}


def to_names(value: object) -> object:
    """From the environment: names between commas. From YAML: a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(to_names)]
WriteKeys = Annotated[dict[str, str], NoDecode, BeforeValidator(to_keys)]


class CollectSettings(BaseSettings):
    """What only `elo collect` asks for."""

    collect_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address on which the collector answers; `0.0.0.0` is all of them.",
    )
    collect_port: int = Field(8080, ge=1, le=65535, description="Port on which the collector answers.")
    write_keys: WriteKeys = Field(
        default_factory=dict,
        description="Write keys of the collector and the source of each, for example `{k3y: web}`; a source "
        "may have several, so that one can be replaced by the next. As `ELO_WRITE_KEYS` `KEY=SOURCE` pairs.",
    )
    sendgrid_key: str = Field(
        "", description="Verification key of SendGrid's event webhook; empty: `/webhooks/sendgrid` is off."
    )
    ses_topics: Names = Field(
        (), description="ARNs of the SNS topics with events of Amazon SES; empty: `/webhooks/ses` is off."
    )
    mailgun_key: SecretStr = Field(
        SecretStr(""), description="Webhook signing key of Mailgun; empty: `/webhooks/mailgun` is off."
    )
    hubspot_secret: SecretStr = Field(
        SecretStr(""), description="Client secret of the HubSpot app; empty: `/webhooks/hubspot` is off."
    )
    email_purpose: str = Field(
        "marketing",
        min_length=1,
        description="The consent that an unsubscription or a complaint about an e-mail takes back.",
    )
    event_bytes_max: int = Field(
        32 * 1024,
        ge=1024,
        le=256 * 1024,
        description="A larger event is refused by the collector by itself; Segment's limit unless changed.",
    )
    key_events_s: float = Field(
        0,
        ge=0,
        description="Events a second that one write key may send, with a burst of ten seconds' worth; above "
        "that the collector answers 429. 0 is no limit.",
    )
    spool_mb: int = Field(
        1024,
        ge=1,
        le=1_000_000,
        description="Disk that the collector may fill while the broker is away; then it answers 503.",
    )
