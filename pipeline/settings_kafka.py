"""How clients reach Kafka: TLS, login, and further settings of librdkafka. Part of all settings.

A setting `kafka_sasl_username` is librdkafka's `sasl.username`, and so for each of them. It must not know how
settings are read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

KAFKA_OWNED: Final = frozenset({
    "auto.offset.reset", "bootstrap.servers", "enable.auto.commit", "enable.auto.offset.store",
    "enable.idempotence", "enable.partition.eof", "group.id", "isolation.level",
    "partition.assignment.strategy", "transactional.id",
})  # fmt: skip
"""Settings of librdkafka on which correctness rests: `kafka` may not change them."""
QUEUE_BACKOFF_MS: Final = 5
"""The client's own is a second: so long it fetches nothing whenever its queue was full, which is emptied in
milliseconds. With it, reading is 6 to 8 times slower.
"""
READING: Final[Mapping[str, str | int | bool]] = MappingProxyType(
    {
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "enable_partition_eof": True,
        "auto_offset_reset": "earliest",
        "fetch_queue_backoff_ms": QUEUE_BACKOFF_MS,
    }
)
"""What every consumer that reads a topic to its end asks of librdkafka; `_` stands for a dot."""
CLIENT_DEFAULTS: Final = {"client.id": "elo", "reconnect.backoff.max.ms": 1_000}
"""A coordinator that died is asked for anew after an attempt to reconnect: librdkafka rests for up to 10 s
before the next, Java's clients for 1 s.
"""
TLS: Final = ("SSL", "SASL_SSL")
SASL: Final = ("SASL_PLAINTEXT", "SASL_SSL")
_TLS_FILES: Final = ("kafka_ssl_ca_location", "kafka_ssl_certificate_location", "kafka_ssl_key_location")


def _to_pairs(value: object) -> object:
    """From the environment: a JSON object, or `name=value` pairs between commas. From YAML: a mapping."""
    if isinstance(value, str):
        import orjson

        if value.lstrip().startswith("{"):
            try:
                value = orjson.loads(value)
            except orjson.JSONDecodeError:
                raise ValueError("write a JSON object or name=value pairs between commas") from None
        else:
            pairs = [part.partition("=") for part in value.split(",") if part.strip()]
            if any(not separator for _, separator, _ in pairs):
                raise ValueError("write a JSON object or name=value pairs between commas")
            value = {name.strip(): text.strip() for name, _, text in pairs}
    if not isinstance(value, Mapping):
        raise ValueError("write a mapping of librdkafka settings")
    return {str(name): _librdkafka_text(entry) for name, entry in value.items()}


def _librdkafka_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _to_upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Pairs = Annotated[dict[str, str], NoDecode, BeforeValidator(_to_pairs)]


class KafkaSettings(BaseSettings):
    """What every Kafka client of every command and process is given."""

    kafka_security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], BeforeValidator(_to_upper)
    ] = Field(
        "PLAINTEXT",
        description="How to speak with Kafka: `SSL` is TLS, with a certificate of ours mutual TLS; "
        "`SASL_SSL` is TLS and a login; `SASL_PLAINTEXT` is a login that others on the network can read.",
    )
    kafka_ssl_ca_location: Path | None = Field(
        None,
        description="Certificates (PEM) of the authorities that Kafka's certificate is checked against; "
        "empty: those of the system.",
    )
    kafka_ssl_certificate_location: Path | None = Field(
        None, description="Our certificate (PEM) for mutual TLS, with those between it and its authority."
    )
    kafka_ssl_key_location: Path | None = Field(None, description="The key (PEM) of our certificate.")
    kafka_ssl_key_password: SecretStr = Field(SecretStr(""), description="What that key is encrypted with.")
    kafka_sasl_mechanism: Annotated[
        Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"], BeforeValidator(_to_upper)
    ] = Field("SCRAM-SHA-512", description="How to log in; `PLAIN` shows the password to the broker.")
    kafka_sasl_username: str = Field("", description="Who logs in.")
    kafka_sasl_password: SecretStr = Field(SecretStr(""), description="The password of the login.")
    kafka: Pairs = Field(
        default_factory=dict,
        repr=False,  # it may hold a password
        description="Further librdkafka settings for every client, for example `client.rack`; "
        "as `ELO_KAFKA` a JSON object or `name=value` pairs between commas. They come before those above.",
    )

    @field_validator("kafka")
    @classmethod
    def _check_kafka(cls, extra: dict[str, str]) -> dict[str, str]:
        if owned := sorted(KAFKA_OWNED.intersection(extra)):
            raise ValueError(f"{owned[0]} is set by Elo itself, remove it")
        return extra

    @field_validator(*_TLS_FILES)
    @classmethod
    def _expand_files(cls, path: Path | None) -> Path | None:
        return path.expanduser() if path else path

    def access_config(self) -> dict[str, str]:
        """Settings of librdkafka by which a client reaches the brokers and says who it is."""
        protocol = self.kafka_security_protocol
        given: dict[str, Any] = {"security.protocol": protocol} if protocol != "PLAINTEXT" else {}
        if protocol in TLS:
            given["ssl.ca.location"] = self.kafka_ssl_ca_location
            given["ssl.certificate.location"] = self.kafka_ssl_certificate_location
            given["ssl.key.location"] = self.kafka_ssl_key_location
            given["ssl.key.password"] = self.kafka_ssl_key_password.get_secret_value()
        if protocol in SASL:
            given["sasl.mechanism"] = self.kafka_sasl_mechanism
            given["sasl.username"] = self.kafka_sasl_username
            given["sasl.password"] = self.kafka_sasl_password.get_secret_value()
        return {name: str(value) for name, value in given.items() if value} | self.kafka

    def access_problem(self) -> str:
        """What does not fit together in these settings, as one sentence; empty when all does."""
        protocol, config = self.kafka_security_protocol, self.access_config()
        if protocol in SASL and "sasl.mechanism" not in self.kafka and "sasl.mechanisms" not in self.kafka:
            for name in ("kafka_sasl_username", "kafka_sasl_password"):
                if not config.get(name.removeprefix("kafka_").replace("_", ".")):
                    return f"kafka_security_protocol is {protocol}, so {name} is needed too"
        if protocol not in SASL and (self.kafka_sasl_username or self.kafka_sasl_password.get_secret_value()):
            return f"there is a login for Kafka, but kafka_security_protocol is {protocol}: set SASL_SSL"
        for name in _TLS_FILES:
            path: Path | None = getattr(self, name)
            if path is None:
                continue
            if protocol not in TLS:
                return f"{name} is set, but kafka_security_protocol is {protocol}: set SSL or SASL_SSL"
            if not path.is_file() or not os.access(path, os.R_OK):
                return f"{name}: {path} cannot be read"
        if (self.kafka_ssl_certificate_location is None) != (self.kafka_ssl_key_location is None):
            return "a certificate needs its key: kafka_ssl_certificate_location, kafka_ssl_key_location"
        return ""
