"""What the demo shows: a live screen on a terminal, lines of text elsewhere. It decides looks only."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from connectors.shop import SEGMENTS

from .board import Board, quantile
from .check import Verdict
from .ledger import Ledger
from .story import Story

FRAME_S: Final = 0.25
STATUS_S: Final = 5.0
LINES_PER_S: Final = 4  # stories as text; `elo tail membership` shows every change
BUSY: Final = "shopping-now"
"""The segment that changes all the time: told only when nothing else is."""
FIRST: Final = "madrid-running-no-purchase"
STORIES_KEPT: Final = 40
SEGMENTS_COLUMNS: Final = 55
FRAME_LINES: Final = 6  # borders of the panels, the heading of the segments, and a spare line


class View(Protocol):
    """Where stories and numbers go. `refresh` is called often and decides itself when to draw."""

    def tell(self, story: Story) -> None: ...
    def refresh(self, board: Board, ledger: Ledger) -> None: ...
    def say(self, line: str) -> None: ...
    def close(self) -> None: ...


def make_view(console: Console) -> View:
    """A live screen when the console is a terminal, lines of text otherwise."""
    return LiveView(console) if console.is_terminal else PlainView(console)


def numbers(board: Board) -> str:
    """The numbers in one line."""
    p50, p99 = quantile(list(board.recent_ms), 0.5), quantile(list(board.recent_ms), 0.99)
    latency = f"p50 {p50} ms, p99 {p99} ms" if p50 is not None else "no change yet"
    lag = "?" if board.lag is None else str(board.lag)
    return (
        f"in {board.sent.per_second():.0f}/s, out {board.handled.per_second():.0f}/s, lag {lag}, "
        f"changes {board.changes.per_second():.0f}/s, touch to change {latency}, "
        f"merges {board.merges}, rejected {sum(board.rejected.values())}"
    )


class PlainView:
    """Lines of text: at most `LINES_PER_S` stories a second, and the numbers every `STATUS_S`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._status_at = time.monotonic() + STATUS_S
        self._second = 0
        self._told = 0

    def tell(self, story: Story) -> None:
        """Print a story if this second has room for it."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._told = second, 0
        room = LINES_PER_S + (story.segment_id == FIRST) - (story.segment_id == BUSY) * (LINES_PER_S - 1)
        if self._told < room:
            self._told += 1
            mark = "+" if story.entered else "-"
            late = "" if story.latency_ms is None else f" ({story.latency_ms} ms)"
            self._line(f"{_clock(story.at_ms)} {mark} {story.sentence()}{late}")

    def refresh(self, board: Board, ledger: Ledger) -> None:
        """Print the numbers when it is time."""
        if time.monotonic() >= self._status_at:
            self._status_at += STATUS_S
            self._line(f"-- {board.phase}: {numbers(board)}")

    def say(self, line: str) -> None:
        """Print a line."""
        self._line(line)

    def close(self) -> None:
        """Nothing to undo."""

    def _line(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)


class LiveView:
    """A screen that is drawn four times a second."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._first: deque[Story] = deque(maxlen=STORIES_KEPT)
        self._others: deque[Story] = deque(maxlen=STORIES_KEPT)
        self._draw_at = 0.0
        self._live = Live(console=console, auto_refresh=False, screen=False, transient=True)
        self._live.start()

    def tell(self, story: Story) -> None:
        """Keep a story for the next frame. One of the busy segment only where nothing else was told."""
        if story.segment_id == FIRST:
            self._first.appendleft(story)
        elif story.segment_id != BUSY or len(self._others) < 3:
            self._others.appendleft(story)

    def refresh(self, board: Board, ledger: Ledger) -> None:
        """Draw when it is time."""
        now_s = time.monotonic()
        if now_s >= self._draw_at:
            self._draw_at = now_s + FRAME_S
            frame = screen(board, ledger, self._first, self._others, self.console.height)
            self._live.update(frame, refresh=True)

    def say(self, line: str) -> None:
        """Print a line above the screen."""
        self.console.print(Text(line))

    def close(self) -> None:
        """Give the terminal back; the screen goes, what was said stays."""
        self._live.stop()


def screen(
    board: Board, ledger: Ledger, first: Sequence[Story], others: Sequence[Story], height: int
) -> RenderableType:
    """One frame: the flow and the segments side by side, then the newest stories that fit. Fits 80 x 24."""
    top = Table.grid(expand=True)
    top.add_column(ratio=1)
    top.add_column(width=SEGMENTS_COLUMNS)
    flow = Panel(_flow(board), title="Elo demo", subtitle=f"{time.monotonic() - board.began_s:.0f} s")
    top.add_row(flow, Panel(_segments(ledger), title="Segments", subtitle=board.phase))
    room = max(4, (height - len(SEGMENTS) - FRAME_LINES) // 2)
    in_madrid = list(first)[: room // 2]
    told = Group(*(_lines(story) for story in [*in_madrid, *list(others)[: room - len(in_madrid)]]))
    return Group(
        top, Panel(told, title="Newest entries and exits", subtitle="Ctrl-C ends with a checked summary")
    )


def _flow(board: Board) -> Table:
    p50, p99 = quantile(list(board.recent_ms), 0.5), quantile(list(board.recent_ms), 0.99)
    rows = {
        "in": f"{board.sent.per_second():.0f}/s, {board.sent.total:,}",
        "out": f"{board.handled.per_second():.0f}/s",
        "lag": "unknown" if board.lag is None else f"{board.lag:,}",
        "changes": f"{board.changes.per_second():.0f}/s, {board.changes.total:,}",
        "p50, p99": "no change yet" if p50 is None else f"{p50}, {p99} ms",
        "timers": f"{board.timer_late_ms_max} ms late",
        "merges": f"{board.merges:,}",
        "rejected": f"{sum(board.rejected.values()):,}",
    }
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", no_wrap=True, min_width=8)
    table.add_column(no_wrap=True)
    for name, value in rows.items():
        table.add_row(name, value)
    reasons = ", ".join(f"{reason} {count}" for reason, count in board.rejected.most_common(3))
    table.add_row("", Text(reasons, style="dim", overflow="ellipsis", no_wrap=True))
    return table


def _segments(ledger: Ledger) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    for name in ("inside", "entered", "exited"):
        table.add_column(name, justify="right", no_wrap=True)
    for segment_id in SEGMENTS:
        counts = (ledger.inside[segment_id], ledger.entered[segment_id], ledger.exited[segment_id])
        style = "bold cyan" if segment_id == FIRST else ""
        table.add_row(Text(segment_id, style=style), *(f"{count:,}" for count in counts))
    return table


def _lines(story: Story) -> Text:
    """A story in two lines: who and where, then why."""
    colour = "green" if story.entered else "red"
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{_clock(story.at_ms)} ", style="dim")
    text.append("▶ " if story.entered else "◀ ", style=colour)
    text.append(story.who, style="bold").append(" enters " if story.entered else " leaves ")
    text.append(story.segment_id, style=colour).append(f"  {story.known_by}\n", style="dim")
    late = "" if story.latency_ms is None else f"  {story.latency_ms} ms"
    return text.append(f"           {story.why}").append(late, style="dim")


def _clock(at_ms: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_ms / 1_000))


def show_summary(console: Console, board: Board, verdict: Verdict, people: int, resent: int) -> None:
    """The table that is checked against the truth, the differences if there are any, and the latency."""
    table = Table(title="Checked against the simulator's truth", box=box.SIMPLE_HEAD)
    table.add_column("what")
    table.add_column("expected", justify="right")
    table.add_column("found", justify="right")
    table.add_column("")
    for row in verdict.rows:
        mark = Text("ok", style="green") if row.same else Text("DIFFERS", style="bold red")
        table.add_row(row.name, f"{row.expected:,}", f"{row.actual:,}", mark)
    console.print(table)
    for line in verdict.shown():
        console.print(Text(f"differs: {line}", style="red"), soft_wrap=True)
    lines = [
        (
            f"{people:,} people, {board.sent.total:,} values sent ({resent:,} of them twice), "
            f"{board.changes.total:,} membership changes, {board.merges:,} profiles merged"
        )
    ]
    if board.latencies_ms:
        p50, p99 = quantile(board.latencies_ms, 0.5), quantile(board.latencies_ms, 0.99)
        count = len(board.latencies_ms)
        lines.append(f"touch to committed change: p50 {p50} ms, p99 {p99} ms over {count:,} changes")
        lines.append(f"timers late by {board.timer_late_ms_max} ms at most")
    if board.first_change_s is not None:
        lines.append(f"first membership change {board.first_change_s:.1f} s after the start")
    if verdict.undecided:
        lines.append(
            f"not compared: {len(verdict.undecided)} memberships that changed while the state was read"
        )
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    done = (
        "Truth check passed."
        if verdict.passed
        else f"Truth check FAILED: {len(verdict.differences)} differences."
    )
    console.print(Text(done, style="bold green" if verdict.passed else "bold red"))
