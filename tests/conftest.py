"""What all tests share: a real Kafka, and a marker for each folder (`-m integration`)."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

import pytest

from tests.support.kafka import (  # noqa: F401  pytest finds fixtures and hooks by their names here
    kafka,
    own_broker,
    pytest_configure_node,
    pytest_report_header,
    pytest_terminal_summary,
    pytest_unconfigure,
    topic_prefix,
)

TESTS: Final = Path(__file__).parent
FOLDERS: Final = ("unit", "property", "integration", "faults", "bench")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers that come from folders, and take Ctrl-C.

    A shell lets the jobs that it runs in the background ignore it, and whoever ignores it bequeaths that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for folder in FOLDERS:
        config.addinivalue_line("markers", f"{folder}: lies in tests/{folder}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the name of its folder, before `-m` chooses."""
    for item in items:
        if item.path.is_relative_to(TESTS):
            folder = item.path.relative_to(TESTS).parts[0]
            if folder in FOLDERS:
                item.add_marker(folder)
