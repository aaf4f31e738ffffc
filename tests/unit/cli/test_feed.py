"""What `elo produce` shows while it sends a file."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from pipeline.cli.feed import _shown


class Terminal(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self) -> bool:
        return True


def test_brackets_in_the_name_of_a_file_are_no_markup(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "[b]people.jsonl"
    path.write_bytes(b"{}\n")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with path.open("rb") as file, _shown(str(path), file) as show:
        show(1)
    assert "[b]people.jsonl" in terminal.getvalue()


def test_a_pipe_shows_no_size(monkeypatch: pytest.MonkeyPatch) -> None:
    end, beginning = os.pipe()
    os.close(beginning)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with os.fdopen(end, "rb") as file, _shown(f"/dev/fd/{end}", file) as show:
        show(1)
    assert "1 touchpoints" in terminal.getvalue()
