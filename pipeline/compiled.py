"""The compiled form of the hot modules: found, checked and put in place of the sources.

`deploy/compile_core.py` compiles `MODULES` into a folder that is named by a fingerprint of the sources and of
this Python. A folder of that name is the compiled form of exactly these sources, so a stale one is never
used: it has another name. Where there is none, the sources run as they are. `ELO_COMPILED=0` asks for that.
Source: docs/decisions/0011-compiled-core.md
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

MODULES: Final = (
    "pipeline.core.absorb",
    "pipeline.core.apart",
    "pipeline.core.duration",
    "pipeline.core.facet",
    "pipeline.core.identity",
    "pipeline.core.joining",
    "pipeline.core.links",
    "pipeline.core.matching.blocking",
    "pipeline.core.matching.cluster",
    "pipeline.core.matching.compare",
    "pipeline.core.matching.dates",
    "pipeline.core.matching.frequencies",
    "pipeline.core.matching.levels",
    "pipeline.core.matching.model",
    "pipeline.core.matching.record",
    "pipeline.core.matching.text",
    "pipeline.core.node",
    "pipeline.core.normalise",
    "pipeline.core.outputs",
    "pipeline.core.policy",
    "pipeline.core.resolver",
    "pipeline.core.segments.catalogue",
    "pipeline.core.segments.compile",
    "pipeline.core.segments.leaf",
    "pipeline.core.segments.operators",
    "pipeline.core.touchpoint",
    "pipeline.runtime.cache",
    "pipeline.wire.fast",
)
"""What is compiled. A module with a `msgspec.Struct` cannot be: its class would lose its options."""
SOURCES: Final = ("compiled.py", "core", "runtime/cache.py", "wire")
"""Files and folders of the package whose bytes decide: those modules, and what they may import."""
GROUP: Final = "elo_core"
SHARED: Final = f"{GROUP}__mypyc"
"""The library that holds all of the code; each module is a small one that points into it."""
SUFFIX: Final = EXTENSION_SUFFIXES[0]  # names the Python version, its build and the platform
VARIABLE: Final = "ELO_COMPILED"
PACKAGE: Final = Path(__file__).parent
FOLDERS: Final = Path(sys.prefix) / "share" / "elo-compiled"
"""Inside the environment: as trusted as the packages beside it, and gone when it goes."""


def fingerprint(package: Path) -> str:
    """What names the compiled form of the sources in `package`, for this Python. Raises OSError."""
    digest = hashlib.sha256(f"{SUFFIX} {sys.version}".encode())
    for file in _source_files(package):
        text = file.read_bytes()
        digest.update(f"\n{file.relative_to(package).as_posix()} {len(text)}\n".encode())
        digest.update(text)
    return digest.hexdigest()[:32]


def _source_files(package: Path) -> Iterator[Path]:
    for name in SOURCES:
        path = package / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else (path,)


def library(folder: Path, module: str) -> Path:
    """Where the compiled form of a module lies in a folder."""
    return folder.joinpath(*module.split(".")).with_suffix(SUFFIX)


class Finder:
    """Finds the modules of a folder of compiled ones, before Python looks for their sources."""

    def __init__(self, folder: Path) -> None:
        self.files = {module: str(library(folder, module)) for module in (SHARED, *MODULES)}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The compiled form of a module; None for any that has none."""
        file = self.files.get(name)
        if file is None:
            return None
        return spec_from_file_location(name, file, loader=ExtensionFileLoader(name, file))


def install(folder: Path) -> bool:
    """Use the compiled modules of `folder` from now on.

    Returns False, and changes nothing, if they cannot be loaded.
    """
    finder = Finder(folder)
    sys.meta_path.insert(0, finder)
    try:
        import_module(SHARED)
    except ImportError:  # another C library than the one that it was linked with
        sys.meta_path.remove(finder)
        return False
    return True


def use() -> bool:
    """Use the compiled form of these very sources if it is there and wanted. Returns whether it is used."""
    if os.environ.get(VARIABLE) == "0" or not FOLDERS.is_dir():
        return False
    try:
        folder = FOLDERS / fingerprint(PACKAGE)
    except OSError:  # the package is installed without its sources
        return False
    return folder.is_dir() and install(folder)
