"""One demo from start to verdict: play the shop, show what Elo tells, wait until it is idle, check it.

The main thread does all but reading: it owns the shop, its truth, the board and the view.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from rich.console import Console
from rich.text import Text

from connectors.shop import Shop
from pipeline.cli.idle import wait_until_idle
from pipeline.cli.options import CommandFailed
from pipeline.settings import Settings

from .board import Board
from .check import Verdict, compare
from .diary import Diary
from .feed import Feed
from .interrupts import Interrupts
from .ledger import Ledger
from .outputs import LagThread, OutputThread, OutputTopics, Told
from .stage import Stage
from .story import Storyteller
from .view import View, make_view, show_summary

TICK_S: Final = 0.01
CHECK_S: Final = 1.0  # time between two looks at worker and broker
IDLE_S: Final = 90.0  # from the last touchpoint until everything is consumed
QUIET_MS: Final = 5_000  # no membership changes by itself for so long: time to read the state
QUIET_WAIT_S: Final = 40.0  # then it is read anyway, and what changes meanwhile is not compared
TIMER_GRACE_MS: Final = 300
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Options:
    """How to play. `seconds` None: until Ctrl-C. `rate`: touchpoints per second."""

    seconds: float | None
    rate: float
    seed: int
    keep: bool


class Session:
    """A running demo on a stage that is set."""

    def __init__(
        self, stage: Stage, options: Options, console: Console, began_s: float, interrupts: Interrupts
    ) -> None:
        self.stage = stage
        self.options = options
        self.interrupts = interrupts
        self.board = Board(began_s)
        self.ledger = Ledger()
        self.shop = Shop(options.seed, _now_ms(), options.rate)
        self.feed = Feed(stage.settings, self.shop, Diary())
        self.storyteller = Storyteller(self.feed.diary, self.shop.truth)
        self.topics = OutputTopics(stage.settings)
        self.outputs = OutputThread(self.topics)
        self.lag = LagThread(stage.settings)
        self.view: View = make_view(console)
        self._check_at = 0.0

    def play(self) -> Verdict:
        """Play until the end is asked for or reached; return what the check says.

        Raises: CommandFailed when worker or broker died or Elo did not become idle; KeyboardInterrupt at the
        second Ctrl-C.
        """
        self.outputs.start()
        self.lag.start()
        try:
            self.interrupts.gentle = True
            self._run()
            self.interrupts.asked = True  # the shop is closed: the next Ctrl-C ends the demo
            return self._finish()
        finally:
            self.view.close()
            self.outputs.close()
            self.lag.close()

    def _run(self) -> None:
        self.board.phase = "the shop is open"
        seconds = self.options.seconds
        closing_s = time.monotonic() + seconds if seconds is not None else float("inf")
        while not self.interrupts.asked and time.monotonic() < closing_s:
            self.feed.pump(_now_ms())
            self._tick()
        self.feed.close()

    def _finish(self) -> Verdict:
        """Wait for a quiet moment after everything has had its effect, then read the state and compare."""
        self.board.phase = "the shop is closed, waiting until Elo is idle"
        deadline = time.monotonic() + QUIET_WAIT_S
        while True:
            self._until_idle()
            after_ms = _now_ms()
            change_ms = self.shop.truth.next_change_ms(after_ms, QUIET_MS)
            if change_ms is None or time.monotonic() > deadline:
                break
            self.board.phase = "waiting for the last windows to end"
            while _now_ms() < change_ms + TIMER_GRACE_MS:
                self._tick()
        self.board.phase = "checking against the truth"
        from_ms = _now_ms()
        profiles = self._meanwhile(self.stage.state)
        to_ms = _now_ms()
        ledger, rejected = self._meanwhile(self._read_outputs)
        verdict = compare(self.shop.truth, profiles, rejected, from_ms=from_ms, to_ms=to_ms)
        ledger.check(verdict, profiles)
        return verdict

    def _until_idle(self) -> None:
        behind = self._meanwhile(lambda: wait_until_idle(self.stage.settings, IDLE_S))
        if behind:
            named = ", ".join(entry.sentence(_now_ms()) for entry in behind[:4])
            raise CommandFailed(f"Elo is still behind {IDLE_S:.0f} s after the last touchpoint: {named}")

    def _read_outputs(self) -> tuple[Ledger, Counter[str]]:
        """The output topics once more, from their beginning to their end."""
        ledger, rejected = Ledger(), Counter[str]()
        for batch in self.topics.read(to_end=True):
            for told in batch:
                _enter(told, ledger, rejected)
        return ledger, rejected

    def _meanwhile(self, work: Callable[[], Result]) -> Result:
        """Do blocking work in a thread while the view goes on. Raises what the work raised."""
        results: list[Result] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(work())
            except BaseException as error:  # noqa: BLE001  handed to the main thread, which raises it
                errors.append(error)

        thread = threading.Thread(target=run, name="demo-work", daemon=True)
        thread.start()
        while thread.is_alive():
            self._tick()
        if errors:
            raise errors[0]
        return results[0]

    def _tick(self) -> None:
        """Take in what was told, draw, look after the processes, and rest for a moment."""
        for told in self.outputs.take():
            self._see(told)
        now_s = time.monotonic()
        self.board.sent.mark(self.feed.sent, now_s)
        self.board.changes.mark(self.ledger.changes, now_s)
        if self.lag.looks:
            self.board.lag = self.lag.lag
            self.board.handled.mark(self.lag.handled, now_s)
        self.view.refresh(self.board, self.ledger)
        if now_s >= self._check_at:
            self._check_at = now_s + CHECK_S
            self.stage.check()
        time.sleep(TICK_S)

    def _see(self, told: Told) -> None:
        _enter(told, self.ledger, self.board.rejected)
        if told.kind == "merge":
            self.board.merges += 1
        if told.kind != "membership":
            return
        board, record = self.board, told.record
        if board.first_change_s is None:
            board.first_change_s = time.monotonic() - board.began_s
            self.view.say(f"the first membership change arrived {board.first_change_s:.1f} s after the start")
        story = self.storyteller.tell(record, told.received_ms)
        board.causes[record["cause"]] += 1
        if story.latency_ms is not None:
            board.see_latency(story.latency_ms)
        if record["cause"] == "timer":
            board.timer_late_ms_max = max(
                board.timer_late_ms_max, record["decided_at"] - record["occurred_at"]
            )
        if not (record["cause"] == "merge" and not story.entered):
            self.view.tell(story)


def run(settings: Settings, options: Options, console: Console) -> int:
    """Play one demo and return the exit code: 0 when the truth check passed, 1 otherwise.

    Raises: CommandFailed, BrokerError with one sentence; KeyboardInterrupt when it was not to be finished.
    """
    began_s = time.monotonic()

    def say(line: str) -> None:
        console.print(Text(line), soft_wrap=True)

    say(f"Elo demo: a live shop with {options.rate:g} touchpoints a second, seed {options.seed}")
    with Interrupts() as interrupts, Stage(settings, options.keep, say) as stage:
        session = Session(stage, options, console, began_s, interrupts)
        verdict = session.play()
        code = stage.stop_worker()
        if code != 0:
            verdict.differences.append(f"the worker ended with exit code {code}, not 0")
        truth = session.shop.truth
        show_summary(console, session.board, verdict, len(session.shop.people), truth.resent)
    return 0 if verdict.passed else 1


def _enter(told: Told, ledger: Ledger, rejected: Counter[str]) -> None:
    match told.kind:
        case "membership":
            ledger.change(told.record)
        case "merge":
            ledger.alias(told.record)
        case "rejected":
            rejected[told.record["reason"]] += 1
        case _:
            raise CommandFailed(str(told.record["error"]))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
