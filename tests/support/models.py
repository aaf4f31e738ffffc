"""Trained models for tests, by the names by which policies call them: `model-1.json`, `model-2.json`, …"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from pipeline.core.matching.matcher import Matcher
from pipeline.core.matching.model import Model
from pipeline.core.matching.record import Record
from pipeline.core.policy import Policy, parse_policy
from tests.support.people import make_people

FAMILIES: Final = 40


@lru_cache
def trained(name: str) -> Model:
    """Learned from made-up people of its own: the number in the name is their seed."""
    seed = int(name.removesuffix(".json").rpartition("-")[2])
    matcher = Matcher(Record(one.record_id, dict(one.fields)) for one in make_people(seed, FAMILIES))
    matcher.train()
    return matcher.model


def policy_from(document: Mapping[str, Any]) -> Policy:
    """A policy as a worker has it, with the model that it names."""
    return parse_policy(document, trained)


def model_in(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The document of the trained model that a policy names; None if it names none."""
    name = document.get("matching", {}).get("model", "")
    return trained(name).document() if name.endswith(".json") else None
