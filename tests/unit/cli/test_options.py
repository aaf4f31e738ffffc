"""Common options and the edge of the program: exit codes, and one sentence for whatever goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest
import typer
from rich.table import Table

from pipeline import __version__
from pipeline.cli.options import Common, cells, command, console, fail, run_app
from pipeline.core.errors import ConfigError, Retryable

ROOT = Path(__file__).resolve().parents[3]


class Color(StrEnum):
    """What there is to choose from."""

    RED = "red"
    BLUE = "blue"


def make_app() -> typer.Typer:
    """An application with the callback of `elo` and commands that go wrong in every way."""
    from pipeline.cli.app import elo

    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(elo)

    @command(app, "show")
    def show(common: Common, number: Annotated[int, typer.Option()] = 0) -> None:
        """Show the common options as they arrive."""
        typer.echo(f"{common.bootstrap} {common.topic_prefix} {common.config} {number}")

    @command(app, "choose")
    def choose(common: Common, color: Color) -> None:
        """Take one of a few."""

    @command(app, "break")
    def break_(common: Common, how: str) -> None:
        """Go wrong."""
        if how == "fail":
            fail("do this instead")
        if how == "interrupt":
            raise KeyboardInterrupt
        if how == "exit":
            raise typer.Exit(3)
        raise {
            "config": ConfigError("port: write a number"),
            "retryable": Retryable("the broker has gone", topic="x"),
            "file": FileNotFoundError(2, "No such file or directory", "a.txt"),
            "bug": KeyError("oops"),
        }[how]

    return app


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["show"], "None None None 0"),
        (["show", "--bootstrap", "b:1", "--number", "4"], "b:1 None None 4"),
        (["--bootstrap", "a:1", "--topic-prefix", "p.", "show"], "a:1 p. None 0"),
        (["--bootstrap", "a:1", "--config", "c", "show", "--bootstrap", "b:1"], "b:1 None c 0"),
        (["--topic-prefix", "p.", "show", "--topic-prefix", ""], "None  None 0"),
    ],
)
def test_common_options_stand_before_or_after_the_command(
    arguments: list[str], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(make_app(), arguments) == 0
    assert capsys.readouterr().out == f"{shown}\n"


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("fail", 1, "elo: do this instead\n"),
        ("config", 1, "elo: port: write a number\n"),
        ("retryable", 1, "elo: the broker has gone (topic=x)\n"),
        ("file", 1, "elo: a.txt: No such file or directory\n"),
        ("bug", 1, "elo: internal error, KeyError: 'oops' (ELO_DEBUG=1 shows where)\n"),
        ("interrupt", 130, ""),
        ("exit", 3, ""),
    ],
)
def test_whatever_goes_wrong_is_one_sentence_and_an_exit_code(
    how: str, code: int, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ELO_DEBUG", raising=False)
    assert run_app(make_app(), ["break", how]) == code
    assert capsys.readouterr() == ("", message)


def test_elo_debug_shows_the_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELO_DEBUG", "1")
    assert run_app(make_app(), ["break", "bug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["shwo"], "No such command 'shwo', Did you mean 'show'"),
        (["show", "--nmber", "1"], "No such option: --nmber"),
        (["show", "--number", "x"], "Invalid value for '--number'"),
        (["break"], "Missing argument"),
        (["choose"], "Missing argument 'color', Choose from: red, blue, see"),
    ],
)
def test_a_wrong_call_is_one_line_with_exit_code_2(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(make_app(), arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert part in err
    assert err.count("\n") == 1
    assert "--help`" in err


def test_the_program_shows_its_version() -> None:
    called = [sys.executable, "-m", "pipeline", "--version"]
    found = subprocess.run(called, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout == f"elo {__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom pipeline.cli.app import app\nfrom pipeline.cli.options import run_app\n"
        "run_app(app, ['--help'])\n"
        "heavy = {'confluent_kafka', 'fastavro', 'faust', 'phonenumbers', 'pydantic', 'rocksdict', 'jgo'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or None)"
    )
    environment = {**os.environ, "COLUMNS": "100"}
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")
    for name in (
        "broker",
        "topics",
        "worker",
        "produce",
        "segments",
        "tail",
        "wait",
        "profile",
        "state",
        "demo",
    ):
        assert name in found.stdout


def test_what_users_have_written_is_no_markup_and_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name", box=None)
    table.add_row(*cells("Buyers [/b] [red]x \x1b[31m \u202e :smile:"))
    console().print(table)
    assert "Buyers [/b] [red]x \ufffd[31m \ufffd :smile:" in capsys.readouterr().out
