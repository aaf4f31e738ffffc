"""Settings: where they come from, which wins, and one sentence for each that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import ConfigError
from pipeline.settings import SECRETS, Settings, load_policy, load_settings, render_settings_table

PREFIX_RULE = "use letters, digits, `.`, `_` and `-`, at most 100"


@pytest.fixture(autouse=True)
def no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ELO_{name.upper()}", raising=False)
    monkeypatch.delenv("ELO_CONFIG", raising=False)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(tmp_path / "elo.yaml", "bootstrap: file:1\ntopic_prefix: file.\npartitions: 9\n")
    monkeypatch.setenv("ELO_BOOTSTRAP", "env:1")
    monkeypatch.setenv("ELO_TOPIC_PREFIX", "env.")
    settings = load_settings({"bootstrap": "line:1", "topic_prefix": None}, config)
    assert (settings.bootstrap, settings.topic_prefix, settings.partitions) == ("line:1", "env.", 9)


def test_the_file_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELO_CONFIG", str(write(tmp_path / "elo.yaml", "partitions: 7")))
    assert load_settings().partitions == 7


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load_settings(config=write(tmp_path / "elo.yaml", "")) == load_settings()


def test_durations_are_written_as_people_write_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ELO_PROFILE_INTERVAL_MS", "2s")
    monkeypatch.setenv("ELO_LINGER_MS", "0")
    config = write(tmp_path / "elo.yaml", "flush_interval_ms: 1m\nsession_timeout_ms: 20000\n")
    settings = load_settings(config=config)
    assert (settings.profile_interval_ms, settings.linger_ms) == (2_000, 0)
    assert (settings.flush_interval_ms, settings.session_timeout_ms) == (60_000, 20_000)


@pytest.mark.parametrize(
    "written", ['{"security.protocol": "SSL", "retries": 3}', "security.protocol=SSL, retries=3"]
)
def test_settings_of_librdkafka_come_as_json_or_as_pairs(
    monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("ELO_KAFKA", written)
    config = load_settings().kafka_config(group_id="g")
    assert config["security.protocol"] == "SSL"
    assert config["retries"] == "3"
    assert config["group.id"] == "g"


def test_a_consumer_reads_what_is_committed_to_its_end_and_fetches_on_soon_after_its_queue_was_full() -> None:
    settings = load_settings()
    config = settings.reader_config("g", fetch_wait_max_ms=50)
    assert config == settings.kafka_config() | {
        "group.id": "g", "isolation.level": "read_committed", "enable.auto.commit": False,
        "enable.partition.eof": True, "auto.offset.reset": "earliest", "fetch.queue.backoff.ms": 5,
        "fetch.wait.max.ms": 50,
    }  # fmt: skip
    assert settings.reader_config("g", fetch_wait_max_ms=50, quiet=True) == config | {"log_level": 0}


def test_sources_come_between_commas_and_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELO_SOURCES", "web, pos,web")
    assert load_settings().sources == ("web", "pos")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("WEB_PORT", "http", "ELO_WEB_PORT: write a whole number, not 'http'"),
        ("WEB_PORT", "70000", "ELO_WEB_PORT: write a number of at most 65535, not '70000'"),
        ("PARTITIONS", "0", "ELO_PARTITIONS: write a number of at least 1, not '0'"),
        ("LINGER_MS", "q", "ELO_LINGER_MS: 'q' is not a duration, write for example 90s, 15m, 24h or 7d"),
        ("LOG_FORMAT", "xml", "ELO_LOG_FORMAT: write 'text' or 'json', not 'xml'"),
        ("SOURCES", "Web", "ELO_SOURCES: 'Web' is not a source, write lower-case letters, digits and _"),
        ("BOOTSTRAP", "a b", "ELO_BOOTSTRAP: write host:port, not 'a b'"),
        ("TOPIC_PREFIX", "/", f"ELO_TOPIC_PREFIX: {PREFIX_RULE}, not '/'"),
        ("KAFKA", "group.id=mine", "ELO_KAFKA: group.id is set by Elo itself, remove it"),
        ("KAFKA", "acks", "ELO_KAFKA: write a JSON object or name=value pairs between commas"),
        ("KAFKA", "{broken", "ELO_KAFKA: write a JSON object or name=value pairs between commas"),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_with_one_sentence_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(f"ELO_{name}", value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("boostrap: x", "'boostrap' is not a setting, did you mean bootstrap?"),
        ("zzz: x", "'zzz' is not a setting, see docs/reference/settings.md for those that are"),
        ("- a", "write a mapping of settings, for example `bootstrap: localhost:9092`"),
        ("partitions: many", "partitions: write a whole number, not 'many'"),
        ("sources: []", "sources: write at least one"),
        ("kafka: [1]", "kafka: write a mapping of librdkafka settings"),
    ],
)
def test_a_bad_file_is_refused_with_one_sentence_that_names_it(
    tmp_path: Path, text: str, sentence: str
) -> None:
    config = write(tmp_path / "elo.yaml", text)
    with pytest.raises(ConfigError) as caught:
        load_settings(config=config)
    assert str(caught.value) == f"{config}: {sentence}"


def test_a_file_that_is_no_yaml_is_refused_with_line_and_column(tmp_path: Path) -> None:
    config = write(tmp_path / "elo.yaml", "bootstrap: x\n  : [")
    with pytest.raises(ConfigError, match=r"elo\.yaml:2:\d+: the settings file is not YAML"):
        load_settings(config=config)


def test_a_missing_file_and_a_bad_option_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.yaml: the settings file cannot be read"):
        load_settings(config=tmp_path / "nope.yaml")
    with pytest.raises(ConfigError, match="--web-port: write a number of at most 65535"):
        load_settings({"web_port": 99_999})


def test_secrets_are_neither_shown_nor_repeated_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELO_PROFILE_KEY", "s3cret")
    assert "s3cret" not in repr(load_settings())
    monkeypatch.setenv("ELO_KAFKA", "sasl.password=s3cret,group.id=x")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert "s3cret" not in str(caught.value)


def test_the_shipped_policy_is_read_and_another_one_is_named_when_it_is_bad(tmp_path: Path) -> None:
    assert "email" in load_policy(load_settings()).rules
    path = write(tmp_path / "identity.yaml", "identifiers: {email: {limt: 3}}")
    with pytest.raises(ConfigError) as caught:
        load_policy(load_settings({"identity": path}))
    assert str(caught.value) == (
        f"{path}: line 1, column 23: 'limt' is not known in identifiers.email, did you mean limit?"
    )
    path.write_text("identifiers: {email: {limit: 3}}\nnamespaces: {crn: [email]}", "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_policy(load_settings({"identity": path}))
    assert str(caught.value) == f"{path}: namespaces.crn is not a registered source, did you mean crm?"
    path.write_bytes(b"identifiers: {email: {}} # \xff")
    with pytest.raises(ConfigError) as caught:
        load_policy(load_settings({"identity": path}))
    assert str(caught.value) == f"{path}: the identity policy is not in UTF-8, save it so"


def test_the_group_and_every_topic_carry_the_prefix() -> None:
    settings = load_settings({"topic_prefix": "eu."})
    assert settings.group == "eu.elo"
    assert all(spec.name.startswith("eu.") for spec in settings.topics().specs())


def test_every_setting_is_described_and_stands_in_the_table() -> None:
    table = render_settings_table()
    assert all(field.description for field in Settings.model_fields.values())
    assert all(f"| `{name}` | `ELO_{name.upper()}` |" in table for name in Settings.model_fields)


LOGIN = {"KAFKA_SECURITY_PROTOCOL": "sasl_ssl", "KAFKA_SASL_USERNAME": "elo", "KAFKA_SASL_PASSWORD": "s3cret"}


def given(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"ELO_{name}", value)


def test_a_login_reaches_every_client_and_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **LOGIN)
    settings = load_settings()
    config = settings.kafka_config(group_id="g")
    assert {name: config[name] for name in config if name.startswith(("sasl", "security"))} == {
        "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "elo",
        "sasl.password": "s3cret",
    }  # fmt: skip
    assert "s3cret" not in repr(settings)


def test_settings_of_librdkafka_come_before_those_with_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **LOGIN, KAFKA="sasl.mechanism=OAUTHBEARER,ssl.ca.pem=x")
    config = load_settings().kafka_config()
    assert (config["sasl.mechanism"], config["ssl.ca.pem"]) == ("OAUTHBEARER", "x")


def test_a_certificate_is_given_by_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = {name: str(write(tmp_path / name, "pem")) for name in ("ca", "certificate", "key")}
    places = {f"KAFKA_SSL_{name.upper()}_LOCATION": path for name, path in files.items()}
    given(monkeypatch, KAFKA_SECURITY_PROTOCOL="ssl", KAFKA_SSL_KEY_PASSWORD="s3cret", **places)
    config = load_settings().kafka_config()
    assert {name: config[f"ssl.{name}.location"] for name in files} == files
    assert config["ssl.key.password"] == "s3cret"


@pytest.mark.parametrize("secret", SECRETS)
def test_every_secret_may_be_a_file(secret: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    value = {"write_keys": "k3y=web"}.get(secret, "s3cret")
    file = write(tmp_path / "secret", value + "\n")
    config = write(tmp_path / "elo.yaml", f"{secret}_file: {file}\n")
    protocol = {"kafka_sasl_password": "sasl_ssl"}.get(secret, "plaintext")
    given(monkeypatch, KAFKA_SECURITY_PROTOCOL=protocol)
    if secret == "kafka_sasl_password":
        given(monkeypatch, KAFKA_SASL_USERNAME="elo")

    def read(settings: Settings) -> object:
        found = getattr(settings, secret)
        return found if isinstance(found, dict) else found.get_secret_value()

    wanted = {"k3y": "web"} if secret == "write_keys" else value
    assert read(load_settings(config=config)) == wanted
    monkeypatch.setenv(f"ELO_{secret.upper()}_FILE", str(file))
    assert read(load_settings()) == wanted
    monkeypatch.setenv(f"ELO_{secret.upper()}", value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value) == (f"ELO_{secret.upper()} and ELO_{secret.upper()}_FILE are both set, keep one")


def test_a_secret_of_the_environment_wins_over_that_of_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = write(tmp_path / "elo.yaml", f"profile_key_file: {write(tmp_path / 'key', 'file')}\n")
    given(monkeypatch, PROFILE_KEY="environment")
    assert load_settings(config=config).profile_key.get_secret_value() == "environment"


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "is empty"), ("x" * 70_000, "is too large for a secret"), (None, "cannot be read")],
)
def test_a_file_that_is_no_secret_is_named(
    content: str | None, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        write(file, content)
    given(monkeypatch, PROFILE_KEY_FILE=str(file))
    with pytest.raises(ConfigError, match=rf"ELO_PROFILE_KEY_FILE: {file} {said}"):
        load_settings()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "sasl_ssl"}, "is SASL_SSL, so kafka_sasl_username is needed"),
        ({"KAFKA_SASL_USERNAME": "elo"}, "there is a login for Kafka, but"),
        ({"KAFKA_SSL_CA_LOCATION": "/etc/hostname"}, "kafka_ssl_ca_location is set, but"),
        ({"KAFKA_SECURITY_PROTOCOL": "ssl", "KAFKA_SSL_CA_LOCATION": "/no/ca"}, "/no/ca cannot be read"),
        ({"KAFKA_SECURITY_PROTOCOL": "ssl", "KAFKA_SSL_KEY_LOCATION": "/etc/hostname"}, "needs its key"),
        ({"KAFKA_SECURITY_PROTOCOL": "tls"}, "ELO_KAFKA_SECURITY_PROTOCOL: write 'PLAINTEXT', 'SSL'"),
        ({**LOGIN, "KAFKA_SASL_MECHANISM": "GSSAPI"}, "ELO_KAFKA_SASL_MECHANISM: write 'SCRAM-SHA-512'"),
    ],
)  # fmt: skip
def test_security_that_does_not_fit_together_is_refused(
    variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, **variables)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)
