"""Weights as a picture: an SVG of our own that needs no other program.

Each line goes on where the one above it ended, from the prior to the total; to the right is for one person.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Final

from .explain import bars

if TYPE_CHECKING:
    from ..core.matching.explain import Waterfall

LABEL_PX: Final = 300
CHART_PX: Final = 420
NOTE_PX: Final = 260
ROW_PX: Final = 24
MARGIN_PX: Final = 16
WIDTH_PX: Final = LABEL_PX + CHART_PX + NOTE_PX + 2 * MARGIN_PX
_STYLE: Final = (
    "svg{background:#fff}text{font:12px ui-monospace,monospace}.title{font-weight:bold}.zero{stroke:#c9d1d9}"
    ".for{fill:#1a7f37}.against{fill:#cf222e}.total{fill:#0969da}.note{fill:#57606a}"
)


def to_svg(headline: str, parts: list[tuple[str, Waterfall]]) -> str:
    """The waterfalls below each other, each under its title."""
    body = [_text(MARGIN_PX, MARGIN_PX + 12, headline, "title")]
    top = MARGIN_PX + ROW_PX
    for title, found in parts:
        body.append(_text(MARGIN_PX, top + 17, title, "note"))
        rows = list(bars(found))
        top += ROW_PX
        body += _rows(rows, top)
        top += ROW_PX * len(rows) + MARGIN_PX
    size = f'width="{WIDTH_PX}" height="{top}" viewBox="0 0 {WIDTH_PX} {top}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{_STYLE}</style>{"".join(body)}</svg>'


def _rows(rows: list[tuple[str, float, str]], top: int) -> Iterator[str]:
    spans: list[tuple[float, float]] = []
    at = 0.0
    for _, weight, _ in rows[:-1]:
        spans.append((at, at + weight))
        at += weight
    spans.append((0.0, rows[-1][1]))
    least = min(0.0, *(min(span) for span in spans))
    most = max(0.0, *(max(span) for span in spans))
    scale = CHART_PX / max(most - least, 1e-9)
    left = MARGIN_PX + LABEL_PX

    def x_of(weight: float) -> float:
        return left + (weight - least) * scale

    height = ROW_PX * len(rows)
    yield f'<path class="zero" d="M{x_of(0.0):.1f} {top}v{height}"/>'
    for row, ((label, weight, note), (start, end)) in enumerate(zip(rows, spans, strict=True)):
        y = top + ROW_PX * row
        style = "total" if row == len(rows) - 1 else "for" if weight >= 0 else "against"
        x, width = x_of(min(start, end)), max(abs(end - start) * scale, 1.0)
        yield _text(MARGIN_PX, y + 16, label)
        yield f'<rect class="{style}" x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="{ROW_PX - 8}"/>'
        said = f"{weight:+.2f}" + (f" {note}" if note else "")
        yield _text(left + CHART_PX + MARGIN_PX // 2, y + 16, said, "note")


def _text(x: float, y: float, text: str, style: str = "") -> str:
    marked = f' class="{style}"' if style else ""
    return f'<text{marked} x="{x:g}" y="{y:g}">{escape(text)}</text>'
