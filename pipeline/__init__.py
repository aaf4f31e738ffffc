"""Elo: touchpoints in, one profile per person and segment changes out.

`core` decides and touches nothing outside; the other packages carry out its decisions (docs/architecture.md).
"""

from __future__ import annotations

from typing import Final

from . import compiled

__version__ = "0.1.0"

COMPILED: Final[bool] = compiled.use()
"""Whether the compiled form of the hot modules is in use (docs/decisions/0011)."""
