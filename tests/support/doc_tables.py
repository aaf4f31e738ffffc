"""Tables of the reference pages, and the files of `schemas/`, that are printed from code.

`make docs` writes them, tests compare them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipeline.runtime.metrics import Declared

ROOT: Final = Path(__file__).resolve().parents[2]
_TABLE: Final = re.compile(r"(<!-- table:[^>]*-->\n).*?(<!-- /table -->)", re.DOTALL)


def settings_table() -> str:
    """One row a setting, from `pipeline.settings`."""
    from pipeline.settings import render_settings_table

    return render_settings_table()


def metrics_table() -> str:
    """One row a metric, by name; those of delivery have a page of their own."""
    from connectors.collect import metrics as collector
    from pipeline.runtime import reconcile_metrics
    from pipeline.runtime.metrics import declared_in, declared_metrics

    declared = declared_metrics() | declared_in(vars(collector)) | declared_in(vars(reconcile_metrics))
    return _metrics_table(declared)


def _metrics_table(declared: Mapping[str, Declared]) -> str:
    import yaml

    from tests.support.promql import alerts_of

    alerts = alerts_of(yaml.safe_load(RULES_FILE.read_text("utf-8")))
    rows = ["| metric | kind | unit | labels | meaning | alerts |", "|---|---|---|---|---|---|"]
    for name, metric in sorted(declared.items()):
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        linked = ", ".join(f"[`{one}`](../runbooks/{one}.md)" for one in alerts.get(name, ()))
        cells = (f"`{name}`", metric.kind, metric.unit, labels, metric.help, linked)
        rows.append(("| " + " | ".join(cells) + " |").replace("|  |", "| |").replace("|  |", "| |"))
    return "\n".join(rows) + "\n"


def delivery_metrics_table() -> str:
    """The same of `elo deliver run`."""
    from connectors.deliver.metrics import declared_metrics

    return _metrics_table(declared_metrics())


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


def asyncapi() -> str:
    """The AsyncAPI document of all topics."""
    from pipeline import __version__
    from pipeline.wire.asyncapi import asyncapi_document

    return json.dumps(asyncapi_document(__version__), indent=1, ensure_ascii=False) + "\n"


def roles_table() -> str:
    """One row a role of Kafka and what it may do."""
    from pipeline.access import render_roles_table

    return render_roles_table()


def chart_acls() -> str:
    """What the chart's Kafka users may do."""
    from pipeline.access import acls_document
    from pipeline.topics import Topics

    return json.dumps(acls_document(Topics()), indent=1) + "\n"


def chart_topics() -> str:
    """The topics that the chart asks Strimzi for, without prefix."""
    from pipeline.topics import Topics

    specs = [
        {"name": spec.name, "partitioned": spec.partitioned, "config": dict(spec.config)}
        for spec in Topics().specs()
    ]
    return json.dumps({"topics": specs}, indent=1) + "\n"


CHART: Final = ROOT / "deploy" / "helm" / "elo" / "files"
RULES_FILE: Final = ROOT / "deploy" / "prometheus" / "elo.rules.yml"
SCHEMA_FILE: Final = ROOT / "schemas" / "segments.schema.json"
ASYNCAPI_FILE: Final = ROOT / "schemas" / "asyncapi.json"
TABLES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "docs/reference/settings.md": settings_table,
        "docs/reference/metrics.md": metrics_table,
        "docs/reference/segments.md": grammar_table,
        "docs/reference/traits.md": traits_table,
        "docs/reference/delivery.md": delivery_metrics_table,
        "docs/security.md": roles_table,
    }
)


def with_table(page: str, table: str) -> str:
    """The page with what stands between its table marks replaced. Raises ValueError without the marks."""
    if len(_TABLE.findall(page)) != 1:
        raise ValueError("the page needs one `<!-- table: … -->` and one `<!-- /table -->`")
    return _TABLE.sub(lambda marks: marks[1] + table + marks[2], page)


def main() -> None:
    """Write every table into its page, the schema of definitions and the AsyncAPI document."""
    SCHEMA_FILE.write_text(definition_schema(), "utf-8")
    ASYNCAPI_FILE.write_text(asyncapi(), "utf-8")
    (CHART / "acls.json").write_text(chart_acls(), "utf-8")
    (CHART / "topics.json").write_text(chart_topics(), "utf-8")
    for path, render in TABLES.items():
        page = ROOT / path
        page.write_text(with_table(page.read_text("utf-8"), render()), "utf-8")
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
