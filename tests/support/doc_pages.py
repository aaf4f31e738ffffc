"""Reads the documentation as data: tables, headings, links, commands, mentioned paths.

Markdown is read line by line, in the plain form that our pages keep to; this is no Markdown parser.
Only `read_pages` touches the disk.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CODE: Final = re.compile(r"`([^`\n]+)`")
_LINK: Final = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_PATH: Final = re.compile(r"(?:pipeline|connectors|schemas|tests|deploy|docs|\.ci)/[\w./-]*\w")
_MODULE: Final = re.compile(r"(?:pipeline|connectors|schemas|tests)(?:\.[A-Za-z_]\w*)+\Z")
_ASSIGNMENT: Final = re.compile(r"[A-Z][A-Z0-9_]*=")
_COMMAND_WORD: Final = re.compile(r"[a-z][a-z-]*(?:\|[a-z][a-z-]*)*\Z")


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its path inside the repository and its text."""

    path: str
    text: str

    def prose(self) -> str:
        """The text without fenced blocks."""
        return "\n".join(line for line, fenced in self._lines() if not fenced)

    def fenced(self) -> Iterator[str]:
        """The lines inside fenced blocks, with a line that ends in a backslash joined to the next."""
        held = ""
        for line, fenced in self._lines():
            if fenced and line.endswith("\\"):
                held += line[:-1]
            elif fenced:
                yield held + line
                held = ""

    def _lines(self) -> Iterator[tuple[str, bool]]:
        fenced = False
        for line in self.text.splitlines():
            if line.lstrip().startswith("```"):
                fenced = not fenced
                continue
            yield line, fenced

    def code(self) -> list[str]:
        """What stands between backticks in the prose; an escaped pipe of a table is a pipe."""
        return [found.replace("\\|", "|") for found in _CODE.findall(self.prose())]

    def headings(self, level: int) -> list[str]:
        """Headings of one level, in order, without backticks."""
        start = "#" * level + " "
        return [
            line[len(start) :].strip("` ") for line in self.prose().splitlines() if line.startswith(start)
        ]

    def rows(self, first_column: str) -> list[list[str]]:
        """The rows below each table header whose first cell is `first_column`; cells are trimmed."""
        found: list[list[str]] = []
        inside = False
        for line in self.prose().splitlines():
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
            if not cells:
                inside = False
            elif cells[0] == first_column:
                inside = True
            elif inside and not set(cells[0]) <= {"-", ":"}:
                found.append(cells)
        return found

    def links(self) -> list[str]:
        """Targets of links."""
        return _LINK.findall(self.prose())

    def paths(self) -> list[str]:
        """Files and folders of this repository that the page names; patterns (`<…>`, `*`) are left out."""
        words = [word for code in (*self.code(), *self.fenced()) for word in code.split()]
        plain = [word.strip("()\"',;:") for word in words if not set(word) & set("<>*{}")]
        return [word for word in plain if _PATH.match(word) and not word.startswith(("http:", "https:"))]

    def modules(self) -> list[str]:
        """Dotted Python names below our packages that the page names in backticks."""
        return [code for code in self.code() if _MODULE.match(code)]

    def commands(self, program: str) -> list[list[str]]:
        """Every call of `program` in fenced blocks and between backticks, as words after the program's name.

        A prompt, assignments before the program and `.venv/bin/` are cut off; a comment or a pipe ends it.
        """
        calls = [_words_after(program, line) for line in (*self.fenced(), *self.code())]
        return [call for call in calls if call is not None]


def _words_after(program: str, line: str) -> list[str] | None:
    line = line.strip().removeprefix("$ ")
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # an apostrophe in prose
        words = line.split()
    while words and _ASSIGNMENT.match(words[0]):
        words = words[1:]
    if not words or words[0].rpartition("/")[2] != program:
        return None
    ends = [place for place, word in enumerate(words) if word in ("|", "&&", ";", ">", "&")]
    return words[1 : ends[0] if ends else None]


def command_paths(words: list[str]) -> list[tuple[str, ...]]:
    """The commands that a call names: `topics create --partitions 4` → (topics, create).

    `start|stop` stands for two commands. The first word that cannot be a command's name ends the path.
    """
    paths: list[tuple[str, ...]] = [()]
    for word in words:
        if not _COMMAND_WORD.match(word):
            break
        paths = [(*path, choice) for path in paths for choice in word.split("|")]
    return paths


def options_of(words: list[str]) -> list[str]:
    """The long options of a call, without values and brackets."""
    return [word.strip("[]").partition("=")[0] for word in words if word.strip("[]").startswith("--")]


def anchors(page: Page) -> set[str]:
    """The anchors that a page's headings make: lower case, punctuation gone, blanks as hyphens."""
    titles = [line.lstrip("#").strip() for line in page.prose().splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


def read_pages(root: Path) -> list[Page]:
    """README.md and every page below docs/, in the order of their paths."""
    paths = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    return [Page(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")) for path in paths]
