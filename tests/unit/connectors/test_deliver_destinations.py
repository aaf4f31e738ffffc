"""The file of destinations: a good one is read, a bad one is refused with one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from connectors.deliver.destinations import Secret, read_destinations
from pipeline.core.errors import ConfigError

GOOD = {"name": "crm", "url": "https://crm.example.com/hook"}


def written(tmp_path: Path, *destinations: dict[str, Any]) -> Path:
    path = tmp_path / "destinations.yaml"
    path.write_bytes(orjson.dumps({"destinations": destinations}))
    return path


def test_a_destination_is_read_with_its_defaults(tmp_path: Path) -> None:
    (one,) = read_destinations(written(tmp_path, {**GOOD, "retries": ["1s", "5m"], "timeout": "500ms"}))
    assert (one.retries, one.timeout, one.batch, one.backfill) == ((1_000, 300_000), 500, 1, "ask")
    assert one.wants({"change": "exited", "segment_id": "any"})


def test_a_secret_comes_from_its_place_and_a_file_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_OF_TEST", " abc ")
    assert Secret(env="KEY_OF_TEST", prefix="Bearer ").read() == "Bearer abc"
    (tmp_path / "key").write_text("first\n")
    secret = Secret(file=tmp_path / "key")
    assert secret.read() == "first"
    (tmp_path / "key").write_text("second")
    assert secret.read() == "second"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"url": "ftp://x"}, "crm: url must be an address that begins with https:// or http://"),
        ({"url": "https://a:pass@x/"}, "crm: url must not hold a password"),
        ({"name": "CRM hook"}, "CRM hook.name: write lower-case letters"),
        ({"segmnets": ["a"]}, "crm.segmnets is not known, did you mean segments?"),
        ({"batch": 0}, "crm.batch: input should be greater than or equal to 1"),
        ({"timeout": "soon"}, "crm.timeout: 'soon' is not a duration"),
        ({"timeout": 5}, "crm.timeout: write a duration"),
        ({"template": "brase"}, "crm: template 'brase' is none, did you mean braze?"),
        ({"template": {"each": {"a": "{emial}"}}}, "crm: template: {emial} is no placeholder"),
        ({"headers": {"Authorization": "Bearer x"}}, "crm: headers.Authorization looks like a secret"),
        (
            {"headers": {"X-Api-Key": {"env": "NOT_THERE_OF_TEST"}}},
            "the environment has no NOT_THERE_OF_TEST",
        ),
        ({"signing": [{"file": "/not/there"}]}, "crm.signing[0]: /not/there cannot be read"),
        ({"signing": [{}]}, "crm.signing[0]: name one place"),
        ({"url": None}, "crm.url: input should be a valid string"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(broken: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read_destinations(written(tmp_path, {**GOOD, **broken}))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path))


def test_a_key_that_is_too_short_and_a_name_that_comes_twice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("whsec_c2hvcnQ=")
    with pytest.raises(ConfigError, match="at least 24 bytes in base64"):
        read_destinations(written(tmp_path, {**GOOD, "signing": [{"file": str(tmp_path / "key")}]}))
    with pytest.raises(ConfigError, match="two destinations are called crm"):
        read_destinations(written(tmp_path, GOOD, GOOD))
    (tmp_path / "none.yaml").write_text("{}")
    with pytest.raises(ConfigError, match="destinations is missing"):
        read_destinations(tmp_path / "none.yaml")
