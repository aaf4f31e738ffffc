"""Loads the generators of `deploy/`, which is no package."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from tests.support.doc_tables import ROOT


def load(path: str) -> Any:
    """The module in a file of the repository."""
    name = f"generator_{path.replace('/', '_').removesuffix('.py')}"
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module
