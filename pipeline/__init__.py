"""Elo: touchpoints in, one profile per person and segment changes out.

`core` decides and touches nothing outside; the other packages carry out its decisions (docs/architecture.md).
"""

from __future__ import annotations

__version__ = "0.1.0"
