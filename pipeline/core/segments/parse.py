"""Definitions from YAML or JSON, checked: every refusal is one sentence with a place and a suggestion.

Decides which constructs exist; those of the contract that this version cannot evaluate are refused by name.
Adding one means a dataclass in definition.py, a reader in `_HEADS` here and an evaluator in compile.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from ..duration import UNITS_MS, format_duration
from .definition import (
    All,
    AnyOf,
    Comparison,
    Condition,
    ConsentGiven,
    Definition,
    EventCount,
    HasIdentifier,
    NoneOf,
    PropertyTests,
    TraitTests,
)
from .document import DefinitionError, Node, Place, read_json, read_yaml, similar_to
from .operands import OPERATORS, read_tests, read_where
from .operands import SYNONYMS as OPERATOR_SYNONYMS

CONDITIONS_MAX: Final = 200  # conditions in one definition; bounds the work per evaluation
NESTING_MAX: Final = 16  # groups inside groups
COUNT_MAX: Final = 1_000  # instants that a window leaf may have to keep in every facet
WITHIN_MS_MAX: Final = 400 * UNITS_MS["d"]
_ID: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_SNAKE: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")  # as touchpoint.py has it
_IDENTIFIER_TYPE: Final = re.compile(r"(?:[a-z][a-z0-9_]{0,49}\.)?[a-z][a-z0-9_]{0,49}")  # `crm.user_id` too

_DEFINITION_KEYS: Final = ("id", "name", "purpose", "where")
_COMPARISONS: Final = tuple(str(comparison) for comparison in Comparison)
_EVENT_KEYS: Final = ("event", "where", "within", *_COMPARISONS)
_EXAMPLES: Final[Mapping[str, str]] = MappingProxyType({
    "all": "all: [{trait: city, is: Madrid}, {has: email}]",
    "any": "any: [{trait: city, is: Madrid}, {trait: city, is: Lisbon}]",
    "none": "none: [{event: order_completed, within: 7d}]",
    "trait": "{trait: city, is: Madrid}",
    "event": "{event: product_viewed, within: 7d}",
    "consent": "{consent: marketing}",
    "has": "{has: email}",
})  # fmt: skip
_UNSUPPORTED_HEADS: Final[Mapping[str, str]] = MappingProxyType({
    "sequence": "use all with one event condition for each step where the order does not matter",
    "first_time": "use event with exactly: 1",
    "not_since": "use none: [{event: ..., within: ...}]",
    "segment": "write the other segment's conditions out",
})  # fmt: skip
_UNSUPPORTED_AGGREGATES: Final = ("sum", "min", "max", "avg")
_SYNONYMS: Final[Mapping[str, str]] = MappingProxyType({
    "and": "all", "or": "any", "not": "none", "nor": "none", "property": "trait", "attribute": "trait",
    "type": "event", "identifier": "has", "since": "within", "window": "within", "last": "within",
    "count": "at_least", "times": "at_least", "min_count": "at_least", "max_count": "at_most",
    "conditions": "where", "properties": "where", "title": "name", "description": "name", "rules": "where",
})  # fmt: skip


def parse_definitions(text: str, identifier_types: tuple[str, ...] = ()) -> list[Definition]:
    """All definitions of a YAML text: one mapping, a list of them, or several documents.

    `identifier_types`: those that are configured, to refuse a misspelt `has`; empty: any type is accepted.
    Raises DefinitionError for the first thing that is wrong; then no definition of the text may be applied.
    """
    nodes = [
        node for top in read_yaml(text) for node in (top.value if isinstance(top.value, list) else [top])
    ]
    if not nodes:
        raise DefinitionError(Place("", 1, 1), "there is no definition here", "write id, name and where")
    definitions: dict[str, Definition] = {}
    for node in nodes:
        entries = _definition_entries(node)
        if "version" in entries:
            raise DefinitionError(
                entries["version"].key_place, "version is counted when applying", "remove it"
            )
        definition = _Reader(identifier_types).definition(node, entries)
        if definition.id in definitions:
            entries["id"].refuse(f"the id {definition.id} stands here twice", "give each segment its own id")
        definitions[definition.id] = definition
    return list(definitions.values())


def definition_from_json(document: object) -> Definition:
    """The definition of a value on `segments.definitions`, already parsed. Inverse of `Definition.to_json`.

    Raises DefinitionError, with a path instead of line and column.
    """
    node = read_json(document)
    entries = _definition_entries(node)
    version = entries.get("version")
    number = 1 if version is None else _whole_number(version, "version", 1, (1 << 31) - 1)
    return _Reader(()).definition(node, entries).with_version(number)


def _definition_entries(node: Node) -> dict[str, Node]:
    return node.mapping("a definition", "{id: in-madrid, name: In Madrid, where: {trait: city, is: Madrid}}")


def _whole_number(node: Node, name: str, least: int, most: int) -> int:
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int):
        node.refuse(
            f"{name} is a whole number, not {node.kind()}", f"write for example {name}: {max(least, 1)}"
        )
    if not least <= value <= most:
        node.refuse(f"{name} is {value}", f"write a number from {least} to {most}")
    return value


_ReadHead: TypeAlias = Callable[["_Reader", dict[str, Node], int], Condition]


class _Reader:
    """Reads one definition and counts its conditions."""

    def __init__(self, identifier_types: tuple[str, ...]) -> None:
        self.identifier_types = identifier_types
        self.conditions = 0

    def definition(self, node: Node, entries: dict[str, Node]) -> Definition:
        for key, value in entries.items():
            if key not in _DEFINITION_KEYS and key != "version":
                _refuse_key(key, value, "a definition", _DEFINITION_KEYS)
        for key in ("id", "where"):
            if key not in entries:
                example = "id: madrid-buyers" if key == "id" else "where: {trait: city, is: Madrid}"
                node.refuse(f"{key} is missing", f"write for example {example}")
        segment_id = _kebab(entries["id"])
        return Definition(
            id=segment_id,
            name=entries["name"].text("name", "Buyers in Madrid") if "name" in entries else segment_id,
            purpose=entries["purpose"].text("purpose", "marketing", 100) if "purpose" in entries else None,
            where=self.condition(entries["where"], 0),
        )

    def condition(self, node: Node, depth: int) -> Condition:
        if isinstance(node.value, list):
            node.refuse("a condition is a mapping, not a list", "write all: in front of the list")
        entries = node.mapping("a condition", _EXAMPLES["trait"])
        self.conditions += 1
        if self.conditions > CONDITIONS_MAX:
            node.refuse(
                f"the definition has more than {CONDITIONS_MAX} conditions", "split it or use in: [...]"
            )
        heads = [key for key in entries if key in _HEADS or key in _UNSUPPORTED_HEADS]
        if not heads:
            key = next(iter(entries))
            _refuse_key(key, entries[key], "a condition", tuple(_HEADS))
        if len(heads) > 1:
            place = entries[heads[1]].key_place
            problem = f"{heads[0]} and {heads[1]} stand in one condition"
            raise DefinitionError(place, problem, f"write all: [{{{heads[0]}: ...}}, {{{heads[1]}: ...}}]")
        head = heads[0]
        if head in _UNSUPPORTED_HEADS:
            place = entries[head].key_place
            raise DefinitionError(place, f"{head} is not supported by this version", _UNSUPPORTED_HEADS[head])
        return _HEADS[head](self, entries, depth)

    def group(self, head: str, entries: dict[str, Node], depth: int) -> tuple[Condition, ...]:
        _only(entries, (head,), f"a condition with {head}")
        node = entries[head]
        if depth >= NESTING_MAX:
            node.refuse(f"conditions are nested deeper than {NESTING_MAX} levels", "write them flatter")
        return tuple(self.condition(item, depth + 1) for item in node.items(head, _EXAMPLES[head]))

    def trait(self, entries: dict[str, Node], depth: int) -> Condition:
        _only(entries, ("trait", *OPERATORS), "a trait condition")
        name = entries["trait"].text("trait", _EXAMPLES["trait"])
        tests = {key: value for key, value in entries.items() if key != "trait"}
        if not tests:
            entries["trait"].refuse(
                f"the condition on {name} has no operator", f"write {{trait: {name}, exists: true}}"
            )
        return TraitTests(name, read_tests(tests))

    def event(self, entries: dict[str, Node], depth: int) -> Condition:
        for key in _UNSUPPORTED_AGGREGATES:
            if key in entries:
                place = entries[key].key_place
                raise DefinitionError(
                    place, f"{key} is not supported by this version", "count events with at_least"
                )
        _only(entries, _EVENT_KEYS, "an event condition")
        comparisons = [key for key in entries if key in _COMPARISONS]
        if len(comparisons) > 1:
            place = entries[comparisons[1]].key_place
            problem = f"{comparisons[0]} and {comparisons[1]} stand in one condition"
            raise DefinitionError(place, problem, "write two event conditions under all")
        comparison = Comparison(comparisons[0] if comparisons else "at_least")
        number = 1
        if comparisons:
            least = 1 if comparison is Comparison.AT_LEAST else 0
            number = _whole_number(entries[comparison], str(comparison), least, COUNT_MAX)
        where: tuple[PropertyTests, ...] = read_where(entries["where"]) if "where" in entries else ()
        within_ms = _within(entries["within"]) if "within" in entries else None
        return EventCount(_snake(entries["event"]), where, within_ms, comparison, number)

    def consent(self, entries: dict[str, Node], depth: int) -> Condition:
        _only(entries, ("consent",), "a consent condition")
        return ConsentGiven(entries["consent"].text("consent", _EXAMPLES["consent"], 100))

    def has(self, entries: dict[str, Node], depth: int) -> Condition:
        _only(entries, ("has",), "a has condition")
        node = entries["has"]
        name = node.text("has", _EXAMPLES["has"])
        if self.identifier_types and name not in self.identifier_types:
            node.refuse(f"{name!r} is not an identifier type", similar_to(name, self.identifier_types))
        if not _IDENTIFIER_TYPE.fullmatch(name):
            node.refuse(f"{name!r} is not an identifier type", "write lower-case letters, digits and _")
        return HasIdentifier(name)


_HEADS: Final[Mapping[str, _ReadHead]] = MappingProxyType({
    "all": lambda reader, entries, depth: All(reader.group("all", entries, depth)),
    "any": lambda reader, entries, depth: AnyOf(reader.group("any", entries, depth)),
    "none": lambda reader, entries, depth: NoneOf(reader.group("none", entries, depth)),
    "trait": _Reader.trait,
    "event": _Reader.event,
    "consent": _Reader.consent,
    "has": _Reader.has,
})  # fmt: skip


def _only(entries: dict[str, Node], known: tuple[str, ...], name: str) -> None:
    for key, value in entries.items():
        if key not in known:
            _refuse_key(key, value, name, known)


def _refuse_key(key: str, value: Node, name: str, known: tuple[str, ...]) -> None:
    problem = f"{key!r} is not known in {name}"
    for synonyms in (_SYNONYMS, OPERATOR_SYNONYMS):
        if synonyms.get(key.lower(), "") in known:
            raise DefinitionError(value.key_place, problem, f"did you mean {synonyms[key.lower()]}?")
    if key in _EVENT_KEYS:
        raise DefinitionError(value.key_place, problem, f"{key} belongs to an event condition")
    if key in OPERATORS:
        home = f"where: {{price: {{{key}: ...}}}}" if "within" in known else f"{{trait: city, {key}: ...}}"
        raise DefinitionError(value.key_place, problem, f"write {home}")
    raise DefinitionError(value.key_place, problem, similar_to(key, known))


def _kebab(node: Node) -> str:
    text = node.text("id", "madrid-buyers", 100)
    if not _ID.fullmatch(text):
        slug = "-".join(re.findall(r"[a-z0-9]+", text.lower())) or "madrid-buyers"
        node.refuse(f"the id {text!r} is not in kebab-case", f"write {slug}")
    return text


def _snake(node: Node) -> str:
    text = node.text("event", _EXAMPLES["event"], 100)
    if not _SNAKE.fullmatch(text):
        spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text)
        slug = "_".join(re.findall(r"[a-z0-9]+", spaced.lower()))
        node.refuse(
            f"the event {text!r} is not in snake_case",
            f"write {slug if slug[:1].isalpha() else 'product_viewed'}",
        )
    return text


def _within(node: Node) -> int:
    within_ms = node.duration_ms("within")
    if within_ms > WITHIN_MS_MAX:
        node.refuse(f"the window {node.value} is too long", f"write at most {format_duration(WITHIN_MS_MAX)}")
    return within_ms
