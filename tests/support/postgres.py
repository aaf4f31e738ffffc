"""A real PostgreSQL for tests, the one that Debian packages: a cluster of its own, ended with the test."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.support.fleet import _free_port

OWNER: Final = "postgres"
"""Who runs the server when we are root, whom it refuses. Debian's package makes this user."""
USER: Final = "elo"  # inside the database
START_S: Final = 60.0
COMMAND_S: Final = 60.0
OPTIONS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "fsync": "off",
    "timezone": "America/Sao_Paulo",  # so that an instant without a zone is not the same by chance
}


def missing() -> str:
    """Why PostgreSQL cannot run here, empty if it can."""
    if not _programs():
        return "needs PostgreSQL: apt-get install postgresql"
    if os.geteuid() == 0 and OWNER not in {entry.pw_name for entry in pwd.getpwall()}:
        return f"needs a user {OWNER}, since PostgreSQL does not run as root"
    return "" if shutil.which("setpriv") else "needs setpriv of util-linux"


def _programs() -> Path | None:
    """The folder of the newest installed server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


class Postgres:
    """One server with an empty database `postgres`."""

    def __init__(self) -> None:
        self.port = _free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="elo-postgres-"))
        self._log = self._directory.with_suffix(".log")
        programs = _programs()
        assert programs is not None, missing()
        self._programs = programs

    def start(self) -> Postgres:
        """Make the cluster, start the server, wait until it answers."""
        if os.geteuid() == 0:
            shutil.chown(self._directory, OWNER, OWNER)
        data = str(self._directory / "data")
        make = ["initdb", "-D", data, "-U", USER, "--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        subprocess.run(self._as_owner(*make), check=True, capture_output=True, timeout=START_S)
        serve = ["postgres", "-D", data, "-p", str(self.port)]
        serve += [f"--{name}={value}" for name, value in OPTIONS.items()]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(self._as_owner(*serve), stdout=output, stderr=output)
        deadline = time.monotonic() + START_S
        while self._ask("pg_isready", "-q").returncode:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)
        return self

    def run(self, statements: str) -> None:
        """Run SQL, all of it in one transaction."""
        done = self._ask(
            "psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", statements
        )
        assert done.returncode == 0, done.stderr

    def stop(self) -> None:
        """End it and remove what it kept."""
        self._process.terminate()  # SIGTERM waits for clients; SIGINT ends their sessions
        self._process.send_signal(2)
        self._process.wait(30)
        shutil.rmtree(self._directory, ignore_errors=True)
        self._log.unlink(missing_ok=True)

    def _ask(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
        return subprocess.run(
            [str(self._programs / program), *where, *arguments],
            capture_output=True, text=True, timeout=COMMAND_S, check=False,
        )  # fmt: skip

    def _as_owner(self, program: str, *arguments: str) -> list[str]:
        """A command that ends with this process, not as root."""
        owner = [f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups"] if os.geteuid() == 0 else []
        return ["setpriv", *owner, "--pdeathsig=KILL", "--", str(self._programs / program), *arguments]
