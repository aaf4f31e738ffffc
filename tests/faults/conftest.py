"""Fixtures of the fault tests."""

from tests.support.cluster import cluster  # noqa: F401  pytest finds fixtures by their names here
from tests.support.fleet import make_fleet  # noqa: F401  pytest finds fixtures by their names here
