"""How well a clustering fits the truth: pairwise and B-cubed precision, recall and F1. Pure arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping


def measure(clusters: Mapping[str, str], truth: Mapping[str, str]) -> dict[str, float]:
    """`clusters` and `truth`: record id → cluster and entity; the same non-empty set of records."""
    joint = Counter((clusters[record], entity) for record, entity in truth.items())
    found, entities = Counter(clusters.values()), Counter(truth.values())
    correct = _pairs(joint.values())
    precision = _share(correct, _pairs(found.values()))
    recall = _share(correct, _pairs(entities.values()))
    cubed_precision = sum(n * n / found[cluster] for (cluster, _), n in joint.items()) / len(truth)
    cubed_recall = sum(n * n / entities[entity] for (_, entity), n in joint.items()) / len(truth)
    return {
        "records": len(truth),
        "entities": len(entities),
        "clusters": len(found),
        "largest_cluster": max(found.values()),
        "precision": round(precision, 6),
        "recall": round(recall, 6),
        "f1": round(_mean(precision, recall), 6),
        "b3_f1": round(_mean(cubed_precision, cubed_recall), 6),
    }


def _pairs(sizes: Iterable[int]) -> int:
    return sum(n * (n - 1) // 2 for n in sizes)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0  # no pair claimed, or none to be found: nothing is wrong


def _mean(precision: float, recall: float) -> float:
    return 2.0 * precision * recall / (precision + recall) if precision + recall else 0.0
