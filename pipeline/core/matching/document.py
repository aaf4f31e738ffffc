"""A trained model as a document: what `elo identity train` writes, and whoever matches with it reads.

It holds chances, priors and how often names and places occur, and nothing that belongs to a single person:
numbers, contacts and values that fewer than `FREQUENT_MIN` records hold are left out, and count as unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from .defaults import DEFAULTS
from .levels import NAMES
from .model import FORMAT, Model, version_of

FREQUENT_MIN: Final = 10
TABLES: Final = frozenset("flyvszcbor")
"""Given and other names, their initials, streets, postcodes, cities, birth places, occupations, ethnicity."""
PARTS: Final = (
    "format", "records", "match_prior", "relative_prior", "copies", "matches", "relatives", "frequencies",
)  # fmt: skip
RECORDS_MAX: Final = 10**12
FREQUENCIES_BYTES_MAX: Final = 700_000
"""About 35,000 values, the most frequent ones; what is left out weighs as what nobody holds."""
MODEL_BYTES_MAX: Final = 800_000
"""Of a model that is published: with its policy it fits into one message of a broker as it comes (1 MB)."""
SUM_SLACK: Final = 1e-6  # chances are sums of floats


class MalformedModel(ValueError):
    """A document that is no model. The message is one sentence."""


def frequent(counts: Mapping[str, int], bytes_max: int = FREQUENCIES_BYTES_MAX) -> dict[str, int]:
    """The frequencies that a model may hold: of too many, the greatest."""
    common = [(term, n) for term, n in counts.items() if n >= FREQUENT_MIN and term[0] in TABLES]
    common.sort(key=lambda one: (-one[1], one[0]))
    kept, size = {}, 0
    for term, n in common:
        size += len(orjson.dumps({term: n}))
        if size > bytes_max:
            break
        kept[term] = n
    return dict(sorted(kept.items()))


def encode_model(model: Model) -> bytes:
    """A model as bytes, without a blank; equal models give equal bytes."""
    return orjson.dumps(model.document())


def decode_model(value: bytes) -> Model:
    """The model of a document as bytes. Raises MalformedModel."""
    try:
        return read_model(orjson.loads(value))
    except orjson.JSONDecodeError:
        raise MalformedModel("it is no JSON") from None


def read_model(document: object) -> Model:
    """The model of `Model.document()`. Raises MalformedModel."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise MalformedModel(f"it is no model of the format {FORMAT}")
    content = {name: value for name, value in document.items() if name != "version"}
    if sorted(content) != sorted(PARTS):
        raise MalformedModel(f"besides its version it must hold exactly {', '.join(PARTS)}")
    model = Model(
        _number(content, "records", 2, RECORDS_MAX, whole=True),
        _number(content, "match_prior", 1e-15, 1.0),
        _number(content, "relative_prior", 1e-15, 1.0),
        _number(content, "copies", 1.0, RECORDS_MAX),
        _chances(content, "matches"),
        _chances(content, "relatives"),
        _frequencies(content),
    )
    try:
        version = version_of(content)
    except TypeError:  # texts that no UTF-8 holds
        version = ""
    if not version or document.get("version") != version:
        raise MalformedModel("its version does not fit its content; train it anew instead of editing it")
    return model


def _number(content: Mapping[str, Any], name: str, least: float, most: float, *, whole: bool = False) -> Any:
    value = content.get(name)
    if _is_number(value, least, most) and (not whole or isinstance(value, int)):
        return value
    raise MalformedModel(f"{name} must be a{' whole' * whole} number from {least:g} to {most:g}")


def _is_number(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _chances(content: Mapping[str, Any], part: str) -> dict[int, tuple[float, ...]]:
    given = content.get(part)
    if not isinstance(given, dict) or sorted(given) != sorted(NAMES):
        raise MalformedModel(f"{part} must hold exactly the comparisons of this version of Elo")
    found = {}
    for number, shipped in DEFAULTS.items():
        name, levels = NAMES[number], len(shipped.m)
        chances = given[name]
        if not isinstance(chances, list) or len(chances) != levels:
            raise MalformedModel(f"{part}.{name} must be a list of {levels} chances, one for each level")
        if not all(_is_number(one, 0.0, 1.0) for one in chances) or abs(sum(chances) - 1.0) > SUM_SLACK:
            raise MalformedModel(f"{part}.{name} must hold chances from 0 to 1 that add up to 1")
        found[number] = tuple(float(one) for one in chances)
    return found


def _frequencies(content: Mapping[str, Any]) -> dict[str, int]:
    given = content.get("frequencies")
    if not isinstance(given, dict):
        raise MalformedModel("frequencies must be an object of values and how many records hold them")
    for term, count in given.items():
        if not isinstance(term, str) or term[:1] not in TABLES or term[1:2] != ":":
            raise MalformedModel("frequencies holds a value of an unknown kind")
        if not isinstance(count, int) or not _is_number(count, 0, content["records"]):
            raise MalformedModel("frequencies must be whole numbers, none larger than records")
    return dict(given)
