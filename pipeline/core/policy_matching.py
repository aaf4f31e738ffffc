"""What an identity policy says about matching, checked when it is read: who is compared, and what follows.

It must not know how records are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from .matching.document import MalformedModel
from .matching.model import Model
from .policy_fields import Section
from .segments.document import Node, similar_to

EXAMPLE: Final = "matching: {model: shipped, merge_above: 10, review_above: 4}"
MERGE_ABOVE: Final = 10.0
REVIEW_ABOVE: Final = 4.0
BLOCK_RECORDS_MAX: Final = 60
WEIGHT_MAX: Final = 1_000
BLOCK_MAX: Final = 1_000
_KEYS: Final = ("model", "merge_above", "review_above", "block_records_max")


SHIPPED: Final = "shipped"
FILE_SUFFIX: Final = ".json"
Models: TypeAlias = Callable[[str], Model]
"""The trained model that goes by a name in the policy. Raises MalformedModel."""


def no_models(name: str) -> Model:
    """For a policy that comes without a trained model."""
    raise MalformedModel("none comes with this policy")


@dataclass(frozen=True, slots=True)
class Matching:
    """Weights are binary logarithms of odds: of two records with a weight of 10 or more, one pair in 1,024
    would be of two people.

    `merge_above`: a pair of at least this weight is evidence of one person. `review_above`: a pair of at
    least this weight is shown to a steward. `block_records_max`: a blocking key that more records have finds
    nobody. `model`: `shipped`, or the version of the trained one, which is `trained`.
    """

    model: str = SHIPPED
    merge_above: float = MERGE_ABOVE
    review_above: float = REVIEW_ABOVE
    block_records_max: int = BLOCK_RECORDS_MAX
    trained: Model | None = field(default=None, compare=False, repr=False)
    """The version says all of it: it is a hash of the content."""


def records_max(matching: Matching | None) -> int:
    """How many records may share a blocking key, also where nobody is compared."""
    return BLOCK_RECORDS_MAX if matching is None else matching.block_records_max


def read_matching(node: Node | None, models: Models) -> Matching | None:
    """The section `matching`; None without one: nobody is compared."""
    if node is None:
        return None
    section = Section(node, "matching", _KEYS, EXAMPLE)
    if "model" not in section.entries:
        node.refuse("matching has no model", f"write for example {EXAMPLE}")
    trained = _trained(section.entries["model"], models)
    found = Matching(
        model=SHIPPED if trained is None else str(trained.document()["version"]),
        merge_above=_weight(section, "merge_above", MERGE_ABOVE),
        review_above=_weight(section, "review_above", REVIEW_ABOVE),
        block_records_max=section.integer("block_records_max", BLOCK_RECORDS_MAX, least=2),
        trained=trained,
    )
    if found.review_above > found.merge_above:
        place = section.entries.get("review_above", node)
        problem = f"matching.review_above is {found.review_above:g}, above merge_above {found.merge_above:g}"
        place.refuse(problem, "write a smaller weight")
    if found.block_records_max > BLOCK_MAX:
        place = section.entries["block_records_max"]
        place.refuse(f"matching.block_records_max is {found.block_records_max}", f"write at most {BLOCK_MAX}")
    return found


def _trained(node: Node, models: Models) -> Model | None:
    """The model that a policy names; None for the shipped one."""
    name, path = node.value, "matching.model"
    if not isinstance(name, str):
        node.refuse(
            f"{path} is one word, not {node.kind()}", f"write {SHIPPED}, or the name of a model's file"
        )
    if name == SHIPPED:
        return None
    if not name.endswith(FILE_SUFFIX):
        hint = similar_to(name, (SHIPPED,), f"write a file's name that ends in {FILE_SUFFIX}, or")
        node.refuse(f"{path} cannot be {name!r}", hint)
    try:
        return models(name)
    except MalformedModel as error:
        node.refuse(f"the model {name} cannot be used: {error}", "name a file of `elo identity train`")


def _weight(section: Section, key: str, default: float) -> float:
    node = section.entries.get(key)
    if node is None:
        return default
    path, value = section.path(key), node.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        node.refuse(f"{path} is a number, not {node.kind()}", f"write for example {key}: {default:g}")
    if not 0 <= value <= WEIGHT_MAX:
        node.refuse(f"{path} is {value:g}", f"write a weight from 0 to {WEIGHT_MAX}")
    return float(value)
