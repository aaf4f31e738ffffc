"""Write the lock file of the embedded Kafka's jars: `python -m pipeline.broker.lock`.

Needed only when a version in jars.py changes. It resolves the dependencies with jgo, downloads every jar,
and prints to standard output the lines that `jars.read_lock` reads; whoever changes a version reviews the
difference.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from .jars import ENDPOINT, LOGGING_ENDPOINT, Jar, fetch_with_jgo


def main() -> None:
    """Resolve, download, and print one line a jar, sorted by coordinate."""
    import jgo

    artifacts = {
        (artifact.groupId, artifact.artifactId): artifact.version
        for endpoint in (LOGGING_ENDPOINT, ENDPOINT)  # Kafka's own choice of a shared version wins
        for artifact in jgo.resolve(endpoint)
    }
    print_lock(
        f"# Jars of {ENDPOINT}. Written by python -m pipeline.broker.lock; do not edit by hand.", artifacts
    )


def print_lock(head: str, artifacts: Mapping[tuple[str, str], str]) -> None:
    """Download jars and print one line for each. `artifacts`: group and name → version."""
    lines = [head]
    with TemporaryDirectory() as scratch:
        for (group, name), version in sorted(artifacts.items()):
            path = fetch_with_jgo(Jar(group, name, version, 0, ""), Path(scratch), lambda _size: None)
            content = path.read_bytes()
            lines.append(f"{hashlib.sha256(content).hexdigest()} {len(content)} {group}:{name}:{version}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
