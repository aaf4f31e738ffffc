"""Reads expressions of Prometheus, and holds their metrics and labels against what is declared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import promql_parser as promql
from prometheus_client import Histogram

from connectors.collect import metrics as collector
from connectors.deliver import metrics as delivery
from pipeline.runtime import metrics as worker
from pipeline.runtime import reconcile_metrics as reconcile

MODULES: Final = (worker, collector, delivery, reconcile)
TARGET: Final = frozenset(("job", "instance"))
"""Labels that a scrape adds."""
INFO: Final = {"elo_build_info": frozenset(("version", "policy_version", "compiled"))}
"""Labels of the info metrics, which are set with their values."""
VARIABLES: Final = {"$__rate_interval": "5m", "$job": ".*"}
"""What Grafana puts in place of its variables."""
_LABELS: Final = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")


def declared_series() -> dict[str, frozenset[str]]:
    """Every series that a scrape of Elo's processes can hold: name → labels."""
    found = {"up": TARGET}
    for module in MODULES:
        for name, metric in worker.declared_in(vars(module)).items():
            own = TARGET | set(metric.labels) | INFO.get(name, frozenset())
            if metric.kind == "histogram":
                found |= {f"{name}_bucket": own | {"le"}, f"{name}_sum": own, f"{name}_count": own}
            else:
                found[name] = own
    return found


def declared_buckets() -> dict[str, set[str]]:
    """Histogram → the values of `le` as they are scraped."""
    found = {}
    for module in MODULES:
        for metric in vars(module).values():
            if isinstance(metric, Histogram):
                bounds = {str(float(bound)) for bound in metric._kwargs["buckets"]}
                found[f"{metric._name}_bucket"] = bounds | {"+Inf"}
    return found


class Reader:
    """Follows the labels through expressions. `series`: name → labels; rules that record add theirs."""

    def __init__(self) -> None:
        self.series = declared_series()
        self.buckets = declared_buckets()
        self.used: set[str] = set()
        self.wrong: list[str] = []

    def labels_of(self, text: str) -> frozenset[str]:
        """Labels of the result of an expression; what is wrong in it is added to `wrong`."""
        return self._labels(promql.parse(text))

    def expect(self, labels: frozenset[str], text: str) -> None:
        """A legend or an annotation may show only these labels."""
        for label in shown_labels(text):
            if label not in labels:
                self.wrong.append(f"{text}: the result has no label {label}")

    def _labels(self, node: Any) -> frozenset[str]:
        match node:
            case promql.VectorSelector():
                return self._selector(node)
            case promql.MatrixSelector():
                return self._selector(node.vector_selector)
            case promql.AggregateExpr():
                return self._aggregate(node)
            case promql.BinaryExpr():
                return self._binary(node)
            case promql.Call():
                inner = frozenset[str]().union(*(self._labels(argument) for argument in node.args))
                return inner - {"le"} if node.func.name == "histogram_quantile" else inner
            case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
                return self._labels(node.expr)
            case promql.NumberLiteral() | promql.StringLiteral():
                return frozenset()
        raise TypeError(f"an expression of the kind {type(node).__name__} is not read yet")

    def _selector(self, node: Any) -> frozenset[str]:
        self.used.add(node.name)
        if node.name not in self.series:
            self.wrong.append(f"{node.name} is not declared")
            return frozenset()
        labels = self.series[node.name]
        for matcher in node.matchers.matchers:
            if matcher.name not in labels:
                self.wrong.append(f"{node.name} has no label {matcher.name}")
            elif matcher.name == "le" and matcher.value not in self.buckets[node.name]:
                self.wrong.append(f"{node.name} has no bucket {matcher.value}")
        return labels

    def _aggregate(self, node: Any) -> frozenset[str]:
        inner = self._labels(node.expr)
        if node.modifier is None:
            return frozenset()
        named = frozenset(node.modifier.labels)
        self._known(named, inner)
        return named if node.modifier.type == promql.AggModifierType.By else inner - named

    def _binary(self, node: Any) -> frozenset[str]:
        left, right = self._labels(node.lhs), self._labels(node.rhs)
        matching = node.modifier.matching if node.modifier else None
        if matching is not None:
            self._known(frozenset(matching.labels), left & right)
        return left or right

    def _known(self, named: frozenset[str], labels: frozenset[str]) -> None:
        self.wrong += [f"{label} is grouped by, but not there" for label in sorted(named - labels)]


def as_sent(expression: str) -> str:
    """An expression of a dashboard as Grafana would send it."""
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


def shown_labels(text: str) -> Iterator[str]:
    """Labels in a legend (`{{topic}}`) or in an annotation (`{{ $labels.topic }}`)."""
    yield from (name for name in _LABELS.findall(text))


def grouped(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rules of a file of rules, in order."""
    for group in document["groups"]:
        yield from group["rules"]


def alerts_of(rules: Mapping[str, Any]) -> dict[str, list[str]]:
    """Metric → the alerts that look at it, directly or over what is recorded. `rules`: a file of them."""
    recorded, found = dict[str, set[str]](), dict[str, list[str]]()
    for rule in grouped(rules):
        reader = Reader()
        reader.labels_of(rule["expr"])
        used = {metric for name in reader.used for metric in recorded.get(name, {name})}
        if "record" in rule:
            recorded[rule["record"]] = used
            continue
        for name in used:
            alerts = found.setdefault(re.sub(r"_(bucket|sum|count)$", "", name), [])
            if rule["alert"] not in alerts:
                alerts.append(rule["alert"])
    return found
