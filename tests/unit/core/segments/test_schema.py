"""The shipped JSON Schema is printed from code, refuses nothing that is right and most of what is wrong."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.segments.conditions import KEYS
from pipeline.core.segments.document import DefinitionError, Node, read_yaml
from pipeline.core.segments.parse import HEADS, definition_from_json
from pipeline.core.segments.schema import definition_schema
from tests.property.test_segment_refusals import damage
from tests.support.doc_tables import SCHEMA_FILE
from tests.support.doc_tables import definition_schema as printed_schema
from tests.support.json_schema import is_valid
from tests.support.segment_cases import DAYS, HOURS, random_definition
from tests.unit.core.segments import test_refusals

SCHEMA = definition_schema()
PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "segments.md").read_text(encoding="utf-8")
LEFT_TO_THE_PARSER = re.compile(r"too long|wants a date|the pattern|not a time zone")
"""What a schema cannot see; all else that the parser refuses, it refuses too."""
MARKS = test_refusals.test_a_bad_condition_is_refused_where_it_stands.pytestmark  # type: ignore[attr-defined]
BAD = [(case[0], case[2]) for case in MARKS[0].args[1]]


def plain(node: Node) -> Any:
    """The JSON value of a node."""
    if isinstance(node.value, dict):
        return {key: plain(value) for key, value in node.value.items()}
    return [plain(one) for one in node.value] if isinstance(node.value, list) else node.value


def test_the_committed_schema_is_the_printed_one() -> None:
    assert SCHEMA_FILE.read_text("utf-8") == printed_schema(), "run make docs"


def test_every_condition_has_its_keys_and_its_row_in_the_grammar() -> None:
    assert list(KEYS) == list(HEADS) == re.findall(r"^\| `(\w+)` \| `\1`", PAGE, re.MULTILINE)


def test_every_example_of_the_page_is_valid() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 7
    for example in examples:
        (node,) = read_yaml(example)
        assert is_valid(plain(node), SCHEMA), example


@pytest.mark.parametrize("seed", range(40))
def test_every_definition_that_the_parser_reads_is_valid_also_a_damaged_one(seed: int) -> None:
    rng = random.Random(seed)
    read = 0
    for number in range(25):
        written = random_definition(rng, number, rng.choice([HOURS, DAYS]), traits=0.3)
        assert is_valid(written, SCHEMA), written
        assert is_valid(definition_from_json(written).to_json() | {"name": "n"}, SCHEMA) == (
            "version" not in definition_from_json(written).to_json()
        )
        damaged = damage(written, rng)
        try:
            definition_from_json(damaged)
        except DefinitionError:
            continue
        read += 1
        if "version" not in damaged:
            assert is_valid(damaged, SCHEMA), damaged
    assert read


@pytest.mark.parametrize(("condition", "problem"), BAD)
def test_what_the_parser_refuses_is_not_valid(condition: str, problem: str) -> None:
    try:
        nodes = read_yaml(f"id: x\nwhere:\n  {condition}\n")
    except DefinitionError:  # It is no YAML that could be asked about.
        nodes = []
    for node in nodes:
        assert is_valid(plain(node), SCHEMA) == bool(LEFT_TO_THE_PARSER.search(problem)), problem


def test_what_surrounds_a_condition_is_checked_too() -> None:
    good = {"id": "a-b", "where": {"has": "email"}}
    assert is_valid(good, SCHEMA)
    assert is_valid([good, {**good, "purpose": "marketing", "name": "A"}], SCHEMA)
    for bad in (
        {"id": "A B", "where": {"has": "email"}}, {"id": "a"}, {"where": {"has": "email"}}, [], "text",
        {**good, "rules": 1}, {**good, "name": " a"}, {**good, "purpose": ""}, {**good, "version": 2},
    ):  # fmt: skip
        assert is_valid(bad, SCHEMA) == (bad == [])
