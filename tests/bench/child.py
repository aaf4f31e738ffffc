"""A process under measurement: started with its log in a file, ended by SIGTERM."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

STOP_TIMEOUT_S: Final = 30
LOG_TAIL_LINES: Final = 40


class Child:
    """One child process. `log` takes what it writes to standard output and error."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                list(command), stdout=file, stderr=subprocess.STDOUT, env=dict(environment)
            )
        self.pid: Final = self._process.pid

    def check(self) -> None:
        """Raise SystemExit with the end of the log when the process is gone."""
        if self._process.poll() is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
            raise SystemExit(
                f"bench: {self.name} ended with {self._process.returncode}; its last words:\n{tail}"
            )

    def stop(self) -> int:
        """End the process, by force when it does not end by itself in time; return its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return self._process.returncode
