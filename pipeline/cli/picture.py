"""Evidence as a picture: Graphviz text, or an SVG of our own that needs no other program.

Every profile is a band of its own. From left to right stand its anchor, what was seen together with it, and
so on. A link that unites is a full line, a refused one is dashed and carries its reason; what the question
was about is bold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

from ..core.evidence import Edge, Evidence, path_between
from ..core.instant import format_instant

CHAR_PX: Final = 7
BOX_PX: Final = 26
COLUMN_GAP_PX: Final = 90
ROW_PX: Final = 44
TITLE_PX: Final = 26
MARGIN_PX: Final = 16
_STYLE: Final = (
    "svg{background:#fff}text{font:12px ui-monospace,monospace}.band{fill:#f4f6f8;stroke:#c9d1d9}"
    ".box{fill:#fff;stroke:#57606a}.asked{stroke-width:3}.link{stroke:#57606a;fill:none}"
    ".path{stroke:#0969da;stroke-width:3}.refused{stroke:#cf222e;stroke-dasharray:5 4}.title{fill:#57606a}"
    ".reason{fill:#cf222e;stroke:#fff;stroke-width:4px;paint-order:stroke}"
)


@dataclass(frozen=True, slots=True)
class Band:
    """One profile: its title, and its identifiers in columns, the anchor alone in the first."""

    title: str
    columns: list[list[str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn. `asked`: the identifiers of the question; `path`: the links of its answer."""

    bands: list[Band]
    edges: list[Edge]
    asked: Collection[str]
    path: Collection[Edge]


def picture_of(evidences: Iterable[Evidence], asked: Collection[str], path: Collection[Edge]) -> Picture:
    """The components of a question, each once."""
    by_root = {evidence.root: evidence for evidence in evidences}
    bands: list[Band] = []
    edges: list[Edge] = []
    drawn: set[str] = set()
    for evidence in by_root.values():
        for profile in {one.id: one for one in evidence.profiles.values()}.values():
            anchor = profile.anchor[2]
            bands.append(Band(f"profile {profile.id}", _columns(evidence, anchor, profile.identifiers)))
            drawn.update(profile.identifiers)
        edges += evidence.edges
    ends = [end for edge in edges for end in (edge.stronger, edge.weaker)]
    known = [one for evidence in by_root.values() for one in evidence.identifiers]
    nobody = [one for one in dict.fromkeys([*known, *ends]) if one not in drawn]
    if nobody:
        bands.append(Band("in none of these profiles", [nobody]))
    return Picture(bands, edges, asked, path)


def _columns(evidence: Evidence, anchor: str, identifiers: list[str]) -> list[list[str]]:
    columns: dict[int, list[str]] = {}
    for identifier in identifiers:
        path = path_between(evidence.edges, anchor, identifier)
        columns.setdefault(1 if path is None else len(path), []).append(identifier)
    return [columns[distance] for distance in sorted(columns)]


def _tooltip(edge: Edge) -> str:
    if edge.decision is not None:
        return edge.decision.in_words()
    if edge.weight is not None:
        return f"match, weight {edge.weight:g}"
    return f"{edge.touches} x, {format_instant(edge.first_ms)} to {format_instant(edge.last_ms)}"


# -- Graphviz -----------------------------------------------------------------------------------------------


def to_dot(picture: Picture) -> str:
    """The picture for `dot`, `neato` and other programs of Graphviz."""
    lines = ["graph identity {", "  rankdir=LR; node [shape=box, fontname=monospace]; edge [fontsize=10];"]
    for number, band in enumerate(picture.bands):
        lines += [f"  subgraph cluster_{number} {{", f"    label={_quoted(band.title)}; color=gray;"]
        for identifier in (one for column in band.columns for one in column):
            bold = " [penwidth=3]" if identifier in picture.asked else ""
            lines.append(f"    {_quoted(identifier)}{bold};")
        lines.append("  }")
    for edge in picture.edges:
        seen = f"{edge.touches} x" if edge.decision is None else "decision"
        seen = seen if edge.weight is None else "match"
        label = f"{edge.reason}\\n{seen}" if edge.reason else seen
        style = ["style=dashed", "color=red"] if edge.reason else []
        style += ["penwidth=3"] if edge in picture.path else []
        shown = ", ".join([f'label="{label}"', f"tooltip={_quoted(_tooltip(edge))}", *style])
        lines.append(f"  {_quoted(edge.stronger)} -- {_quoted(edge.weaker)} [{shown}];")
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'


# -- SVG ----------------------------------------------------------------------------------------------------


def to_svg(picture: Picture) -> str:
    """The picture as an SVG document; hovering over a link shows when it was seen."""
    places: dict[str, tuple[int, int, int]] = {}
    boxes: list[str] = []
    right, top = 0, MARGIN_PX
    for band in picture.bands:
        x, height = 2 * MARGIN_PX, TITLE_PX + ROW_PX * max(len(column) for column in band.columns)
        for column in band.columns:
            width = max(len(one) for one in column) * CHAR_PX + 2 * MARGIN_PX
            for row, identifier in enumerate(column):
                places[identifier] = x, top + TITLE_PX + row * ROW_PX + 4, width
            x += width + COLUMN_GAP_PX
        width = max(x - COLUMN_GAP_PX, len(band.title) * CHAR_PX + 2 * MARGIN_PX)
        boxes.append(
            f'<rect class="band" x="{MARGIN_PX}" y="{top}" width="{width}" height="{height}" rx="6"/>'
            f'<text class="title" x="{2 * MARGIN_PX}" y="{top + 18}">{escape(band.title)}</text>'
        )
        right, top = max(right, width + 2 * MARGIN_PX), top + height + MARGIN_PX
    body = [*boxes, *_lines(picture, places), *_nodes(picture, places)]
    size = f'width="{right}" height="{top}" viewBox="0 0 {right} {top}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{_STYLE}</style>{"".join(body)}</svg>'


def _nodes(picture: Picture, places: dict[str, tuple[int, int, int]]) -> Iterator[str]:
    for identifier, (x, y, width) in places.items():
        style = "box asked" if identifier in picture.asked else "box"
        yield f'<rect class="{style}" x="{x}" y="{y}" width="{width}" height="{BOX_PX}" rx="4"/>'
        yield f'<text x="{x + MARGIN_PX}" y="{y + 17}">{escape(identifier)}</text>'


def _lines(picture: Picture, places: dict[str, tuple[int, int, int]]) -> Iterator[str]:
    for edge in picture.edges:
        (x1, y1, w1), (x2, y2, w2) = sorted((places[edge.stronger], places[edge.weaker]))
        y1, y2 = y1 + BOX_PX // 2, y2 + BOX_PX // 2
        start = x1 + w1
        end, bend = (x2, (start + x2) // 2) if x2 >= start else (x2 + w2, max(start, x2 + w2) + 45)
        style = "link" + (" refused" if edge.reason else "") + (" path" if edge in picture.path else "")
        line = f"M{start} {y1}C{bend} {y1} {bend} {y2} {end} {y2}"
        yield f'<path class="{style}" d="{line}"><title>{escape(_tooltip(edge))}</title></path>'
        if edge.reason:
            yield f'<text class="reason" x="{bend}" y="{(y1 + y2) // 2}">{escape(edge.reason)}</text>'
