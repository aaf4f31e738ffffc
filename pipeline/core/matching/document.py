"""A trained model as a document: what `elo identity train` writes and `elo identity evaluate --model` reads.

It holds chances, priors and how often names and places occur, and nothing that belongs to a single person:
numbers, contacts and values that fewer than `FREQUENT_MIN` records hold are left out, and count as unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import orjson

from .defaults import DEFAULTS
from .levels import NAMES
from .model import Model

FORMAT: Final = "elo-matching-1"
FREQUENT_MIN: Final = 10
TABLES: Final = frozenset("flyvszcbor")
"""Given and other names, their initials, streets, postcodes, cities, birth places, occupations, ethnicity."""


class MalformedModel(ValueError):
    """A document that is no model. The message is one sentence."""


def write_model(model: Model, counts: Mapping[str, int]) -> dict[str, Any]:
    """The document of a model; `version` is a hash of all else, so equal models have equal versions."""
    frequent = {term: n for term, n in sorted(counts.items()) if n >= FREQUENT_MIN and term[0] in TABLES}
    content = {
        "format": FORMAT,
        "records": model.records,
        "match_prior": model.match_prior,
        "relative_prior": model.relative_prior,
        "copies": model.copies,
        "matches": {NAMES[number]: list(chances) for number, chances in model.chances.items()},
        "relatives": {NAMES[number]: list(chances) for number, chances in model.shared.items()},
        "frequencies": frequent,
    }
    return {"version": sha256(orjson.dumps(content)).hexdigest()[:12], **content}


def read_model(document: object) -> tuple[Model, dict[str, int]]:
    """The model of a document, and its frequencies. Raises MalformedModel."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise MalformedModel(f"it is no model of the format {FORMAT}")
    content = {name: value for name, value in document.items() if name != "version"}
    if document.get("version") != sha256(orjson.dumps(content)).hexdigest()[:12]:
        raise MalformedModel("its version does not fit its content; train it anew instead of editing it")
    numbers = {name: number for number, name in enumerate(NAMES)}
    try:
        model = Model(
            document["records"],
            document["match_prior"],
            document["relative_prior"],
            document["copies"],
            {numbers[name]: tuple(chances) for name, chances in document["matches"].items()},
            {numbers[name]: tuple(chances) for name, chances in document["relatives"].items()},
        )
        frequencies = dict(document["frequencies"])
    except (KeyError, TypeError, AttributeError) as error:
        raise MalformedModel(f"a part is missing or wrong: {error}") from None
    if set(model.chances) != set(DEFAULTS) or set(model.shared) != set(DEFAULTS):
        raise MalformedModel("it does not hold all comparisons")
    return model, frequencies
