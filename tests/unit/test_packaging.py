"""What the project says it needs is what it imports, what is locked and what its page justifies."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.doc_pages import Page
from tests.support.source_rules import imports_of, read_tree

ROOT: Final = Path(__file__).resolve().parents[2]
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
RUNTIME: Final = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
OPTIONAL: Final = [
    Requirement(text) for extra in PROJECT["project"]["optional-dependencies"].values() for text in extra
]
DEVELOPMENT: Final = [Requirement(text) for text in PROJECT["dependency-groups"]["dev"]]
LOCKS: Final = ("deploy/requirements.lock", "deploy/requirements-dev.lock")
ELSEWHERE: Final = ("tests/conformance/send.py",)  # runs in an environment of its own
OURS: Final = ("pipeline", "connectors", "schemas", "tests")

COMES_WITH: Final = {
    "mode": "faust-streaming",
    "aiohttp": "faust-streaming",
    "yarl": "faust-streaming",
    "pydantic": "pydantic-settings",
    "docker": "testcontainers",
    "opentelemetry": "opentelemetry-sdk",
}
"""Import names of packages that are parts of a declared one, by its own documentation."""
NOT_IMPORTED: Final = (
    "click",  # only pinned: Faust breaks with a newer one
    "httptools",  # imported by uvicorn
    "tzdata",  # read by the standard library's zoneinfo
    "setuptools",  # imported by deploy/compile_core.py only
    "opentelemetry-exporter-otlp-proto-http",  # shares its import name with the SDK
    "grafana-foundation-sdk",  # imported by deploy/grafana/dashboards.py only
    "check-jsonschema",  # only its data is read
    "authlib", "cachetools", "httpx",  # what confluent-kafka's registry client imports
    "hatchling", "mypy", "pytest-xdist", "ruff", "types-psutil", "types-pyyaml", "uv",  # run, not imported
)  # fmt: skip


def names(requirements: list[Requirement]) -> set[str]:
    """Normalised names of the distributions."""
    return {canonicalize_name(requirement.name) for requirement in requirements}


def locked(path: str) -> dict[str, str]:
    """Name → version of each pin in a lock file."""
    pins = re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", (ROOT / path).read_text("utf-8"), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


def imported(*folders: str) -> dict[str, str]:
    """Distribution → one file that imports it, for all that is neither ours nor the standard library's."""
    found: dict[str, str] = {}
    providers = packages_distributions()
    for file in read_tree(ROOT, *folders):
        if file.path in ELSEWHERE:
            continue
        for line, dotted in imports_of(file):
            top = dotted.partition(".")[0]
            if top in OURS or top in sys.stdlib_module_names:
                continue
            provider = COMES_WITH.get(top) or providers.get(top, [top])[0]
            found.setdefault(canonicalize_name(provider), f"{file.path}:{line}")
    return found


@pytest.mark.parametrize("path", LOCKS)
def test_a_lock_pins_with_hashes_and_names_no_place(path: str) -> None:
    text = (ROOT / path).read_text("utf-8")
    assert "://" not in text
    assert not re.search(r"^--", text, re.MULTILINE)
    for entry in re.split(r"\n(?=[A-Za-z0-9])", text.partition("\n#")[2] or text):
        if "==" in entry:
            assert "--hash=sha256:" in entry, entry.splitlines()[0]


@pytest.mark.parametrize(
    ("path", "wanted"), [(LOCKS[0], [*RUNTIME, *OPTIONAL]), (LOCKS[1], [*RUNTIME, *OPTIONAL, *DEVELOPMENT])]
)
def test_a_lock_satisfies_every_requirement(path: str, wanted: list[Requirement]) -> None:
    pins = locked(path)
    for requirement in wanted:
        version = pins.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in {path}: run make lock"
        assert requirement.specifier.contains(version), (
            f"{requirement} but {version} is locked: run make lock"
        )


def test_both_locks_agree() -> None:
    runtime, development = (locked(path) for path in LOCKS)
    assert runtime.items() <= development.items()
    assert not (names(DEVELOPMENT) - names(RUNTIME)) & runtime.keys() - {"packaging"}


def test_the_product_imports_only_what_it_declares() -> None:
    declared = names(RUNTIME) | names(OPTIONAL)
    assert {name: at for name, at in imported(*OURS[:3]).items() if name not in declared} == {}


def test_the_tests_import_only_what_is_declared() -> None:
    declared = names(RUNTIME) | names(OPTIONAL) | names(DEVELOPMENT)
    assert {name: at for name, at in imported("tests").items() if name not in declared} == {}


def test_every_dependency_is_used() -> None:
    used = imported(*OURS).keys() | set(NOT_IMPORTED)
    assert (names(RUNTIME) | names(OPTIONAL) | names(DEVELOPMENT)) - used == set()


def test_every_dependency_is_justified_on_its_page() -> None:
    page = Page("", (ROOT / "docs/dependencies.md").read_text("utf-8"))
    assert [canonicalize_name(row[0].strip("`")) for row in page.rows("runtime")] == sorted(names(RUNTIME))
    assert [canonicalize_name(row[0].strip("`")) for row in page.rows("optional")] == sorted(names(OPTIONAL))
    assert [canonicalize_name(row[0].strip("`")) for row in page.rows("development")] == sorted(
        names(DEVELOPMENT)
    )


def test_the_installer_and_the_project_ask_for_the_same_python() -> None:
    installer = (ROOT / "deploy/install.sh").read_text("utf-8")
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in installer
