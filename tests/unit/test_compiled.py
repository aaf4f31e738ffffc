"""The compiled form of the core is used for exactly the sources that it was made from, and for no others."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from pipeline import compiled
from tests.support.source_rules import SourceFile, imports_of

ROOT: Final = Path(__file__).resolve().parents[2]
ASK: Final = "import pipeline, pipeline.core.node as node; print(pipeline.COMPILED, node.__file__)"
IS_MADE: Final = (compiled.FOLDERS / compiled.fingerprint(compiled.PACKAGE)).is_dir()
needs_compiled = pytest.mark.skipif(not IS_MADE, reason="the core is not compiled: make compile")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package."""
    copied = tmp_path / "pipeline"
    shutil.copytree(compiled.PACKAGE, copied, ignore=shutil.ignore_patterns("__pycache__"))
    return copied


def in_use(package: Path, asked: str = "") -> tuple[bool, Path]:
    """What a new process that imports `package` uses: whether compiled, and where a module came from."""
    environment = {**os.environ, "PYTHONPATH": str(package.parent), compiled.VARIABLE: asked}
    command = [sys.executable, "-c", ASK]
    printed = subprocess.run(command, cwd=package.parent, env=environment, check=True, capture_output=True)
    answer, _, file = printed.stdout.decode().strip().partition(" ")
    return answer == "True", Path(file)


@needs_compiled
def test_the_compiled_form_is_used_for_equal_sources(package: Path) -> None:
    answer, file = in_use(package)
    assert answer
    assert file.name == f"node{compiled.SUFFIX}"


@needs_compiled
@pytest.mark.parametrize("changed", ["core/node.py", "core/errors.py", "wire/registry.py", "compiled.py"])
def test_one_changed_byte_is_enough_to_refuse_it(package: Path, changed: str) -> None:
    with (package / changed).open("ab") as source:
        source.write(b"\n")
    assert in_use(package) == (False, package / "core" / "node.py")


@needs_compiled
def test_plain_python_runs_when_it_is_asked_for(package: Path) -> None:
    assert in_use(package, "0") == (False, package / "core" / "node.py")


def test_every_change_of_the_sources_gives_another_name(package: Path) -> None:
    names = [compiled.fingerprint(package)]
    assert names == [compiled.fingerprint(compiled.PACKAGE)]
    (package / "cli" / "app.py").write_text("", encoding="utf-8")
    assert [compiled.fingerprint(package)] == names  # No compiled module knows of it.
    (package / "core" / "added.py").write_text("", encoding="utf-8")
    names.append(compiled.fingerprint(package))
    (package / "core" / "added.py").rename(package / "core" / "renamed.py")
    names.append(compiled.fingerprint(package))
    source = package / "core" / "facet.py"
    source.write_bytes(source.read_bytes().replace(b"TRAITS_MAX: Final = 200", b"TRAITS_MAX: Final = 201"))
    names.append(compiled.fingerprint(package))
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("module", compiled.MODULES)
def test_what_a_compiled_module_imports_is_part_of_the_name(module: str) -> None:
    path = f"{module.replace('.', '/')}.py"
    file = SourceFile.parse(path, (ROOT / path).read_text("utf-8"))
    names = tuple(f"pipeline.{name.removesuffix('.py').replace('/', '.')}" for name in compiled.SOURCES)
    ours = [dotted for _, dotted in imports_of(file) if dotted.split(".")[0] == "pipeline"]
    assert [one for one in (module, *ours) if not one.startswith(names)] == []


@pytest.mark.parametrize("module", compiled.MODULES)
def test_no_compiled_module_makes_a_struct(module: str) -> None:
    """Compiled, the class would lose its options without a word: another stored form."""
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8"))
    bases = [
        ast.unparse(base) for one in ast.walk(tree) if isinstance(one, ast.ClassDef) for base in one.bases
    ]
    assert [base for base in bases if base.rpartition(".")[2] == "Struct"] == []


def test_a_library_that_cannot_be_loaded_leaves_plain_python(package: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    for module in (compiled.SHARED, *compiled.MODULES):
        file = compiled.library(broken, module)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"no library")
    ask = f"from pathlib import Path; from pipeline import compiled; folder = Path({str(broken)!r})"
    ask += "; print(compiled.install(folder)); from pipeline.core import node; print(node.__file__)"
    command = [sys.executable, "-c", ask]
    environment = {**os.environ, "PYTHONPATH": str(package.parent), compiled.VARIABLE: "0"}
    printed = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert printed.stdout.decode().split() == ["False", str(package / "core" / "node.py")]
