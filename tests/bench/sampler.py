"""Runs a module as `python -m` does and samples where its main thread is.

    python -m tests.bench.sampler REPORT MODULE [ARGUMENT…]

A signal comes each time that the process has used some more CPU, whichever thread used it. A sample in which
the main thread waits was therefore earned by other threads: Kafka clients, commits, RocksDB.
"""

from __future__ import annotations

import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

PERIOD_S: Final = 0.004  # of CPU; timers of this kind are not finer than the kernel's tick
SHOWN: Final = 40
EVERYTHING: Final = 0.9  # what is on the stack more often only starts the rest
IMPORT: Final = "<frozen importlib._bootstrap>"
ROOT: Final = Path.cwd()


class Sampler:
    """Counts by line where the main thread was, and by function in how many samples it was on the stack."""

    def __init__(self) -> None:
        self.samples = 0
        self._lines: Counter[tuple[CodeType, int]] = Counter()
        self._functions: Counter[tuple[CodeType, int]] = Counter()

    def start(self) -> None:
        """Begin to sample; SIGPROF is taken."""
        signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, PERIOD_S, PERIOD_S)

    def stop(self) -> None:
        """Sample no more."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _take(self, _signal: int, frame: FrameType | None) -> None:
        line = (frame.f_code, frame.f_lineno) if frame else None
        on_stack = set()
        while frame is not None:
            on_stack.add((frame.f_code, frame.f_code.co_firstlineno))
            if frame.f_code.co_filename == IMPORT:
                return  # still starting
            frame = frame.f_back
        self.samples += 1
        self._functions.update(on_stack)
        if line:
            self._lines[line] += 1

    def report(self) -> str:
        """The lines that took most, then the functions that took most together with what they call."""
        total = max(1, self.samples)
        parts = [f"{self.samples} samples, one for each {PERIOD_S * 1000:g} ms of CPU, imports left out"]
        for title, counts in (("by line", self._lines), ("by function, with what it calls", self._functions)):
            shares = [(count / total, _name(*place)) for place, count in counts.most_common()]
            parts.append(f"\n{title}:")
            parts += [f"{share:7.1%}  {name}" for share, name in shares if share < EVERYTHING][:SHOWN]
        return "\n".join(parts) + "\n"


def _name(code: CodeType, line: int) -> str:
    path = Path(code.co_filename)
    place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else Path(*path.parts[-2:])
    return f"{code.co_qualname}  {place}:{line}"


def main() -> None:
    """Run the module of the command line and write the report when it ends."""
    report, module = Path(sys.argv[1]), sys.argv[2]
    sys.argv = sys.argv[2:]
    sampler = Sampler()
    sampler.start()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        sampler.stop()
        report.write_text(sampler.report(), encoding="utf-8")


if __name__ == "__main__":
    main()
