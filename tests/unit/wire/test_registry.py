"""The registry file: it names every committed schema once, and its topics are Elo's topics."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.core.errors import ConfigError
from pipeline.topics import Topics
from pipeline.wire.registry import Registry, default_registry, load_registry

SCHEMAS = Path(__file__).parents[3] / "schemas"
SUBJECTS = ("touchpoint", "membership_change", "profile", "profile_alias", "review", "receipt")


def test_the_ids_of_the_first_versions_are_one_to_six() -> None:
    registry = default_registry()
    assert [registry.by_id[schema_id].subject for schema_id in range(1, 7)] == list(SUBJECTS)
    assert [registry.by_id[schema_id].version for schema_id in range(1, 7)] == [1] * 6
    assert registry.by_id[1].header == b"\x00\x00\x00\x00\x01"


def test_every_committed_schema_is_registered_under_its_own_path() -> None:
    registered = {f"{schema.subject}/v{schema.version}.avsc" for schema in default_registry().by_id.values()}
    assert registered == {path.relative_to(SCHEMAS).as_posix() for path in SCHEMAS.rglob("*.avsc")}
    entries = json.loads((SCHEMAS / "registry.json").read_text("utf-8"))["schemas"]
    assert registered == {entry["file"] for entry in entries}


def test_the_schemas_are_package_data() -> None:
    assert files("schemas").joinpath("registry.json").is_file()


def test_another_module_named_schemas_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "schemas", ModuleType("schemas"))
    default_registry.cache_clear()
    assert default_registry().latest("touchpoint").id == 1


def test_every_topic_of_a_schema_exists() -> None:
    names = {spec.name for spec in Topics().specs()}
    by_subject = {name: set(versions[-1].topics) for name, versions in default_registry().by_subject.items()}
    topics = Topics()
    assert by_subject["touchpoint"] == set(topics.touchpoints)
    assert by_subject["membership_change"] == {topics.membership, topics.current}
    assert by_subject["profile"] == {topics.profiles}
    assert by_subject["profile_alias"] == {topics.merges}
    assert by_subject["review"] == {topics.review}
    assert by_subject["receipt"] == {topics.receipts}
    assert set().union(*by_subject.values()) <= names


def test_every_version_of_a_subject_has_one_compatibility_and_is_of_elo() -> None:
    for versions in default_registry().by_subject.values():
        assert len({schema.compatibility for schema in versions}) == 1
        assert all(schema.raw["namespace"].startswith("elo.v") for schema in versions)


def test_an_instant_is_read_without_its_logical_type() -> None:
    for schema in default_registry().by_id.values():
        assert "timestamp-millis" in json.dumps(schema.raw)
        assert "timestamp-millis" not in json.dumps(schema.parsed)


def test_ids_and_versions_that_clash_are_refused() -> None:
    touchpoint = default_registry().by_id[1]
    with pytest.raises(ConfigError):
        Registry([touchpoint, touchpoint])


@pytest.mark.parametrize("content", ["", "{}", '{"schemas": [{"id": 1}]}', '{"schemas": [7]}'])
def test_a_registry_that_cannot_be_read_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "registry.json").write_text(content)
    with pytest.raises(ConfigError):
        load_registry(tmp_path)


def test_a_missing_registry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_registry(tmp_path)
