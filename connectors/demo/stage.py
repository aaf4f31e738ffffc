"""All that the demo needs around the shop: broker, topics, segments, one worker; and nothing left behind.

It lives in one private directory of this run. A demo that is killed takes its processes and directory with
it: a watchdog holds the other end of a pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Final

from connectors.shop import segments_text
from pipeline.broker import BrokerError, EmbeddedBroker
from pipeline.broker.process import free_ports, last_lines
from pipeline.broker.progress import OnStream
from pipeline.cli.definitions import Edit
from pipeline.cli.options import CommandFailed
from pipeline.core.segments.parse import parse_definitions
from pipeline.settings import ENV_PREFIX, Settings

from .interrupts import SIGNALS
from .watchdog import Watchdog

COMMAND_S: Final = 120.0
READY_S: Final = 60.0  # 3 s are usual
READY_LOOK_S: Final = 0.1
DRAIN_S: Final = 20.0  # a worker commits and leaves within one second
BROKER_GRACE_S: Final = 10.0
LOG_LINES_SHOWN: Final = 15
KEPT_VARIABLES: Final = ("ELO_DEBUG", "ELO_LOG_LEVEL")
RUN_PREFIX: Final = "run-"
KEPT_PREFIX: Final = "kept-"


class Stage:
    """Broker, topics, segments and worker of one demo. Use as a context: leaving it ends and removes all.

    Args:
        settings: only `data_dir` is used; the demo has a deployment of its own below it.
        keep: leave the directory for a look afterwards.
        say: told in one line of each step.
    """

    def __init__(self, settings: Settings, keep: bool, say: Callable[[str], None]) -> None:
        base = settings.data_dir / "demo"
        _remove_stale(base)
        self.directory = base / f"{KEPT_PREFIX if keep else RUN_PREFIX}{os.getpid()}"
        self.keep = keep
        self.say = say
        self.settings = settings
        self.log = self.directory / "worker.log"
        self.worker: subprocess.Popen[bytes] | None = None
        self.worker_exit: int | None = None
        self._broker = EmbeddedBroker(self.directory / "broker", owner_pid=os.getpid(), report=OnStream())
        self._watchdog: Watchdog | None = None

    def __enter__(self) -> Stage:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        self._make_directory()
        self._watchdog = Watchdog()
        if not self.keep:
            self._watchdog.remove(self.directory)
        began = time.monotonic()
        try:
            self._broker.start()
        except BrokerError as error:
            raise CommandFailed(error.message + _indented(error.log_lines)) from None
        if (pid := self._broker.pid) is not None:
            self._watchdog.watch(pid)
        self.say(f"Kafka is up at {self._broker.bootstrap} after {time.monotonic() - began:.1f} s")
        self.settings = self.settings.model_copy(
            update={
                "bootstrap": self._broker.bootstrap,
                "topic_prefix": "",
                "identity": None,
                "data_dir": self.directory,
                "kafka": {},
                "kafka_security_protocol": "PLAINTEXT",
            }
        )
        self.command("topics", "create")
        # What `elo segments apply` does, in this process: the first change is two seconds earlier for it.
        definitions = parse_definitions(segments_text())
        created = [(one.id, "created", one.with_version(1)) for one in definitions]
        Edit(self.settings).publish(created, by="elo demo")
        self._start_worker()

    def check(self) -> None:
        """Raise CommandFailed, with the tail of its log, when worker or broker has ended."""
        if self.worker is not None and (code := self.worker.poll()) is not None:
            raise CommandFailed(
                f"the worker has ended by itself with exit code {code}; the end of its log:{self._log_tail()}"
            )
        if self._broker.status() is None:
            raise CommandFailed("the Kafka broker has ended by itself, run the demo again")

    def command(self, *arguments: str) -> str:
        """Run one command of `elo` against this deployment and return what it printed.

        Raises: CommandFailed with what it said.
        """
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pipeline", *arguments],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CommandFailed(f"`elo {' '.join(arguments)}` did not end within {COMMAND_S:.0f} s") from None
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
            raise CommandFailed(f"`elo {' '.join(arguments)}` failed: {said}")
        return done.stdout.decode()

    def state(self) -> list[dict[str, Any]]:
        """Every profile, as `elo state dump --json` prints it."""
        return [json.loads(line) for line in self.command("state", "dump", "--json").splitlines() if line]

    def stop_worker(self) -> int | None:
        """SIGTERM, and SIGKILL when it does not leave. Returns its exit code, None when there was none."""
        if self.worker is None:
            return self.worker_exit
        worker, self.worker = self.worker, None
        if worker.poll() is None:
            worker.terminate()
        try:
            self.worker_exit = worker.wait(DRAIN_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            self.worker_exit = worker.wait()
        if self._watchdog is not None:
            self._watchdog.forget(worker.pid)
        return self.worker_exit

    def close(self) -> None:
        """End the worker, then the broker, then remove the directory. Ctrl-C no longer disturbs."""
        before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
        try:
            self._close()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _close(self) -> None:
        self.stop_worker()
        self._broker.stop(BROKER_GRACE_S)
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)
        elif self.directory.exists():
            self.say(f"data and logs are kept in {self.directory}")
        if self._watchdog is not None:
            self._watchdog.close()
            self._watchdog = None

    def _make_directory(self) -> None:
        try:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory.mkdir(parents=True)
        except OSError as error:
            raise CommandFailed(
                f"{self.directory} cannot be made ({error.strerror}), name another place with ELO_DATA_DIR"
            ) from None

    def _start_worker(self) -> None:
        """Start the worker and wait until it is ready to read."""
        assert self._watchdog is not None
        began = time.monotonic()
        port = free_ports("127.0.0.1", 1)[0]
        with self.log.open("wb") as output:
            self.worker = _spawn(["worker", "--web-port", str(port)], self._environment(), output)
        self._watchdog.watch(self.worker.pid)
        deadline = began + READY_S
        while not _answers(f"http://127.0.0.1:{port}/readyz"):
            self.check()
            if time.monotonic() > deadline:
                raise CommandFailed(
                    f"the worker was not ready within {READY_S:.0f} s; the end of its log:{self._log_tail()}"
                )
            time.sleep(READY_LOOK_S)
        self.say(f"one worker is ready after {time.monotonic() - began:.1f} s (pid {self.worker.pid})")

    def _log_tail(self) -> str:
        return _indented(last_lines(self.log, LOG_LINES_SHOWN))

    def _environment(self) -> dict[str, str]:
        """Ours without the settings of other deployments, and with those of this one."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(ENV_PREFIX) or name in KEPT_VARIABLES
        }
        return {**inherited, "ELO_BOOTSTRAP": self.settings.bootstrap, "ELO_DATA_DIR": str(self.directory)}


def _spawn(
    arguments: list[str], environment: Mapping[str, str], output: IO[bytes]
) -> subprocess.Popen[bytes]:
    """A process of `elo` in a session of its own, so that Ctrl-C reaches only the demo."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _indented(lines: Iterable[str]) -> str:
    """Each on a line of its own, below the sentence that they belong to."""
    return "".join(f"\n  {line}" for line in lines)


def _answers(url: str) -> bool:
    with (
        contextlib.suppress(urllib.error.URLError, OSError),
        urllib.request.urlopen(url, timeout=1.0) as answer,
    ):
        return int(answer.status) == 200
    return False


def _remove_stale(base: Path) -> None:
    """Remove what demos left that died together with their watchdog."""
    for directory in base.glob(f"{RUN_PREFIX}*"):
        pid = directory.name.removeprefix(RUN_PREFIX)
        if pid.isdecimal() and not _is_alive(int(pid)):
            shutil.rmtree(directory, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
