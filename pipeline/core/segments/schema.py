"""The JSON Schema of definition files, for editors, and the grammar table of the reference page.

Made of the tables that the parser reads by. What a schema cannot say is left to the parser: patterns that
could stall, the longest window, dates, names of time zones, ids that exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .conditions import (
    AGGREGATES,
    COMPARISONS,
    COUNT_MAX,
    DATE_OPERATORS,
    DAYS,
    EXAMPLES,
    ID,
    KEYS,
    NOT_SINCE_KEYS,
    SNAKE,
    STEP_KEYS,
    STEPS_MAX,
)
from .definition import Computation, DateOperator, Operator
from .operands import IN_VALUES_MAX, NUMBER_OPERATORS, OPERATORS, PROPERTIES_MAX, TEXT_CHARS_MAX
from .parse import DEFINITION_KEYS, HEADS, IDENTIFIER_TYPE
from .pattern import PATTERN_CHARS_MAX
from .trait_reader import (
    POINTS_MAX,
    RULE_KEYS,
    RULES_MAX,
    SCORE_EXAMPLE,
    SESSION_EVENTS_MAX,
    TRAIT_EXAMPLES,
    keys_of,
    required_of,
)

Schema = dict[str, Any]
DIALECT: Final = "http://json-schema.org/draft-07/schema#"
_UNSPACED: Final = r"^\S([\s\S]*\S)?$"


def definition_schema() -> Schema:
    """The schema of one document of a file: a definition, or a list of them."""
    definition = {"$ref": "#/definitions/definition"}
    return {
        "$schema": DIALECT,
        "title": "Elo definitions of segments and computed traits",
        "anyOf": [definition, {"type": "array", "items": definition}],
        "definitions": {
            "definition": {"anyOf": [_ref("segment_definition"), _ref("trait_definition")]},
            "segment_definition": _mapping(
                {
                    "id": _matching(ID.pattern, 100),
                    "name": _text(200),
                    "purpose": _text(100),
                    "where": _ref("condition"),
                },
                ("id", "where"),
            ),
            "trait_definition": _computed_trait(),
            "condition": {"anyOf": [_ref(head) for head in HEADS]},
            **{head: _CONDITIONS[head] for head in HEADS},
            "where": {
                "type": "object",
                "minProperties": 1,
                "maxProperties": PROPERTIES_MAX,
                "propertyNames": {"minLength": 1, "maxLength": TEXT_CHARS_MAX, "not": {"enum": [*OPERATORS]}},
                "additionalProperties": {"anyOf": [_ref("scalar"), _some(_operands())]},
            },
            "scalar": {
                "anyOf": [
                    {"type": "string", "maxLength": TEXT_CHARS_MAX},
                    {"type": "number"},
                    {"type": "boolean"},
                ]
            },
            "duration": _matching("0*[1-9][0-9]{0,11}(?:ms|s|m|h|d|w)", 14),
        },
    }


def grammar_table() -> str:
    """One row a condition: the keys that it may have, and an example."""
    rows = ["| condition | keys | example |", "|---|---|---|"]
    for head in HEADS:
        keys = [f"`{key}`" for key in KEYS[head]]
        if head == "not_since":
            keys.append("in it " + ", ".join(f"`{key}`" for key in NOT_SINCE_KEYS))
        elif head == "sequence":
            keys.append("in each step " + ", ".join(f"`{key}`" for key in STEP_KEYS))
        rows.append(f"| `{head}` | {', '.join(keys)} | `{EXAMPLES[head]}` |")
    rows.append(f"| a definition | {', '.join(f'`{key}`' for key in DEFINITION_KEYS)} | |")
    return "\n".join(rows) + "\n"


def traits_table() -> str:
    """One row a computation: the keys that it may have, and an example."""
    rows = ["| `compute` | keys beside `trait` and `name` | example |", "|---|---|---|"]
    for kind in Computation:
        written, example = [f"`{key}`" for key in keys_of(kind)], TRAIT_EXAMPLES[kind]
        rows.append(f"| `{kind}` | {', '.join(written)} | `{example}` |")
    rows.append(
        "| | `score`, in each rule " + ", ".join(f"`{key}`" for key in RULE_KEYS) + f" | `{SCORE_EXAMPLE}` |"
    )
    return "\n".join(rows) + "\n"


def _computed_trait() -> Schema:
    """One variant for each computation, which differ in their keys, and one for scores."""
    named = {"trait": _matching(SNAKE.pattern, 100), "name": _text(200)}
    event: Schema = _matching(SNAKE.pattern, 100)
    several = {"type": "array", "minItems": 1, "maxItems": SESSION_EVENTS_MAX, "items": event}
    values: dict[str, Schema] = {
        "event": event, "of": _text(1_000), "where": _ref("where"), "within": _ref("duration"),
        "gap": _ref("duration"), "unit": _ref("duration"),
    }  # fmt: skip
    variants = []
    for kind in Computation:
        properties: dict[str, Schema] = {**named, "compute": {"enum": [str(kind)]}}
        properties |= {key: values[key] for key in keys_of(kind) if key != "compute"}
        if kind is Computation.SESSIONS:
            properties["event"] = {"anyOf": [event, several]}
        variants.append(_mapping(properties, ("trait", "compute", *required_of(kind))))
    points = {"type": "integer", "minimum": -POINTS_MAX, "maximum": POINTS_MAX}
    rule = _mapping({"points": points, "when": _ref("condition")}, RULE_KEYS)
    rules = {"type": "array", "minItems": 1, "maxItems": RULES_MAX, "items": rule}
    return {"anyOf": [*variants, _mapping({**named, "score": rules}, ("trait", "score"))]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _text(chars_max: int) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": chars_max, "pattern": _UNSPACED}


def _matching(pattern: str, chars_max: int) -> Schema:
    return {"type": "string", "maxLength": chars_max, "pattern": f"^(?:{pattern})$"}


def _mapping(properties: Mapping[str, Schema], required: Iterable[str]) -> Schema:
    return {
        "type": "object",
        "required": list(required),
        "additionalProperties": False,
        "properties": dict(properties),
    }


def _some(properties: Mapping[str, Schema]) -> Schema:
    """A mapping with at least one of these."""
    return {**_mapping(properties, ()), "minProperties": 1}


def _operands() -> dict[str, Schema]:
    found: dict[str, Schema] = {str(operator): _ref("scalar") for operator in Operator}
    found["in"] = {"type": "array", "minItems": 1, "maxItems": IN_VALUES_MAX, "items": _ref("scalar")}
    found["exists"] = {"type": "boolean"}
    found["matches"] = {"type": "string", "minLength": 1, "maxLength": PATTERN_CHARS_MAX}
    found |= {operator: {"type": "number"} for operator in NUMBER_OPERATORS}
    found |= {operator: {"type": ["string", "integer"]} for operator in ("before", "after")}
    found["contains"] = {"anyOf": [{"type": "string", "minLength": 1}, {"type": ["number", "boolean"]}]}
    return found


def _trait() -> Schema:
    trait = {"trait": _text(200)}
    variants = [{**_mapping({**trait, **_operands()}, ("trait",)), "minProperties": 2}]
    for operator in DATE_OPERATORS:
        day = operator in (DateOperator.ON, DateOperator.ANNIVERSARY)
        operand = {"enum": [*DAYS]} if day else _ref("duration")
        properties = {**trait, operator: operand, "timezone": _text(100)}
        variants.append(_mapping(properties, ("trait", operator)))
    return {"anyOf": variants}


def _event() -> Schema:
    event = {"event": _EVENT, "where": _ref("where"), "within": _ref("duration")}
    variants = [_mapping(event, ("event",))]
    for comparison in COMPARISONS:
        least = 1 if comparison == "at_least" else 0
        number = {"type": "integer", "minimum": least, "maximum": COUNT_MAX}
        variants.append(_mapping({**event, comparison: number}, ("event", comparison)))
    for aggregate in AGGREGATES:
        tests = {operator: {"type": "number"} for operator in NUMBER_OPERATORS}
        whole = _mapping({**event, aggregate: _text(1_000), **tests}, ("event", aggregate))
        compared = [{"required": [operator]} for operator in NUMBER_OPERATORS]
        variants.append({**whole, "anyOf": compared})
    return {"anyOf": variants}


def _group(head: str) -> Schema:
    return _mapping({head: {"type": "array", "minItems": 1, "items": _ref("condition")}}, (head,))


_EVENT: Final = _matching(SNAKE.pattern, 100)
_STEP: Final = _mapping({"event": _EVENT, "where": _ref("where")}, ("event",))
_STEPS: Final[Schema] = {"type": "array", "minItems": 2, "maxItems": STEPS_MAX, "items": _STEP}
_CONDITIONS: Final[Mapping[str, Schema]] = {
    "all": _group("all"),
    "any": _group("any"),
    "none": _group("none"),
    "trait": _trait(),
    "event": _event(),
    "sequence": _mapping({"sequence": _STEPS, "within": _ref("duration")}, ("sequence", "within")),
    "first_time": _mapping(
        {"first_time": _EVENT, "where": _ref("where"), "within": _ref("duration")}, ("first_time",)
    ),
    "not_since": _mapping(
        {
            "not_since": _mapping(
                {"event": _EVENT, "where": _ref("where"), "for": _ref("duration")}, ("event",)
            )
        },
        ("not_since",),
    ),
    "segment": _mapping({"segment": _matching(ID.pattern, 100)}, ("segment",)),
    "consent": _mapping({"consent": _text(100)}, ("consent",)),
    "has": _mapping({"has": _matching(IDENTIFIER_TYPE.pattern, 200)}, ("has",)),
}
