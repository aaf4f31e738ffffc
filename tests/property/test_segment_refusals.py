"""Whatever is written, the answer is definitions or one clear refusal: nothing else escapes the parser."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.core.segments.definition import Definition
from pipeline.core.segments.document import DefinitionError
from pipeline.core.segments.parse import definition_from_json, parse_definitions
from tests.support.segment_cases import VALUES, random_definition
from tests.unit.core.segments.test_parse import MADRID

PIECES = (
    *("{", "}", "[", "]", ":", ": ", "- ", ", ", "\n", "\n  ", "\t", "#", "&a ", "*a", "!!str ", "!x "),
    *("---\n", "...\n", "%YAML 1.2\n", "|\n", ">\n", "'", '"', "? ", "<<: ", "~", "null", "1e5", ".nan"),
    *("NaN", "-0", "0x1", "\\x", "\ufeff", "\x00", "\x85", "\u2028", "é", "𝄞", "\ud800"),
    *("where", "all", "trait", "within", "7d", "at_least", "matches: (a*)*"),
)


def outcome(parse: Callable[[Any], list[Definition]], written: Any) -> DefinitionError | None:
    """The refusal, or None after each definition has survived its JSON form."""
    try:
        definitions = parse(written)
    except DefinitionError as error:
        return error
    assert all(definition_from_json(one.to_json()) == one for one in definitions)
    return None


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_file_is_refused_with_line_and_column_or_read(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(15):
        text = MADRID
        for _ in range(rng.randrange(1, 5)):
            at, length = rng.randrange(len(text) + 1), rng.choice([0, 0, 1, 3, 20])
            text = text[:at] + rng.choice(PIECES) + text[at + length :]
        error = outcome(parse_definitions, text)
        if error is not None:
            place = f"line {error.line}, column {error.column}"
            assert str(error) == f"{place}: {error.problem}, {error.suggestion}"
            assert min(error.line, error.column) >= 1
            assert "\n" not in str(error)


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_json_form_is_refused_or_read(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(30):
        damaged = damage(random_definition(rng), rng)
        error = outcome(lambda written: [definition_from_json(written)], damaged)
        assert error is None or (error.problem and error.suggestion)


def damage(written: Any, rng: random.Random) -> Any:
    """The same tree with some values and keys replaced."""
    if rng.random() < 0.04:
        return rng.choice([*VALUES, float("inf"), 1 << 70, b"", (), {1: 2}, "\udfff", "x" * 2_000])
    if isinstance(written, dict):
        words = ("all", "event", "where", "within", "is", "sum", "sequence", "", "version")
        return {
            rng.choice(words) if rng.random() < 0.04 else key: damage(value, rng)
            for key, value in written.items()
        }
    return [damage(item, rng) for item in written] if isinstance(written, list) else written
