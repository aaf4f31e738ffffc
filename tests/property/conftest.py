"""What holds in all laws."""

from __future__ import annotations

import pytest

from pipeline.core.segments import catalogue


@pytest.fixture(autouse=True)
def many_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handful of definitions is treated as a thousand would be."""
    monkeypatch.setattr(catalogue, "FEW", 0)
