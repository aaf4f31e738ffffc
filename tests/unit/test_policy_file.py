"""An identity policy in a file, with the trained model that it names beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline import settings as module
from pipeline.core.errors import ConfigError
from pipeline.core.matching.document import encode_model
from pipeline.settings import load_settings, read_policy_file
from tests.support.models import trained

POLICY = "version: 1\nidentifiers: {email: {}}\nmatching: {model: %s}\n"


def policy_at(tmp_path: Path, model: str) -> Path:
    path = tmp_path / "identity.yaml"
    path.write_text(POLICY % model, "utf-8")
    return path


def test_a_model_is_read_from_beside_the_policy_and_comes_without_blanks(tmp_path: Path) -> None:
    model = trained("model-1.json")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/mine.json").write_bytes(orjson.dumps(model.document(), option=orjson.OPT_INDENT_2))
    policy, text, document = read_policy_file(load_settings(), policy_at(tmp_path, "models/mine.json"))
    assert policy.matching is not None
    assert policy.matching.trained == model
    assert (text, document) == (POLICY % "models/mine.json", encode_model(model))
    policy, _, document = read_policy_file(load_settings(), policy_at(tmp_path, "shipped"))
    assert policy.matching is not None
    assert (policy.matching.trained, document) == (None, b"")


@pytest.mark.parametrize(
    ("model", "content", "problem"),
    [
        ("mine.json", None, "the model mine.json cannot be used: "),
        ("mine.json", b"", "it is no JSON"),
        ("mine.json", b"{}", "it is no model of the format"),
        ("mine.json", b"[" * 1_000_000, "it is no JSON"),
        ("mine.json", b" " * (5 << 20), "is larger than 4194304 bytes"),
        ("mine.csv", b"", "cannot be 'mine.csv', write a file's name that ends in .json, or shipped"),
        ("shiped", None, "matching.model cannot be 'shiped', did you mean shipped?"),
        ("7", None, "matching.model is one word, not a number, write shipped, or the name of a model's file"),
        (".", None, "matching.model cannot be '.'"),
        ("..json", None, "cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_with_its_place(
    tmp_path: Path, model: str, content: bytes | None, problem: str
) -> None:
    if content is not None:
        (tmp_path / model).write_bytes(content)
    path = policy_at(tmp_path, model)
    with pytest.raises(ConfigError) as refused:
        read_policy_file(load_settings(), path)
    message = refused.value.message
    assert message.startswith(f"{path}: line 3, column 19: ")
    assert problem in message
    assert "\n" not in message


def test_a_directory_in_the_place_of_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.json").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        read_policy_file(load_settings(), policy_at(tmp_path, "mine.json"))


def test_a_model_that_is_too_large_to_be_published_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document: dict[str, Any] = trained("model-1.json").document()
    (tmp_path / "mine.json").write_text(json.dumps(document), "utf-8")
    monkeypatch.setattr("pipeline.core.matching.document.MODEL_BYTES_MAX", 1_000)
    with pytest.raises(ConfigError, match=r"bytes, more than the 1000 that can be published"):
        read_policy_file(module.load_settings(), policy_at(tmp_path, "mine.json"))
