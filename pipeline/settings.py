"""The settings of one process: command line over environment (`ELO_…`) over the YAML file of `--config`.

Every field is described here and nowhere else: docs/reference/settings.md is printed from this class. A bad
value is refused with one sentence that names the place where it was written. It must not know who uses it.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import EnvSettingsSource, SettingsConfigDict

from .core.duration import format_duration
from .core.errors import ConfigError
from .settings_collect import CollectSettings, Names
from .settings_kafka import CLIENT_DEFAULTS, READING, KafkaSettings
from .settings_life import LifeSettings, Milliseconds
from .settings_secrets import SUFFIX, with_secret_files
from .topics import SOURCES, Topics

if TYPE_CHECKING:
    from .core.matching.model import Model
    from .core.policy import Policy

ENV_PREFIX: Final = "ELO_"
CONFIG_BYTES_MAX: Final = 1024 * 1024  # a settings file is a page; anything larger is the wrong file
MODEL_FILE_BYTES_MAX: Final = 4 * CONFIG_BYTES_MAX  # as it is written for people, with a line for each value
SHIPPED_POLICY: Final = Path(__file__).parent / "defaults" / "identity.yaml"


def default_data_dir() -> Path:
    """Where this platform keeps a user's data: `$XDG_DATA_HOME/elo`, else `~/.local/share/elo`."""
    if home := os.environ.get("XDG_DATA_HOME"):
        return Path(home) / "elo"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "elo"
    return Path.home() / ".local" / "share" / "elo"


class Settings(LifeSettings, KafkaSettings):
    """All settings, checked. Build it with `load_settings`, which also reads environment and file."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, validate_default=False
    )

    bootstrap: str = Field(
        "localhost:9092",
        pattern=r"^[^\s,]+(,[^\s,]+)*$",
        description="Kafka brokers to start from, `host:port` between commas.",
    )
    topic_prefix: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        description="Put in front of every topic and of the consumer group as given, for example `eu.`.",
    )
    identity: Path | None = Field(
        None, description="Path of `identity.yaml`, the identity policy; empty: the shipped defaults."
    )
    destinations: Path | None = Field(None, description="Path of the file of destinations of `elo deliver`.")
    schema_registry: SecretStr | None = Field(
        None,
        description="URL of a schema registry with Confluent's API, with `user:password@` where it asks for "
        "that; for schema ids that Elo does not know.",
    )
    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="Directory of local state. It is a cache of the changelog: a lost one is only rebuilt.",
    )
    web_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address on which a worker answers `/metrics` and probes.",
    )
    web_port: int = Field(
        6066, ge=0, le=65535, description="Port for `/metrics` and probes; 0 turns them off."
    )
    partitions: int = Field(
        4,
        ge=1,
        le=10_000,
        description="Partitions of each topic that `elo topics create` makes; `elo topics grow` multiplies "
        "them.",
    )
    replication_factor: int = Field(
        1, ge=1, le=100, description="Copies of each topic that `elo topics create` makes; 3 in production."
    )
    sources: Names = Field(
        SOURCES,
        min_length=1,
        description="Registered sources; a touchpoint from any other is rejected as `invalid_field`.",
    )
    profile_key: SecretStr = Field(
        SecretStr("elo"),
        min_length=1,
        description="Key of the keyed hash behind profile ids. Set your own before the first touchpoint: "
        "another key gives every profile another id.",
    )
    batch_records_max: int = Field(
        4_000,
        ge=1,
        le=100_000,
        description="Most records that a worker handles in one transaction, over all of its partitions.",
    )
    linger_ms: Milliseconds = Field(
        5, ge=0, le=60_000, description="How long a producer waits to fill a batch."
    )
    commit_interval_ms: Milliseconds = Field(
        40,
        ge=0,
        le=60_000,
        description="A worker commits what it has read at most this often, unless a full batch waits; longer "
        "saves CPU and costs latency.",
    )
    profile_interval_ms: Milliseconds = Field(
        10_000,
        ge=0,
        le=3_600_000,
        description="While its partition is busy a profile is published at most this often, and at once when "
        "the partition comes to rest; memberships never wait.",
    )
    cache_mb: int = Field(
        144,
        ge=1,
        le=1_000_000,
        description="Memory of one worker for decoded profiles and identifiers, shared by its partitions.",
    )
    flush_interval_ms: Milliseconds = Field(
        5_000,
        ge=10,
        le=600_000,
        description="How long changed state stays in memory only before it reaches the local disk; "
        "Kafka has it at every commit.",
    )
    session_timeout_ms: Milliseconds = Field(
        10_000,
        ge=1_000,
        le=1_800_000,
        description="A worker that is silent for so long loses its partitions to the others.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is logged: `debug`, `info`, `warning` or `error`."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="`json` writes one JSON object a line, `text` is for people."
    )

    @field_validator("sources")
    @classmethod
    def _check_sources(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if (
                not name.isascii()
                or not name.replace("_", "a").isalnum()
                or not name[0].isalpha()
                or name != name.lower()
            ):
                raise ValueError(f"{name!r} is not a source, write lower-case letters, digits and _")
        return tuple(dict.fromkeys(names))

    @field_validator("data_dir", "identity", "destinations")
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        return path.expanduser() if path else path

    @property
    def group(self) -> str:
        """The consumer group of all workers of this deployment."""
        return f"{self.topic_prefix}elo"

    def deliver_group(self, destination: str) -> str:
        """The consumer group that delivers to a destination."""
        return f"{self.group}.deliver.{destination}"

    def topics(self, history_ms: int | None = None) -> Topics:
        """The topic names. `history_ms`, from the identity policy, matters only to whoever creates topics."""
        return Topics(self.topic_prefix) if history_ms is None else Topics(self.topic_prefix, history_ms)

    def kafka_config(self, **own: str | int | bool) -> dict[str, str | int | bool]:
        """Settings of one librdkafka client: ours over the user's; `_` in a keyword stands for a dot."""
        ours = {name.replace("_", "."): value for name, value in own.items()}
        return {**CLIENT_DEFAULTS, **self.access_config(), "bootstrap.servers": self.bootstrap, **ours}

    def reader_config(
        self, group_id: str, *, quiet: bool = False, **own: str | int | bool
    ) -> dict[str, str | int | bool]:
        """The same for a consumer of committed records that is told where each partition ends.

        `group_id`: librdkafka wants one also where no group is joined. `quiet`: as `quiet_kafka_config`.
        """
        config = self.quiet_kafka_config if quiet else self.kafka_config
        return config(**{"group_id": group_id, **READING, **own})

    def quiet_kafka_config(self, **own: str | int | bool) -> dict[str, str | int | bool]:
        """The same for a client that lives briefly: what is wrong is raised, and not also written by
        librdkafka, unless ELO_DEBUG is set.
        """
        quiet = {} if os.environ.get("ELO_DEBUG") else {"log_level": 0}
        return {**self.kafka_config(**own), **quiet}


SECRETS: Final = (
    *(name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)),
    "write_keys",
)
"""Settings that nobody may see; each may be given by a file."""


def load_settings(overrides: Mapping[str, object] | None = None, config: Path | None = None) -> Settings:
    """Return the settings of this process.

    Args:
        overrides: field name → value from the command line; None means "not given".
        config: the YAML file; None takes `ELO_CONFIG`, and no file when that is not set either.
    Raises: ConfigError with one sentence that names the option, the variable or the file and its key.
    """
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    if config is None and os.environ.get(f"{ENV_PREFIX}CONFIG"):
        config = Path(os.environ[f"{ENV_PREFIX}CONFIG"])
    from_file = _read_config(config.expanduser()) if config else {}
    from_env = with_secret_files(SECRETS, EnvSettingsSource(Settings)(), _environment(), _variable)
    try:
        settings = Settings(**{**from_file, **from_env, **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        if name in given:
            place = f"--{name.replace('_', '-')}"
        elif name in from_env:
            place = _variable(name)
        else:
            place = f"{config}: {name}"
        raise ConfigError(f"{place}: {_sentence(name, first)}") from None
    if problem := settings.access_problem():
        raise ConfigError(problem)
    return settings


def _variable(name: str) -> str:
    return f"{ENV_PREFIX}{name.upper()}"


def _environment() -> dict[str, str]:
    """Our variables by the names of their settings."""
    return {
        name.removeprefix(ENV_PREFIX).lower(): value
        for name, value in os.environ.items()
        if name.startswith(ENV_PREFIX)
    }


def load_policy(settings: Settings) -> Policy:
    """Read and check the identity policy of `ELO_IDENTITY`. Raises ConfigError that names the file."""
    return read_policy_file(settings, settings.identity or SHIPPED_POLICY)[0]


def read_policy_file(settings: Settings, path: Path) -> tuple[Policy, str, bytes]:
    """Read and check an identity policy. With it come its text, and the document of the trained model that it
    names, empty if it names none. Raises ConfigError that names the file.
    """
    from .core.matching.document import encode_model
    from .core.policy import read_policy

    try:
        text = _read_file(path, "identity policy").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: the identity policy is not in UTF-8, save it so") from None
    try:
        policy = read_policy(text, lambda name: _read_model(path.parent / name))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}") from None
    for source in policy.namespaces:
        if source not in settings.sources:
            near = difflib.get_close_matches(source, settings.sources, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else "add it to the setting sources"
            raise ConfigError(f"{path}: namespaces.{source} is not a registered source, {hint}")
    trained = None if policy.matching is None else policy.matching.trained
    return policy, text, b"" if trained is None else encode_model(trained)


def _read_model(path: Path) -> Model:
    """A trained model that may be published. Raises MalformedModel."""
    from .core.matching.document import MODEL_BYTES_MAX, MalformedModel, decode_model, encode_model

    try:
        model = decode_model(_read_file(path, "model", MODEL_FILE_BYTES_MAX))
    except ConfigError as error:
        raise MalformedModel(error.message) from None
    if (size := len(encode_model(model))) > MODEL_BYTES_MAX:
        raise MalformedModel(f"it has {size} bytes, more than the {MODEL_BYTES_MAX} that can be published")
    return model


def render_settings_table() -> str:
    """The table of docs/reference/settings.md, one row a setting, with a line break at its end."""
    rows = ["| setting | environment | default | meaning |", "|---|---|---|---|"]
    own_first = sorted(
        Settings.model_fields.items(),
        key=lambda entry: (entry[0] in CollectSettings.model_fields, entry[0] in KafkaSettings.model_fields),
    )
    for name, field in own_first:
        if name == "data_dir":
            default = "`~/.local/share/elo`"
        else:
            value = field.get_default(call_default_factory=True)
            default = f"`{text}`" if (text := _show(name, value)) else "empty"
        by_file = f" As a file: `{_variable(name + SUFFIX)}`." if name in SECRETS else ""
        rows.append(f"| `{name}` | `{_variable(name)}` | {default} | {field.description}{by_file} |")
    return "\n".join(rows) + "\n"


def _show(name: str, value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ", ".join(value)
    if name.endswith("_ms") and isinstance(value, int):
        return format_duration(value)
    return str(value) if value or value == 0 else ""


def _read_config(path: Path) -> dict[str, Any]:
    document = read_yaml_file(path, "settings file")
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        raise ConfigError(f"{path}: write a mapping of settings, for example `bootstrap: localhost:9092`")
    for key in document:
        if key not in Settings.model_fields and str(key).removesuffix(SUFFIX) not in SECRETS:
            near = difflib.get_close_matches(str(key), Settings.model_fields, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else "see docs/reference/settings.md for those that are"
            raise ConfigError(f"{path}: {str(key)!r} is not a setting, {hint}")
    known = {key: value for key, value in document.items() if key in Settings.model_fields}
    return with_secret_files(SECRETS, known, document, lambda name: f"{path}: {name}")


def _read_file(path: Path, what: str, bytes_max: int = CONFIG_BYTES_MAX) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise ConfigError(f"{path}: the {what} cannot be read ({error.strerror})") from None
    if len(content) > bytes_max:
        raise ConfigError(f"{path}: the {what} is larger than {bytes_max} bytes, is it the right file?")
    return content


def read_yaml_file(path: Path, what: str) -> object:
    """What a YAML file holds. Raises ConfigError that names the file, with line and column."""
    import yaml

    content = _read_file(path, what)
    try:
        return yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{at}: the {what} is not YAML, {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ConfigError(f"{path}: the {what} is not YAML in UTF-8") from None


def _sentence(name: str, error: Mapping[str, Any]) -> str:
    """One pydantic error as an instruction. It never repeats a value that may be a secret."""
    context, kind = error.get("ctx", {}), error["type"]
    if kind == "value_error":
        return str(context["error"])
    wanted = {
        "int_parsing": "write a whole number",
        "int_type": "write a whole number",
        "int_from_float": "write a whole number",
        "greater_than_equal": f"write a number of at least {context.get('ge')}",
        "less_than_equal": f"write a number of at most {context.get('le')}",
        "literal_error": f"write {context.get('expected')}",
        "string_type": "write a text",
        "string_too_short": "write at least one character",
        "path_type": "write a path",
        "tuple_type": "write a list of names",
        "too_short": "write at least one",
        "extra_forbidden": "there is no such setting, see docs/reference/settings.md",
    }.get(kind)
    if kind == "string_pattern_mismatch":
        wanted = (
            "write host:port" if name == "bootstrap" else "use letters, digits, `.`, `_` and `-`, at most 100"
        )
    wanted = wanted or str(error["msg"]).lower()
    named = name in ("kafka", *SECRETS)
    secret = named or not isinstance(error.get("input"), str | int | float)
    return wanted if secret else f"{wanted}, not {error['input']!r}"


if __name__ == "__main__":
    sys.stdout.write(render_settings_table())
