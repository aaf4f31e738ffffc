"""The cache of jars: complete or absent, whatever happens while it is filled."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.broker import BrokerError, jars
from pipeline.broker.progress import Silent

CONTENTS = {f"part-{number}": f"content {number}".encode() * (number + 1) for number in range(6)}
PINNED = tuple(
    jars.Jar("org.example", name, "1.0", len(content), hashlib.sha256(content).hexdigest())
    for name, content in CONTENTS.items()
)


class Source:
    """Stands for Maven Central: hands out the contents, or what `spoil` makes of them."""

    def __init__(self, spoil: Callable[[jars.Jar, bytes], bytes] = lambda _jar, content: content) -> None:
        self.spoil = spoil
        self.asked: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, jar: jars.Jar, scratch: Path, advance: Callable[[int], None]) -> Path:
        with self.lock:
            self.asked.append(jar.artifact)
        content = self.spoil(jar, CONTENTS[jar.artifact])
        path = scratch / jar.artifact / jar.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        advance(len(content))
        return path


class Counting(Silent):
    """Adds up the progress that was reported."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.total_bytes = 0
        self.arrived_bytes = 0

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def downloading(self, _title: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        self.total_bytes = total_bytes
        lock = threading.Lock()

        def advance(size: int) -> None:
            with lock:
                self.arrived_bytes += size

        yield advance


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(jars, "read_lock", lambda: PINNED)
    return tmp_path / "elo" / "kafka"


def content_of(directory: Path) -> dict[str, bytes]:
    """File name → content of all files."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


EXPECTED = {jar.name: CONTENTS[jar.artifact] for jar in PINNED}


def test_a_missing_cache_is_filled_and_nothing_else_is_left_beside_it(directory: Path) -> None:
    assert jars.ensure_jars(Silent(), directory, Source()) == directory
    assert content_of(directory) == EXPECTED
    assert sorted(path.name for path in directory.parent.iterdir()) == ["kafka", "kafka.filelock"]


def test_a_complete_cache_is_used_without_asking_anybody(directory: Path) -> None:
    jars.ensure_jars(Silent(), directory, Source())
    second = Source()
    jars.ensure_jars(Silent(), directory, second)
    assert second.asked == []


def test_progress_adds_up_to_what_is_missing_and_is_announced(directory: Path) -> None:
    report = Counting()
    jars.ensure_jars(report, directory, Source())
    assert report.arrived_bytes == report.total_bytes == sum(jar.bytes for jar in PINNED)
    assert len(report.said) == 1
    assert "once: 6 files" in report.said[0]


def test_a_file_that_is_not_the_pinned_one_is_refused_and_never_gets_into_the_cache(directory: Path) -> None:
    def spoil(jar: jars.Jar, content: bytes) -> bytes:
        return content[::-1] if jar.artifact == "part-3" else content

    source = Source(spoil)
    with pytest.raises(BrokerError, match=r"part-3-1\.0\.jar: not the pinned file"):
        jars.ensure_jars(Silent(), directory, source)
    assert source.asked.count("part-3") == jars.DOWNLOAD_ATTEMPTS_MAX
    assert not directory.exists()


def test_after_a_broken_download_only_the_rest_is_fetched(directory: Path) -> None:
    def spoil(jar: jars.Jar, content: bytes) -> bytes:
        if jar.artifact == "part-5":
            raise ConnectionError("gone")
        return content

    with pytest.raises(BrokerError, match="ConnectionError"):
        jars.ensure_jars(Silent(), directory, Source(spoil))
    kept = {path.stem.removesuffix("-1.0") for path in directory.with_name("kafka.part").iterdir()}
    second = Source()
    jars.ensure_jars(Silent(), directory, second)
    assert sorted(second.asked) == sorted(set(CONTENTS) - kept)
    assert content_of(directory) == EXPECTED


def test_a_failed_attempt_is_made_again_and_not_counted_twice(directory: Path) -> None:
    failures = iter([True])

    def spoil(jar: jars.Jar, content: bytes) -> bytes:
        return b"half" if jar.artifact == "part-2" and next(failures, False) else content

    report = Counting()
    jars.ensure_jars(report, directory, Source(spoil))
    assert report.arrived_bytes == report.total_bytes


@pytest.mark.parametrize("damage", ["missing", "shortened"])
def test_a_damaged_cache_is_repaired_with_the_damaged_file_only(directory: Path, damage: str) -> None:
    jars.ensure_jars(Silent(), directory, Source())
    if damage == "missing":
        (directory / "part-1-1.0.jar").unlink()
    else:
        (directory / "part-1-1.0.jar").write_bytes(b"c")
    (directory / "stray.jar").write_bytes(b"")
    second = Source()
    jars.ensure_jars(Silent(), directory, second)
    assert second.asked == ["part-1"]
    assert content_of(directory) == EXPECTED


def test_of_several_starts_at_once_one_downloads_and_the_others_wait(directory: Path) -> None:
    source = Source()
    threads = [
        threading.Thread(target=jars.ensure_jars, args=(Silent(), directory, source)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(source.asked) == sorted(CONTENTS)
    assert content_of(directory) == EXPECTED


def test_a_cache_that_cannot_be_written_is_said_in_one_sentence(directory: Path) -> None:
    directory.parent.parent.joinpath("elo").write_text("a file where a directory should be")
    with pytest.raises(BrokerError, match="XDG_CACHE_HOME") as caught:
        jars.ensure_jars(Silent(), directory, Source())
    assert "\n" not in str(caught.value)


def test_the_cache_is_below_the_cache_directory_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert jars.cache_dir() == tmp_path / "elo" / "kafka-4.1.1"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert jars.cache_dir() == tmp_path / "home" / ".cache" / "elo" / "kafka-4.1.1"


def test_the_lock_file_pins_the_versions_that_the_code_names() -> None:
    pinned = jars.read_lock()
    by_coordinate = {f"{jar.group}:{jar.artifact}:{jar.version}" for jar in pinned}
    assert {jars.ENDPOINT, jars.LOGGING_ENDPOINT} <= by_coordinate
    kafka = {jar.version for jar in pinned if jar.group == "org.apache.kafka"}
    assert kafka == {jars.KAFKA_VERSION}
    assert len({jar.name for jar in pinned}) == len(pinned) == 46
    assert all(len(jar.sha256) == 64 and jar.bytes > 0 for jar in pinned)
