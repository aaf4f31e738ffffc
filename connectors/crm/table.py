"""A CSV file row by row: judged as the intake will judge it, sent, counted; what is refused goes to a file.

It can be interrupted: how far it is, is kept on disk, and the next run goes on there. A row has the same
event id each time, so rows that are sent twice count once. It must not know how a touchpoint is sent.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO

import orjson

from pipeline.core.errors import Reason, Rejection
from pipeline.core.touchpoint import TouchpointReader

from .mapping import BadValue, RowMapping

KEPT_ROWS: Final = 5_000
"""Rows between two notes of how far it is: so many at most are sent again after a kill."""
FIELD_CHARS_MAX: Final = 1_000_000
OWN_COLUMNS: Final = ("elo_row", "elo_reason", "elo_field", "elo_detail")


@dataclass(slots=True)
class Progress:
    """How far an import is. `rows`: those that are done, the header not counted."""

    started_ms: int
    rows: int = 0
    sent: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def write(self, path: Path) -> None:
        """Keep it; a kill leaves the old note or the new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        note = path.with_suffix(".new")
        note.write_bytes(orjson.dumps({"started_ms": self.started_ms, "rows": self.rows, "sent": self.sent,
                                       "refused": dict(self.refused)}))  # fmt: skip
        note.replace(path)


def read_progress(path: Path, now_ms: int) -> Progress:
    """What an interrupted import has left, or a new beginning."""
    try:
        kept = orjson.loads(path.read_bytes())
        return Progress(kept["started_ms"], kept["rows"], kept["sent"], Counter(kept["refused"]))
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return Progress(now_ms)


def import_key(file: Path, mapping_text: str) -> str:
    """Names an import: this file, as it is now, by this mapping."""
    status = file.stat()
    told = f"{file.resolve()}\n{status.st_size}\n{status.st_mtime_ns}\n{mapping_text}"
    return sha256(told.encode()).hexdigest()[:32]


class BadFile(Exception):
    """The file as a whole cannot be read; the message says why."""


@contextmanager
def opened(file: Path) -> Iterator[TextIO]:
    """The text of a CSV file in UTF-8, also packed as .gz. Whoever reads it badly raises BadFile."""
    open_ = gzip.open if file.name.endswith(".gz") else open
    try:
        with open_(file, "rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
            yield text
    except UnicodeDecodeError:
        raise BadFile("it is not UTF-8, write it anew, for example with iconv -f latin1 -t utf-8") from None
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise BadFile("the gzip data is damaged or breaks off") from None


class Table:
    """Reads the rows of a file by a mapping, and judges each as the intake does."""

    def __init__(self, mapping: RowMapping, judge: TouchpointReader, text: TextIO, delimiter: str) -> None:
        """Raises BadFile when the header lacks a column that the mapping names, or has it twice."""
        csv.field_size_limit(FIELD_CHARS_MAX)
        self.mapping, self._judge = mapping, judge
        self._rows = csv.reader(text, delimiter=delimiter, strict=True)
        self.header = [name.strip() for name in next(self._rows, [])]
        if missing := sorted(mapping.columns() - set(self.header)):
            raise BadFile(f"there is no column {missing[0]!r}, the file has {', '.join(self.header)}")
        if twice := sorted(name for name in mapping.columns() if self.header.count(name) > 1):
            raise BadFile(f"there are several columns {twice[0]!r}, give them different names")

    def skip(self, rows: int) -> None:
        """Leave out rows that are done, counted as `rows` gives them."""
        for _ in islice(self._lines(), rows):
            pass

    def rows(self, started_ms: int) -> Iterator[tuple[list[str], dict[str, Any] | Rejection]]:
        """Each row with its touchpoint, or why it is refused. `started_ms`: when no column says when."""
        for found in self._lines():
            yield ([], found) if isinstance(found, Rejection) else (found, self._read(found, started_ms))

    def _lines(self) -> Iterator[list[str] | Rejection]:
        """The cells of each row that is not empty, or why it is none."""
        while True:
            try:
                cells = next(self._rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield Rejection(Reason.INVALID_FIELD, "", f"line {self._rows.line_num}: {error}")
            else:
                if cells:
                    yield cells

    def _read(self, cells: list[str], started_ms: int) -> dict[str, Any] | Rejection:
        if len(cells) != len(self.header):
            detail = f"{len(cells)} columns, the header has {len(self.header)}"
            return Rejection(Reason.INVALID_FIELD, "", detail)
        row = dict(zip(self.header, cells, strict=True))
        try:
            touchpoint = self.mapping.touchpoint(row, self._id(row), started_ms, takes_back=False)
        except BadValue as bad:
            return Rejection(Reason.INVALID_FIELD, bad.field, bad.detail)
        judged = self._judge.judge(touchpoint, started_ms)
        return judged if isinstance(judged, Rejection) else touchpoint

    def _id(self, row: dict[str, str]) -> str:
        """The same for the same content: a row that is imported again counts once."""
        used = sorted((name, row[name]) for name in self.mapping.columns())
        return sha256(orjson.dumps([self.mapping.source, self.mapping.type, used])).hexdigest()
