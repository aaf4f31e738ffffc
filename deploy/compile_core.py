"""Compile the hot modules of the core with mypyc into the environment of the Python that runs this.

Usage: python deploy/compile_core.py. Prints one line. Exit code 0: the compiled form is there; 1: it cannot
be made here, and Elo runs from its sources. Nothing is done when it is there already. What is compiled, and
when it is used: pipeline/compiled.py.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ["ELO_COMPILED"] = "0"  # for this process and those that it starts

from pipeline import compiled  # noqa: E402

KEPT: Final = 8  # compiled forms, the newest: one for each branch that is worked on
LOG: Final = "build.log"


def obstacle() -> str:
    """Why nothing can be compiled here; empty when it can."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "Python's headers are missing (on Debian and Ubuntu: python3-dev)"
    return ""


def build(source: Path, target: Path) -> None:
    """Compile the modules of the package under `source` into `target`.

    Raises what mypyc and setuptools raise.
    """
    from mypyc.build import mypycify
    from setuptools import Distribution

    os.chdir(source)
    version = ".".join(map(str, sys.version_info[:2]))
    files = [f"{module.replace('.', '/')}.py" for module in compiled.MODULES]
    options = ["--follow-imports=silent", "--ignore-missing-imports", f"--python-version={version}"]
    extensions = mypycify(
        [*options, *files], opt_level="3", debug_level="0", group_name=compiled.GROUP, target_dir="made"
    )
    command = Distribution({"name": compiled.GROUP, "ext_modules": extensions}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(target), "made"
    command.ensure_finalized()
    command.run()


def check(source: Path, target: Path) -> None:
    """Import every compiled module of `target`, as Elo will, beside the sources that it was made from."""
    made_from, ours = (compiled.fingerprint(one) for one in (source / "pipeline", compiled.PACKAGE))
    assert made_from == ours, "the sources have changed meanwhile"
    assert compiled.install(target), "the library cannot be loaded"
    for name in compiled.MODULES:
        module = import_module(name)
        assert module.__file__ == str(compiled.library(target, name)), name


def run(step: str, source: Path, target: Path) -> int:
    """Run one step in a process of its own; its output goes into the log."""
    command = [sys.executable, str(Path(__file__).resolve()), step, str(source), str(target)]
    with (target.parent / LOG).open("ab") as log:
        return subprocess.run(command, cwd=source, stdout=log, stderr=log, check=False).returncode


def compile_core() -> str:
    """Make what is not there yet. Returns the line to print. Raises RuntimeError with why it cannot."""
    folder = compiled.FOLDERS / compiled.fingerprint(compiled.PACKAGE)
    if folder.is_dir():
        return f"the core is compiled already ({folder.name})"
    if why := obstacle():
        raise RuntimeError(why)
    started = time.monotonic()
    compiled.FOLDERS.mkdir(parents=True, exist_ok=True)
    work = Path(
        tempfile.mkdtemp(prefix=".build-", dir=compiled.FOLDERS)
    )  # the same disk, so that it can be moved
    try:
        source, target = work / "source", work / "target"
        shutil.copytree(compiled.PACKAGE, source / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
        folder = compiled.FOLDERS / compiled.fingerprint(source / "pipeline")  # of what will be compiled
        target.mkdir()
        for step in ("build", "check"):
            if run(step, source, target):
                shutil.copy(work / LOG, compiled.FOLDERS / LOG)
                raise RuntimeError(f"its {step} failed, see {compiled.FOLDERS / LOG}")
        try:
            target.rename(folder)
        except OSError:
            if not folder.is_dir():  # Else somebody has made the same form meanwhile.
                raise
    finally:
        shutil.rmtree(work)
    made = sorted(compiled.FOLDERS.glob("[0-9a-f]*/"), key=lambda one: one.stat().st_mtime)
    for old in made[:-KEPT]:
        shutil.rmtree(old)
    return f"the core is compiled, in {time.monotonic() - started:.0f} s ({folder.name})"


if __name__ == "__main__":
    if len(sys.argv) == 4:
        {"build": build, "check": check}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        try:
            sys.stdout.write(f"==> {compile_core()}\n")
        except (RuntimeError, OSError) as error:
            sys.exit(f"==> the core is not compiled, it runs as plain Python: {error}")
