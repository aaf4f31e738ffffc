"""Operators and their operands as they are written, checked and made canonical.

Decides which operand fits which operator. It must not know what the operators do to a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .definition import Operand, Operator, PropertyTests, Scalar, Test, canonical_bytes
from .document import DefinitionError, Node, similar_to
from .operators import instant_ms
from .pattern import pattern_fault

OPERATORS: Final = tuple(str(operator) for operator in Operator)
NUMBER_OPERATORS: Final = ("gt", "gte", "lt", "lte")
IN_VALUES_MAX: Final = 1_000
TEXT_CHARS_MAX: Final = 1_000
PROPERTIES_MAX: Final = 50  # properties that one `where` may name
SYNONYMS: Final[Mapping[str, str]] = {
    "equals": "is", "eq": "is", "==": "is", "=": "is", "ne": "is_not", "not": "is_not", "!=": "is_not",
    "one_of": "in", "any_of": "in", "like": "contains", "includes": "contains", "regex": "matches",
    "pattern": "matches", "present": "exists", "greater_than": "gt", ">": "gt", ">=": "gte", "ge": "gte",
    "min": "gte", "less_than": "lt", "<": "lt", "<=": "lte", "le": "lte", "max": "lte", "until": "before",
    "since": "after",
}  # fmt: skip
_WHERE_EXAMPLE: Final = "where: {category: running shoes, price: {gt: 10}}"


def read_tests(entries: Mapping[str, Node]) -> tuple[Test, ...]:
    """The tests of one value, at least one, sorted by operator. Raises DefinitionError."""
    return tuple(Test(Operator(key), _operand(Operator(key), entries[key])) for key in sorted(entries))


def read_where(node: Node) -> tuple[PropertyTests, ...]:
    """The tests of an event's properties, sorted. A bare value means `is`. Raises DefinitionError."""
    properties = node.mapping("where", _WHERE_EXAMPLE)
    if len(properties) > PROPERTIES_MAX:
        node.refuse(f"where has more than {PROPERTIES_MAX} properties", "leave some out")
    for name, value in properties.items():
        if name in OPERATORS:
            problem = f"{name} is an operator, and where wants the property in front of it"
            raise DefinitionError(value.key_place, problem, f"write where: {{price: {{{name}: ...}}}}")
        if not name or len(name) > TEXT_CHARS_MAX:
            raise DefinitionError(
                value.key_place, f"a property has 1 to {TEXT_CHARS_MAX} characters", "name it"
            )
    return tuple(PropertyTests(name, _property_tests(name, properties[name])) for name in sorted(properties))


def _property_tests(name: str, node: Node) -> tuple[Test, ...]:
    if isinstance(node.value, list):
        node.refuse(f"the property {name} has a list", f"write {{{name}: {{in: [...]}}}}")
    if not isinstance(node.value, dict):
        return (Test(Operator.IS, _scalar(node, Operator.IS)),)
    entries = node.mapping(f"the property {name}", f"{{{name}: {{gt: 10}}}}")
    for key, value in entries.items():
        if key not in OPERATORS:
            problem = f"{key!r} is not an operator"
            synonym = SYNONYMS.get(key.lower())
            hint = f"did you mean {synonym}?" if synonym else similar_to(key, OPERATORS)
            raise DefinitionError(value.key_place, problem, hint)
    return read_tests(entries)


def _operand(operator: Operator, node: Node) -> Operand:
    match operator:
        case Operator.IN:
            return _values(node)
        case Operator.EXISTS:
            if not isinstance(node.value, bool):
                node.refuse(
                    f"exists is true or false, not {node.kind()}", "write exists: true or exists: false"
                )
            return node.value
        case Operator.GT | Operator.GTE | Operator.LT | Operator.LTE:
            if isinstance(node.value, bool) or not isinstance(node.value, int | float):
                node.refuse(f"{operator} wants a number, not {node.kind()}", _number_hint(operator, node))
            return node.value
        case Operator.BEFORE | Operator.AFTER:
            if (
                isinstance(node.value, bool)
                or not isinstance(node.value, str | int)
                or instant_ms(node.value) is None
            ):
                hint = "write for example 2026-01-31, 2026-01-31T12:00:00Z or milliseconds since 1970"
                node.refuse(f"{operator} wants a date or an instant", hint)
            return node.value
        case Operator.MATCHES:
            return _pattern(node)
        case Operator.IS | Operator.IS_NOT | Operator.CONTAINS:
            operand = _scalar(node, operator)
            if operator is Operator.CONTAINS and operand == "":
                node.refuse("every text contains the empty one", "write at least one character")
            return operand


def _scalar(node: Node, operator: Operator) -> Scalar:
    value = node.value
    if value is None:
        node.refuse(f"{operator} wants a value, not nothing", "write exists: false to mean a missing value")
    if isinstance(value, list | dict):
        hint = "write in: [...]" if operator is Operator.IS else "write one text, number, true or false"
        node.refuse(f"{operator} wants one value, not {node.kind()}", hint)
    if isinstance(value, str) and len(value) > TEXT_CHARS_MAX:
        node.refuse(f"the text has more than {TEXT_CHARS_MAX} characters", "shorten it")
    return value


def _values(node: Node) -> tuple[Scalar, ...]:
    items = node.items("in", "in: [Madrid, Lisbon]")
    if len(items) > IN_VALUES_MAX:
        node.refuse(
            f"in has more than {IN_VALUES_MAX} values", "split the list over several conditions under any"
        )
    values = [_scalar(item, Operator.IN) for item in items]
    return tuple(value for _, value in sorted({canonical_bytes(value): value for value in values}.items()))


def _pattern(node: Node) -> str:
    if not isinstance(node.value, str) or not node.value:
        node.refuse(
            f"matches wants a regular expression, not {node.kind()}",
            "write for example matches: '^280[0-9]{2}$'",
        )
    fault = pattern_fault(node.value)
    if fault is not None:
        node.refuse(*fault)
    return node.value


def _number_hint(operator: Operator, node: Node) -> str:
    if isinstance(node.value, str):
        try:
            return f"write {operator}: {float(node.value):g} without quotes"
        except ValueError:
            if instant_ms(node.value) is not None:
                return f"write {'after' if operator in (Operator.GT, Operator.GTE) else 'before'} for dates"
    return f"write for example {operator}: 10"
