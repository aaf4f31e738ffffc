"""What is in force, as commands see it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pipeline.core.errors import ConfigError
from pipeline.runtime import published
from pipeline.settings import load_settings


@dataclass
class Record:
    name: bytes | None
    said: bytes | None
    at: int

    def key(self) -> bytes | None:
        return self.name

    def value(self) -> bytes | None:
        return self.said

    def offset(self) -> int:
        return self.at


MADRID = b'{"id": "madrid", "version": 3, "where": {"trait": "city", "is": "Madrid"}}'


@pytest.mark.parametrize(
    "bad",
    [
        (b"madrid", b"no JSON"), (b"madrid", b'{"id": "madrid", "where": {"trait": "city", "iss": 1}}'),
        (b"other", MADRID), (None, MADRID),
    ],
)  # fmt: skip
def test_what_is_no_definition_is_skipped_as_in_the_workers_and_said_on_standard_error(
    bad: tuple[bytes | None, bytes], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    log = [Record(b"madrid", MADRID, 0), Record(*bad, 7)]
    monkeypatch.setattr(published, "read_log", lambda *_: [log])
    found = published.read_definitions(load_settings({}))
    assert {name: one.version for name, one in found.items()} == {"madrid": 3}
    assert capfd.readouterr().out == "", "it would be part of what a command prints as JSON"


def test_a_deleted_definition_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    log = [Record(b"madrid", MADRID, 0), Record(b"madrid", None, 1)]
    monkeypatch.setattr(published, "read_log", lambda *_: [log])
    assert published.read_definitions(load_settings({})) == {}


def test_who_reads_profiles_by_another_policy_than_the_workers_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notes = [{"policy_version": 1}, {}, {"policy_version": 2}]
    monkeypatch.setattr(published, "read_published", lambda _: None)
    monkeypatch.setattr(published, "partitions_of", lambda *_: 3)
    monkeypatch.setattr(published, "notes_of", lambda *_: notes)
    with pytest.raises(ConfigError, match=r"policy version 2, this command by version 1: .*ELO_IDENTITY"):
        published.policy_of_workers(load_settings({}))
    notes.pop()
    assert published.policy_of_workers(load_settings({})).policy.version == 1
