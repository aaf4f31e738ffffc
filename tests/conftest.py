"""What all tests share: a real Kafka, a marker for each folder (`-m integration`), and what was skipped."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.kafka import (  # noqa: F401  pytest finds fixtures and hooks by their names here
    kafka,
    own_broker,
    pytest_configure_node,
    pytest_report_header,
    pytest_unconfigure,
    say_kafka,
    topic_prefix,
)

TESTS: Final = Path(__file__).parent
MINUTES: Final = os.environ.get("TEST_MINUTES", "")
ENDS: Final = time.monotonic() + float(MINUTES) * 60 if MINUTES else float("inf")
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


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Begin no other test of a run that has had its time, so that a slow machine ends too."""
    if time.monotonic() > ENDS:
        pytest.skip(f"the {MINUTES} minutes of this run were over")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say which broker the tests ran on, and loudly what could not be tested on this machine."""
    say_kafka(terminalreporter, config)
    skipped = Counter(
        (report.nodeid.partition("::")[0], report.longrepr[2].removeprefix("Skipped: "))
        for report in terminalreporter.stats.get("skipped", ())
    )
    for (file, why), count in sorted(skipped.items()):
        terminalreporter.write_line(f"!!! NOT tested here: {count} of {file}: {why}", red=True, bold=True)
