"""The source tree keeps its own rules (tests/support/source_rules.py), and each rule is able to fail."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.support import source_rules as rules

ROOT: Final = Path(__file__).resolve().parents[2]
PRODUCT: Final = ("pipeline", "connectors", "schemas")
EVERYTHING: Final = (*PRODUCT, "tests")

APPLIED: Final[list[tuple[rules.Rule, tuple[str, ...]]]] = [
    (rules.core_imports, PRODUCT),
    (rules.core_calls, PRODUCT),
    (rules.broad_except, PRODUCT),
    (rules.layers, PRODUCT),
    (rules.docstrings, PRODUCT),
    (rules.file_length, EVERYTHING),
    (rules.function_length, EVERYTHING),
    (rules.line_width, EVERYTHING),
    (rules.unfinished_marks, EVERYTHING),
]
CORE: Final = "pipeline/core/touch.py"
LEAF: Final = "pipeline/core/segments/leaf.py"
SEGMENTS: Final = "pipeline/core/segments/__init__.py"
RUNTIME: Final = "pipeline/runtime/task.py"
TRANSPORT: Final = "pipeline/transport/consumer.py"
WIRE: Final = "pipeline/wire/avro.py"
COMMAND: Final = "pipeline/cli/worker.py"

BROKEN: Final[list[tuple[rules.Rule, str, str]]] = [
    (rules.core_imports, CORE, "import time"),
    (rules.core_imports, CORE, "import os.path"),
    (rules.core_imports, CORE, "from random import Random"),
    (rules.core_imports, CORE, "def late():\n    import socket\n"),
    (rules.core_imports, CORE, "from concurrent.futures import ThreadPoolExecutor"),
    (rules.core_imports, CORE, "from confluent_kafka import Consumer"),
    (rules.core_imports, CORE, "from pipeline.settings import Settings"),
    (rules.core_imports, CORE, "from ..settings import Settings"),
    (rules.core_imports, CORE, "from .. import topics"),
    (rules.core_imports, SEGMENTS, "from ...wire import avro"),
    (rules.core_calls, CORE, "print('seen')"),
    (rules.core_calls, CORE, "text = open('identity.yaml').read()"),
    (rules.core_calls, CORE, "import datetime\nat = datetime.datetime.now(datetime.UTC)"),
    (rules.core_calls, CORE, "from datetime import date\nday = date.today()"),
    (rules.broad_except, CORE, "try:\n    pass\nexcept Exception:\n    pass\n"),
    (rules.broad_except, CORE, "try:\n    pass\nexcept:\n    pass\n"),
    (rules.layers, TRANSPORT, "from pipeline.core.errors import Retryable"),
    (rules.layers, TRANSPORT, "from ..settings import Settings"),
    (rules.layers, WIRE, "from pipeline.runtime.app import create_app"),
    (rules.layers, "pipeline/topics.py", "from pipeline.settings import Settings"),
    (rules.layers, RUNTIME, "from pipeline.cli.console import console"),
    (rules.layers, "pipeline/broker/kafka.py", "import pipeline.cli"),
    (rules.docstrings, RUNTIME, "x = 1"),
    (rules.docstrings, RUNTIME, '"""Doc."""\ndef run():\n    pass\n'),
    (rules.docstrings, RUNTIME, '"""Doc."""\nasync def run():\n    pass\n'),
    (rules.docstrings, RUNTIME, '"""Doc."""\nclass Task:\n    pass\n'),
    (rules.file_length, RUNTIME, "x = 1\n" * (rules.FILE_LINES_MAX + 1)),
    (rules.function_length, RUNTIME, "def run():\n" + "    x = 1\n" * rules.FUNCTION_LINES_MAX),
    (rules.function_length, RUNTIME, "class A:\n    async def run(self):\n" + "        x = 1\n" * 60),
    (rules.line_width, RUNTIME, "x = 1  # " + "é" * rules.LINE_COLUMNS_MAX),
    (rules.unfinished_marks, RUNTIME, "x = 1  # TO" + "DO: later"),
    (rules.unfinished_marks, RUNTIME, '"""FIX' + 'ME"""'),
]

KEPT: Final[list[tuple[rules.Rule, str, str]]] = [
    (rules.core_imports, CORE, "from __future__ import annotations\nimport re\nfrom .errors import Reason"),
    (
        rules.core_imports,
        LEAF,
        "from ..errors import Reason\nfrom . import operators",
    ),
    (
        rules.core_imports,
        SEGMENTS,
        "from .leaf import Leaf\nfrom .. import facet",
    ),
    (rules.core_imports, RUNTIME, "import time"),
    (rules.core_calls, CORE, "import datetime\nat = datetime.datetime.fromtimestamp(0, datetime.UTC)"),
    (rules.core_calls, RUNTIME, "from datetime import date\nday = date.today()"),
    (rules.broad_except, CORE, "try:\n    pass\nexcept ValueError:\n    pass\n"),
    (rules.layers, TRANSPORT, "import faust\nfrom .batch import Batch"),
    (
        rules.layers,
        WIRE,
        "from ..core.touch import Touch\nfrom pipeline.topics import Topics",
    ),
    (
        rules.layers,
        COMMAND,
        "from .console import console\nfrom pipeline.runtime import app",
    ),
    (rules.layers, RUNTIME, "from pipeline import __version__\nfrom pipeline.wire import avro"),
    (rules.docstrings, RUNTIME, '"""Doc."""\ndef _run():\n    pass\nclass _Task:\n    pass\n'),
    (rules.file_length, RUNTIME, "x = 1\n" * rules.FILE_LINES_MAX),
    (rules.function_length, RUNTIME, "def run():\n" + "    x = 1\n" * (rules.FUNCTION_LINES_MAX - 1)),
    (rules.line_width, RUNTIME, "x" * rules.LINE_COLUMNS_MAX),
    (rules.unfinished_marks, RUNTIME, "method = 'todo list'"),
]


def name_of(rule: object) -> str | None:
    """Test ids: the rule by its name, the sample by its first line."""
    return getattr(rule, "__name__", None) or (
        str(rule).splitlines()[0][:50] if isinstance(rule, str) else None
    )


@pytest.mark.parametrize(("rule", "folders"), APPLIED, ids=name_of)
def test_the_source_keeps_the_rule(rule: rules.Rule, folders: tuple[str, ...]) -> None:
    files = rules.read_tree(ROOT, *folders)
    assert files
    found = rules.findings(rule, files)
    assert not found, "\n".join([f"{rule.__doc__}", *found])


@pytest.mark.parametrize(("rule", "path", "text"), BROKEN, ids=name_of)
def test_a_file_that_breaks_the_rule_is_found(rule: rules.Rule, path: str, text: str) -> None:
    assert list(rule(rules.SourceFile.parse(path, text)))


@pytest.mark.parametrize(("rule", "path", "text"), KEPT, ids=name_of)
def test_a_file_that_keeps_the_rule_is_left_alone(rule: rules.Rule, path: str, text: str) -> None:
    assert list(rule(rules.SourceFile.parse(path, text))) == []


def test_every_rule_has_a_sample_that_breaks_it() -> None:
    assert {rule for rule, _ in APPLIED} == {rule for rule, _, _ in BROKEN} == {rule for rule, _, _ in KEPT}


def test_the_top_level_holds_only_what_the_readme_lists() -> None:
    listed = {"pyproject.toml", "README.md", "LICENSE", "Makefile"}
    listed |= {"pipeline", "schemas", "connectors", "tests", "deploy", "docs"}
    made = {"build", "data"}  # by make, and ignored by git
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert found - listed - made == set()
