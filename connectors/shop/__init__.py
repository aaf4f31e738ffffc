"""A simulated shop: touchpoints of people on web, app, CRM and e-mail, and the truth about them."""

from __future__ import annotations

from importlib import resources

from .simulator import Emission, Shop
from .truth import SEGMENTS, Group, Truth

__all__ = ["SEGMENTS", "Emission", "Group", "Shop", "Truth", "segments_text"]


def segments_text() -> str:
    """The segment definitions of the demo, as YAML."""
    return resources.files(__name__).joinpath("segments.yaml").read_text(encoding="utf-8")
