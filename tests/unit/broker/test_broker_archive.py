"""The class archive: used when it fits, made when it is missing, never in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.broker import archive

PROGRAM = """#!/bin/sh
for word; do case "$word" in -XX:SharedArchiveFile=*) echo x > "${word#*=}";; esac; done
"""


@pytest.fixture
def java(tmp_path: Path) -> Path:
    """A program in the place of Java that writes the archive it is asked for."""
    path = tmp_path / "java-runtime" / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(PROGRAM)
    path.chmod(0o755)
    (tmp_path / "java-runtime" / "lib").mkdir()
    (tmp_path / "java-runtime" / "lib" / "modules").write_text("modules")
    return path


@pytest.fixture
def jars(tmp_path: Path) -> Path:
    directory = tmp_path / "cache" / "kafka"
    directory.mkdir(parents=True)
    (directory / "a.jar").write_text("a")
    return directory


@pytest.fixture
def archives(java: Path, jars: Path) -> archive.Archives:
    return archive.archives_of(java, jars)


def test_another_java_or_another_jar_has_other_archives(java: Path, jars: Path) -> None:
    first = archive.archives_of(java, jars)
    assert archive.archives_of(java, jars) == first
    os.utime(jars / "a.jar", (1, 1))
    second = archive.archives_of(java, jars)
    (java.parent.parent / "lib" / "modules").write_text("other modules")
    third = archive.archives_of(java, jars)
    assert len({first.base, first.classes, second.base, second.classes, third.base, third.classes}) == 6


def test_the_jvm_records_its_classes_once_and_uses_them_then(archives: archive.Archives) -> None:
    assert archives.flags(record=True) == ()
    archives.base.write_text("base")
    base = f"-XX:SharedArchiveFile={archives.base}"
    assert archives.flags(record=True) == (base, "-XX:ArchiveClassesAtExit=classes.jsa")
    assert archives.flags(record=False) == ()
    archives.classes.write_text("classes")
    assert archives.flags(record=True) == archives.flags(record=False) == (f"{base}:{archives.classes}",)


def test_the_base_archive_is_written_once(java: Path, archives: archive.Archives) -> None:
    archive.prepare(archives, java, ())
    assert archives.base.read_text() == "x\n"
    archives.base.write_text("kept")
    archive.prepare(archives, java, ())
    assert archives.base.read_text() == "kept"


@pytest.mark.parametrize("program", ["#!/bin/sh\nexit 1\n", "not a program"])
def test_a_java_that_cannot_write_an_archive_is_used_without(
    java: Path, archives: archive.Archives, program: str
) -> None:
    java.write_text(program)
    archive.prepare(archives, java, ())
    assert archives.flags(record=True) == ()
    assert [path.name for path in archives.base.parent.iterdir()] == ["kafka"]


def test_the_classes_of_the_first_broker_that_ends_are_kept(
    archives: archive.Archives, tmp_path: Path
) -> None:
    archive.adopt(archives, tmp_path)
    for text in ("first", "second"):
        (tmp_path / archive.DRAFT).write_text(text)
        archive.adopt(archives, tmp_path)
        assert archives.classes.read_text() == "first"
        assert not (tmp_path / archive.DRAFT).exists()
    assert sorted(path.name for path in archives.base.parent.iterdir()) == ["kafka", archives.classes.name]


def test_archives_of_replaced_javas_do_not_pile_up(java: Path, archives: archive.Archives) -> None:
    directory = archives.base.parent
    for number in range(9):
        old = directory / f"kafka-{number}.jsa"
        old.write_text("")
        os.utime(old, (number, number))
    archive.prepare(archives, java, ())
    kept = sorted(path.name for path in directory.glob("*.jsa"))
    assert kept == sorted([archives.base.name, "kafka-6.jsa", "kafka-7.jsa", "kafka-8.jsa"])
