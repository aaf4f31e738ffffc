"""The demo can be looked at on a terminal and read as lines."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from connectors.demo.board import Board, Rate, quantile
from connectors.demo.check import Verdict
from connectors.demo.ledger import Ledger
from connectors.demo.story import Story
from connectors.demo.view import LiveView, PlainView, make_view, numbers, screen, show_summary
from connectors.shop import SEGMENTS

WIDTH = 140


def story(segment_id: str = "vip", entered: bool = True) -> Story:
    return Story(1_790_000_000_000, segment_id, entered, "Ana of Madrid", "u-1", "bought jackets [web-1]", 12)


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    made = Console(
        file=out, force_terminal=terminal, width=WIDTH, height=40, color_system=None,
        _environ={"TERM": "xterm"},  # not that of whoever runs the tests
    )  # fmt: skip
    return made, out


def board() -> Board:
    made = Board(began_s=0.0, lag=3, merges=2)
    made.rejected["malformed_json"] = 4
    for latency_ms in range(1, 101):
        made.see_latency(latency_ms)
    return made


def test_lines_are_told_outside_a_terminal_with_a_bound_a_second() -> None:
    screen_less, out = console(terminal=False)
    view = make_view(screen_less)
    assert isinstance(view, PlainView)
    for _ in range(100):
        view.tell(story())
    lines = out.getvalue().splitlines()
    assert 4 <= len(lines) <= 8
    assert lines[0].endswith("+ Ana of Madrid (u-1) enters vip: bought jackets [web-1] (12 ms)")


def test_a_terminal_gets_a_screen_and_gets_it_back() -> None:
    terminal, out = console(terminal=True)
    view = make_view(terminal)
    assert isinstance(view, LiveView)
    view.tell(story("madrid-running-no-purchase"))
    view.refresh(board(), Ledger())
    view.say("the first change")
    view.close()
    assert "Ana of Madrid" in out.getvalue()
    assert "the first change" in out.getvalue()


@pytest.mark.parametrize("height", [10, 24, 60])
def test_a_frame_shows_the_numbers_every_segment_and_the_newest_stories(height: int) -> None:
    plain, out = console(terminal=False)
    ledger = Ledger()
    ledger.inside["vip"] = 17
    plain.print(screen(board(), ledger, [story("madrid-running-no-purchase")], [story()] * 9, height))
    text = out.getvalue()
    assert all(segment in text for segment in SEGMENTS)
    assert "51, 100 ms" in text
    assert "17" in text
    assert text.count("bought jackets") >= 4
    assert all(len(line) <= WIDTH for line in text.splitlines())


def test_numbers_are_said_before_anything_is_known() -> None:
    assert numbers(Board(began_s=0.0)) == (
        "in 0/s, out 0/s, lag ?, changes 0/s, touch to change no change yet, merges 0, rejected 0"
    )


def test_the_summary_names_every_difference_up_to_a_bound() -> None:
    plain, out = console(terminal=False)
    verdict = Verdict()
    verdict.add("profiles", 2, 2)
    verdict.add("identifiers", 30, 29, [f"identifier {number} is missing" for number in range(30)])
    show_summary(plain, board(), verdict, people=5, resent=1)
    text = out.getvalue()
    assert "DIFFERS" in text
    assert text.count("is missing") == 20
    assert "and 10 more differences" in text
    assert "Truth check FAILED: 30 differences." in text


def test_a_rate_is_over_the_last_seconds_only() -> None:
    rate = Rate()
    assert rate.per_second() == 0.0
    for second in range(20):
        rate.mark(100 * second if second < 10 else 900 + 10 * (second - 9), float(second))
    assert rate.per_second() == pytest.approx(10.0)


def test_quantiles_of_few_values() -> None:
    assert quantile([], 0.5) is None
    assert quantile([7], 0.99) == 7
    assert quantile([3, 1, 2], 0.5) == 2
