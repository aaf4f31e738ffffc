"""Whether a JSON value keeps a JSON Schema: as much of draft 7 as the shipped schema uses.

An unknown keyword raises KeyError, so that nothing in the schema goes unchecked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

IGNORED: Final = ("$schema", "title", "definitions")


def is_valid(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> bool:
    """Whether `value` keeps `schema`. `root`: where references lead to."""
    root = schema if root is None else root
    return all(
        CHECKS[keyword](value, operand, schema, root)
        for keyword, operand in schema.items()
        if keyword not in IGNORED
    )


def _is_type(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    kinds: dict[str, Any] = {"object": dict, "array": list, "string": str, "number": int | float}
    if name == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return name in kinds and isinstance(value, kinds[name])


def _reference(value: Any, path: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    target: Any = root
    for part in path.removeprefix("#/").split("/"):
        target = target[part]
    return is_valid(value, target, root)


def _other_properties(value: Any, rule: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    if not isinstance(value, dict):
        return True
    others = [one for key, one in value.items() if key not in schema.get("properties", {})]
    return not others if rule is False else all(is_valid(one, rule, root) for one in others)


def _properties(value: Any, rules: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    return not isinstance(value, dict) or all(
        is_valid(value[key], rule, root) for key, rule in rules.items() if key in value
    )


def _sized(kind: Any, compare: Callable[[int, int], bool]) -> Callable[..., bool]:
    return lambda value, limit, schema, root: not isinstance(value, kind) or compare(len(value), limit)


def _number(compare: Callable[[float, float], bool]) -> Callable[..., bool]:
    return lambda value, limit, schema, root: not _is_type(value, "number") or compare(value, limit)


def _least(a: float, b: float) -> bool:
    return a >= b


def _most(a: float, b: float) -> bool:
    return a <= b


CHECKS: Final[Mapping[str, Callable[..., bool]]] = {
    "$ref": _reference,
    "type": lambda value, names, schema, root: any(
        _is_type(value, name) for name in ([names] if isinstance(names, str) else names)
    ),
    "anyOf": lambda value, some, schema, root: any(is_valid(value, one, root) for one in some),
    "not": lambda value, one, schema, root: not is_valid(value, one, root),
    "enum": lambda value, known, schema, root: value in known,
    "pattern": lambda value, text, schema, root: not isinstance(value, str) or bool(re.search(text, value)),
    "required": lambda value, keys, schema, root: not isinstance(value, dict) or set(keys) <= set(value),
    "properties": _properties,
    "additionalProperties": _other_properties,
    "propertyNames": lambda value, rule, schema, root: not isinstance(value, dict) or all(
        is_valid(key, rule, root) for key in value
    ),
    "items": lambda value, rule, schema, root: not isinstance(value, list) or all(
        is_valid(one, rule, root) for one in value
    ),
    "minLength": _sized(str, _least),
    "maxLength": _sized(str, _most),
    "minItems": _sized(list, _least),
    "maxItems": _sized(list, _most),
    "minProperties": _sized(dict, _least),
    "maxProperties": _sized(dict, _most),
    "minimum": _number(_least),
    "maximum": _number(_most),
}  # fmt: skip
