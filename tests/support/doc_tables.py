"""Tables of the reference pages, and the schema of definitions, that are printed from code.

`make docs` writes them, tests compare them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_TABLE: Final = re.compile(r"(<!-- table:[^>]*-->\n).*?(<!-- /table -->)", re.DOTALL)


def settings_table() -> str:
    """One row a setting, from `pipeline.settings`."""
    from pipeline.settings import render_settings_table

    return render_settings_table()


def metrics_table() -> str:
    """One row a metric, by name.

    `declared_metrics()` gives {name as exposed: (kind, labels, help)}; a counter's name ends in `_total`.
    """
    from pipeline.runtime.metrics import declared_metrics

    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for name, (kind, labels, text) in sorted(declared_metrics().items()):
        cells = (f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels), text)
        rows.append("| " + " | ".join(cells).replace("|  |", "| |") + " |")
    return "\n".join(rows) + "\n"


def grammar_table() -> str:
    """One row a condition of segment definitions, with its keys."""
    from pipeline.core.segments.schema import grammar_table

    return grammar_table()


def traits_table() -> str:
    """One row a computation of computed traits, with its keys."""
    from pipeline.core.segments.schema import traits_table

    return traits_table()


def definition_schema() -> str:
    """The JSON Schema of segment definitions."""
    from pipeline.core.segments.schema import definition_schema

    return json.dumps(definition_schema(), indent=1) + "\n"


SCHEMA_FILE: Final = ROOT / "schemas" / "segments.schema.json"
TABLES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "docs/reference/settings.md": settings_table,
        "docs/reference/metrics.md": metrics_table,
        "docs/reference/segments.md": grammar_table,
        "docs/reference/traits.md": traits_table,
    }
)


def with_table(page: str, table: str) -> str:
    """The page with what stands between its table marks replaced. Raises ValueError without the marks."""
    if len(_TABLE.findall(page)) != 1:
        raise ValueError("the page needs one `<!-- table: … -->` and one `<!-- /table -->`")
    return _TABLE.sub(lambda marks: marks[1] + table + marks[2], page)


def main() -> None:
    """Write every table into its page, and the schema."""
    SCHEMA_FILE.write_text(definition_schema(), "utf-8")
    for path, render in TABLES.items():
        page = ROOT / path
        page.write_text(with_table(page.read_text("utf-8"), render()), "utf-8")
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
