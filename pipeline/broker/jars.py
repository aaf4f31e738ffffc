"""The jars of the embedded Kafka: which ones, where they are kept, and how they get there.

`kafka-<version>.lock` beside this file pins every jar by Maven coordinate, size and SHA-256. jgo's resolver
wrote the list (`python -m pipeline.broker.lock`) and jgo's downloader fetches it: pure Python, neither
Maven nor Java is needed. `jgo.build()` is not used: to sort jars into class path and module path it wants a
JDK, and downloads one. A cache whose files have the pinned names and sizes is complete and used as it is,
without any network access.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from .errors import BrokerError

KAFKA_VERSION: Final = "4.1.1"
SCALA_VERSION: Final = "2.13"
ENDPOINT: Final = f"org.apache.kafka:kafka_{SCALA_VERSION}:{KAFKA_VERSION}"
LOGGING_ENDPOINT: Final = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"
"""Kafka's pom names no SLF4J binding; without one the broker logs nothing, not even why it stops."""

LOCK_FILE: Final = Path(__file__).with_name(f"kafka-{KAFKA_VERSION}.lock")
DOWNLOADS_PARALLEL: Final = 4  # 46 small files: 4 at a time hide the latency, more gains nothing
DOWNLOAD_ATTEMPTS_MAX: Final = 3
DOWNLOAD_TIMEOUT_S: Final = 30  # without a byte


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned jar; `sha256` in lower-case hexadecimal."""

    group: str
    artifact: str
    version: str
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """File name as Maven publishes it."""
        return f"{self.artifact}-{self.version}.jar"


class Report(Protocol):
    """Where progress goes. Called from several threads during a download."""

    def say(self, text: str) -> None:
        """One line about what happens now."""

    def downloading(self, title: str, total_bytes: int) -> AbstractContextManager[Callable[[int], None]]:
        """Show a download of `total_bytes`; the function it yields is told of each arrival, in bytes."""


def read_lock(path: Path = LOCK_FILE) -> tuple[Jar, ...]:
    """The pinned jars in the order of the file. A line: `sha256 bytes group:artifact:version`."""
    jars = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            sha256, size, coordinate = line.split()
            group, artifact, version = coordinate.split(":")
            jars.append(Jar(group, artifact, version, int(size), sha256))
    return tuple(jars)


def cache_dir() -> Path:
    """Where this user's jars are: `$XDG_CACHE_HOME/elo/kafka-<version>`, by default below `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base else Path.home() / ".cache"
    return root / "elo" / f"kafka-{KAFKA_VERSION}"


def is_complete(directory: Path, jars: tuple[Jar, ...]) -> bool:
    """Whether every pinned jar is there with its pinned size (contents were checked after the download)."""
    try:
        return all((directory / jar.name).stat().st_size == jar.bytes for jar in jars)
    except OSError:
        return False


Fetch = Callable[[Jar, Path, Callable[[int], None]], Path]
"""Download a jar somewhere below a scratch directory, tell of each arrival in bytes, return the file."""


def ensure_jars(report: Report, directory: Path | None = None, fetch: Fetch | None = None) -> Path:
    """Return a directory that holds exactly the pinned jars, downloading what is missing.

    Safe against concurrent callers (file lock) and against a kill at any point: jars are gathered in
    `<directory>.part`, each checked against its SHA-256, and the directory appears by one rename. What a
    broken download left is used again.

    Raises: BrokerError when a jar cannot be had, or is not the pinned one.
    """
    directory = cache_dir() if directory is None else directory
    jars = read_lock()
    if is_complete(directory, jars):
        return directory
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(directory.with_name(directory.name + ".filelock"), report):
            if not is_complete(directory, jars):
                _assemble(directory, jars, report, fetch or fetch_with_jgo)
    except OSError as error:
        raise BrokerError(
            f"Apache Kafka cannot be kept in {directory} ({error.strerror or error}), "
            "make room or point XDG_CACHE_HOME at a directory that can be written"
        ) from None
    return directory


@contextmanager
def exclusive(path: Path, report: Report | None = None) -> Iterator[None]:
    """Hold the advisory lock of `path` against other processes; waits for as long as another one holds it."""
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if report is not None:
                report.say("Waiting for another process that downloads Apache Kafka.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _assemble(directory: Path, jars: tuple[Jar, ...], report: Report, fetch: Fetch) -> None:
    """Fill `<directory>.part` with all jars and rename it to `directory`. The caller holds the lock."""
    part = directory.with_name(directory.name + ".part")
    scratch = directory.with_name(directory.name + ".scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    part.mkdir(exist_ok=True)
    if directory.exists():  # incomplete: keep what is good of it
        for jar in jars:
            if _is_pinned(directory / jar.name, jar):
                (directory / jar.name).replace(part / jar.name)
        shutil.rmtree(directory)
    missing = [jar for jar in jars if not _is_pinned(part / jar.name, jar)]
    total_bytes = sum(jar.bytes for jar in missing)
    report.say(
        f"Downloading Apache Kafka {KAFKA_VERSION} once: {len(missing)} files, {total_bytes / 1e6:.0f} MB, "
        f"from Maven Central to {directory}"
    )
    with (
        report.downloading(f"Apache Kafka {KAFKA_VERSION}", total_bytes) as advance,
        ThreadPoolExecutor(DOWNLOADS_PARALLEL) as pool,
    ):
        futures = [pool.submit(_fetch_checked, jar, part, scratch, fetch, advance) for jar in missing]
        try:
            for future in futures:
                future.result()
        finally:
            for future in futures:
                future.cancel()
    for stray in set(part.iterdir()) - {part / jar.name for jar in jars}:
        stray.unlink()
    part.rename(directory)
    shutil.rmtree(scratch, ignore_errors=True)


def _is_pinned(path: Path, jar: Jar) -> bool:
    """Whether the file is byte for byte the pinned jar."""
    try:
        return path.stat().st_size == jar.bytes and _sha256(path) == jar.sha256
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _fetch_checked(jar: Jar, part: Path, scratch: Path, fetch: Fetch, advance: Callable[[int], None]) -> None:
    """Download one jar into `part`, trying again a few times; only the pinned file ever gets there."""
    why = ""
    for _ in range(DOWNLOAD_ATTEMPTS_MAX):
        arrived_bytes = 0

        def tell(size: int) -> None:
            nonlocal arrived_bytes
            arrived_bytes += size
            advance(size)

        try:
            path = fetch(jar, scratch, tell)
        except (RuntimeError, OSError) as error:  # requests' errors are OSErrors
            why = type(error).__name__
        else:
            if _is_pinned(path, jar):
                path.replace(part / jar.name)
                return
            path.unlink()
            why = "not the pinned file"
        advance(-arrived_bytes)
    raise BrokerError(
        f"Apache Kafka {KAFKA_VERSION} could not be downloaded ({jar.name}: {why}), "
        f"go online and start again or copy {part.with_suffix('')} from a machine that has it"
    )


def fetch_with_jgo(jar: Jar, scratch: Path, advance: Callable[[int], None]) -> Path:
    """Download one jar with jgo. Repositories of the user's jgo configuration (mirrors) are asked first."""
    from jgo.config import GlobalSettings  # imported for a download only
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext, PythonResolver

    @contextmanager
    def on_progress(_name: str, _total_bytes: int) -> Iterator[Callable[[int], None]]:
        yield advance

    context = MavenContext(
        resolver=PythonResolver(progress_callback=on_progress),
        repo_cache=scratch,
        local_repos=[],
        remote_repos={**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL},
        timeout=DOWNLOAD_TIMEOUT_S,
    )
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
    if artifact.cached_path is not None:
        artifact.cached_path.unlink(missing_ok=True)  # half of a file, left by a failed attempt
    path = artifact.resolve()
    return Path(path)
