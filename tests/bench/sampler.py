"""Runs a module as `python -m` does and samples where its main thread is.

    python -m tests.bench.sampler REPORT MODULE [ARGUMENT…]

A signal comes after each millisecond of CPU time that the process has used, whichever thread used it. A
sample in which the main thread waits was therefore earned by other threads: Kafka clients, commits, RocksDB.
"""

from __future__ import annotations

import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

PERIOD_S: Final = 0.001
SHOWN: Final = 40
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
        self.samples += 1
        if frame is not None:
            self._lines[frame.f_code, frame.f_lineno] += 1
        on_stack = set()
        while frame is not None:
            on_stack.add((frame.f_code, frame.f_code.co_firstlineno))
            frame = frame.f_back
        self._functions.update(on_stack)

    def report(self) -> str:
        """The lines that took most, then the functions that took most together with what they call."""
        total = max(1, self.samples)
        parts = [f"{self.samples} samples, one a millisecond of CPU"]
        for title, counts in (("by line", self._lines), ("by function, with what it calls", self._functions)):
            parts.append(f"\n{title}:")
            parts += [f"{count / total:7.1%}  {_name(*place)}" for place, count in counts.most_common(SHOWN)]
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
