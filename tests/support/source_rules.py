"""The rules of the source tree as pure functions: a parsed file in, findings out.

`tests/unit/test_architecture.py` applies them. A finding is one sentence with its line. A rule knows nothing
of where files lie on disk: it gets the path inside the repository, with forward slashes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

FILE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 60
LINE_COLUMNS_MAX: Final = 110
# Split, or this file would break its own rule.
_MARKS: Final = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")
UNFINISHED: Final = re.compile(rf"\b(?:{'|'.join(_MARKS)})\b")

CORE_MODULES: Final = (
    # Arithmetic, text and structure: nothing that can see the outside.
    "__future__", "abc", "array", "base64", "binascii", "bisect", "calendar", "collections", "contextlib",
    "copy", "dataclasses", "datetime", "decimal", "difflib", "enum", "fractions", "functools", "hashlib",
    "heapq", "hmac", "itertools", "json", "math", "operator", "re", "string", "struct", "textwrap", "types",
    "typing", "unicodedata", "zlib",
    # The tables of time zones: data, as those of phone numbers are.
    "zoneinfo",
    # Third parties that compute and do no I/O.
    "idna", "msgspec", "orjson", "phonenumbers", "rapidfuzz", "typing_extensions", "yaml",
)  # fmt: skip
"""All that `pipeline/core` may import besides itself: no clock, no file, no socket, no chance."""

CORE_CALLS_FORBIDDEN: Final = ("open", "print", "input", "eval", "exec", "breakpoint", "__import__")
CLOCK_ATTRIBUTES: Final = ("now", "utcnow", "today")
"""Methods of `datetime` and `date` that read the clock. Other names in the core must not be called so."""

ANYWHERE: Final = None
MAY_IMPORT: Final[Mapping[str, tuple[str, ...] | None]] = MappingProxyType(
    {
        "pipeline.core": (),
        "pipeline.transport": (),
        "pipeline.topics": ("pipeline.core",),
        "pipeline.wire": ("pipeline.core", "pipeline.topics"),
        "pipeline.access": ("pipeline.core", "pipeline.topics"),
        "pipeline.settings": (
            "pipeline.core",
            "pipeline.topics",
            "pipeline.settings_collect",
            "pipeline.settings_kafka",
            "pipeline.settings_life",
            "pipeline.settings_secrets",
        ),
        "pipeline.settings_life": ("pipeline.core", "pipeline.settings_collect"),
        "pipeline.settings_collect": (),
        "pipeline.settings_kafka": (),
        "pipeline.settings_secrets": ("pipeline.core",),
        "pipeline.broker": ("pipeline.core", "pipeline.settings", "pipeline.topics"),
        "pipeline.cli": ANYWHERE,
        "pipeline.__main__": ANYWHERE,
    }
)
"""Unit → what of `pipeline` it may import besides itself and `__version__`; others, all but `cli`."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One Python file: its path inside the repository, its text and its tree."""

    path: str
    text: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: str, text: str) -> SourceFile:
        """Parse `text`. Raises SyntaxError."""
        return cls(path, text, ast.parse(text))

    @property
    def module(self) -> str:
        """Dotted name: `pipeline/core/touch.py` → `pipeline.core.touch`."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        return self.module if self.path.endswith("__init__.py") else self.module.rpartition(".")[0]


Rule = Callable[[SourceFile], Iterator[str]]


def read_tree(root: Path, *folders: str) -> list[SourceFile]:
    """Every Python file below `folders` of the repository at `root`, in the order of their paths."""
    files = sorted(path for folder in folders for path in (root / folder).rglob("*.py"))
    return [
        SourceFile.parse(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
        for path in files
    ]


def findings(rule: Rule, files: list[SourceFile]) -> list[str]:
    """Apply one rule to all files: `path: finding` for each."""
    return [f"{file.path}: {finding}" for file in files for finding in rule(file)]


def imports_of(file: SourceFile) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything imported, also inside functions.

    Relative names are resolved. `from a import b` yields `a.b`, since `b` may be a module.
    """
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = file.package.split(".")
                kept = parents[: len(parents) - node.level + 1]
                base = ".".join([*kept, base] if base else kept)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def within(name: str, unit: str) -> bool:
    """Whether the dotted `name` is `unit` or lies below it."""
    return name == unit or name.startswith(f"{unit}.")


def core_imports(file: SourceFile) -> Iterator[str]:
    """`pipeline/core` imports itself and CORE_MODULES, nothing else."""
    if within(file.module, "pipeline.core"):
        for line, name in imports_of(file):
            if not within(name, "pipeline.core") and name.partition(".")[0] not in CORE_MODULES:
                yield f"{line}: the core must not import {name}"


def core_calls(file: SourceFile) -> Iterator[str]:
    """`pipeline/core` neither reads a clock nor opens, prints, asks or evaluates anything."""
    if not within(file.module, "pipeline.core"):
        return
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in CORE_CALLS_FORBIDDEN:
                yield f"{node.lineno}: the core must not call {called.id}()"
            elif isinstance(called, ast.Attribute) and called.attr in CLOCK_ATTRIBUTES:
                yield f"{node.lineno}: the core must not read a clock with .{called.attr}()"


def layers(file: SourceFile) -> Iterator[str]:
    """Imports inside `pipeline` follow MAY_IMPORT; only the command line may import the command line."""
    if not within(file.module, "pipeline"):
        return
    unit = next((unit for unit in MAY_IMPORT if within(file.module, unit)), None)
    allowed = MAY_IMPORT[unit] if unit else ANYWHERE
    for line, name in imports_of(file):
        if not within(name, "pipeline") or name == "pipeline.__version__" or (unit and within(name, unit)):
            continue
        if allowed is not ANYWHERE and not any(within(name, other) for other in allowed):
            yield f"{line}: {unit} must not import {name}"
        elif within(name, "pipeline.cli") and unit not in ("pipeline.cli", "pipeline.__main__"):
            yield f"{line}: only the command line may import {name}"


def file_length(file: SourceFile) -> Iterator[str]:
    """A file has at most FILE_LINES_MAX lines."""
    lines = len(file.text.splitlines())
    if lines > FILE_LINES_MAX:
        yield f"{lines} lines, at most {FILE_LINES_MAX}: split it by what it decides"


def function_length(file: SourceFile) -> Iterator[str]:
    """A function has at most FUNCTION_LINES_MAX lines, from `def` to its last line, docstring included."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES_MAX}"


def line_width(file: SourceFile) -> Iterator[str]:
    """A line has at most LINE_COLUMNS_MAX characters, comments and texts included."""
    for number, line in enumerate(file.text.splitlines(), start=1):
        if len(line) > LINE_COLUMNS_MAX:
            yield f"{number}: {len(line)} columns, at most {LINE_COLUMNS_MAX}"


def docstrings(file: SourceFile) -> Iterator[str]:
    """Modules, and public classes and functions at the top of a module, say what they mean."""
    if not ast.get_docstring(file.tree):
        yield "1: the module has no docstring"
    for node in file.tree.body:
        named = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if named and not node.name.startswith("_") and not ast.get_docstring(node):
            yield f"{node.lineno}: {node.name} has no docstring"


def unfinished_marks(file: SourceFile) -> Iterator[str]:
    """No mark of unfinished work: an issue or a changelog line is where such a thing belongs."""
    for number, line in enumerate(file.text.splitlines(), start=1):
        if UNFINISHED.search(line):
            yield f"{number}: mark of unfinished work: {line.strip()[:60]}"


def broad_except(file: SourceFile) -> Iterator[str]:
    """Nothing is caught wholesale in the core: bad input is returned, the rest belongs to the caller."""
    if not within(file.module, "pipeline.core"):
        return
    for node in ast.walk(file.tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type
            if caught is None or (
                isinstance(caught, ast.Name) and caught.id in ("Exception", "BaseException")
            ):
                yield f"{node.lineno}: the core must not catch everything"
