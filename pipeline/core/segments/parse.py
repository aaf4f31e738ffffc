"""Definitions from YAML or JSON, checked: every refusal is one sentence with a place and a suggestion.

Decides which constructs exist. Adding one means a dataclass in definition.py, a reader in conditions.py and
`HEADS`, what it asks of events in asked.py, an evaluator in compile.py, and words in explain.py. A document
that begins with `trait` defines a computed trait, see trait_reader.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeAlias

from .conditions import (
    EXAMPLES,
    kebab,
    only,
    read_event,
    read_first_time,
    read_not_since,
    read_segment,
    read_sequence,
    read_trait,
    refuse_key,
    whole_number,
)
from .definition import ASSIGNED, All, AnyOf, Condition, ConsentGiven, Definition, HasIdentifier, NoneOf
from .document import DefinitionError, Node, Place, read_json, read_yaml, similar_to
from .trait_reader import read_computed

CONDITIONS_MAX: Final = 200  # conditions in one definition; bounds the work per evaluation
NESTING_MAX: Final = 16  # groups inside groups
IDENTIFIER_TYPE: Final = re.compile(r"(?:[a-z][a-z0-9_]{0,49}\.)?[a-z][a-z0-9_]{0,49}")  # `crm.user_id` too
DEFINITION_KEYS: Final = ("id", "name", "purpose", "where")
SAID_ELSEWHERE: Final[Mapping[str, str]] = MappingProxyType({
    "version": "counted when applying",
    "paused": "said by elo segments pause and resume",
    "silent": "said by elo segments apply --silent",
})  # fmt: skip
"""What a definition on `segments.definitions` says and no file."""


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
        for key, said in SAID_ELSEWHERE.items():
            if key in entries:
                raise DefinitionError(entries[key].key_place, f"{key} is {said}", "remove it")
        definition = _Reader(identifier_types).definition(node, entries)
        if definition.id in definitions:
            named = entries["trait" if definition.is_trait else "id"]
            named.refuse(f"the id {definition.id} stands here twice", "give each segment its own id")
        definitions[definition.id] = definition
    return list(definitions.values())


def definition_from_json(document: object) -> Definition:
    """The definition of a value on `segments.definitions`, already parsed. Inverse of `Definition.to_json`.

    Raises DefinitionError, with a path instead of line and column.
    """
    node = read_json(document)
    entries = _definition_entries(node)
    version = entries.get("version")
    number = 1 if version is None else whole_number(version, "version", 1, (1 << 31) - 1)
    definition = _Reader(()).definition(node, entries)
    return replace(
        definition, version=number, paused=_flag(entries, "paused"), silent=_flag(entries, "silent")
    )


def _flag(entries: dict[str, Node], name: str) -> bool:
    node = entries.get(name)
    if node is None:
        return False
    if not isinstance(node.value, bool):
        node.refuse(f"{name} is true or false, not {node.kind()}", f"write {name}: true or leave it out")
    return node.value


def _definition_entries(node: Node) -> dict[str, Node]:
    return node.mapping("a definition", "{id: in-madrid, name: In Madrid, where: {trait: city, is: Madrid}}")


_ReadHead: TypeAlias = Callable[["_Reader", dict[str, Node], int], Condition]


class _Reader:
    """Reads one definition and counts its conditions."""

    def __init__(self, identifier_types: tuple[str, ...]) -> None:
        self.identifier_types = identifier_types
        self.conditions = 0

    def definition(self, node: Node, entries: dict[str, Node]) -> Definition:
        if "trait" in entries and "id" not in entries:
            return read_computed(node, entries, self.condition)
        for key, value in entries.items():
            if key not in DEFINITION_KEYS and key not in ASSIGNED:
                refuse_key(key, value, "a definition", DEFINITION_KEYS)
        for key in ("id", "where"):
            if key not in entries:
                example = "id: madrid-buyers" if key == "id" else "where: {trait: city, is: Madrid}"
                node.refuse(f"{key} is missing", f"write for example {example}")
        segment_id = kebab(entries["id"])
        return Definition(
            id=segment_id,
            name=entries["name"].text("name", "Buyers in Madrid") if "name" in entries else segment_id,
            purpose=entries["purpose"].text("purpose", "marketing", 100) if "purpose" in entries else None,
            where=self.condition(entries["where"], 0),
        )

    def condition(self, node: Node, depth: int) -> Condition:
        if isinstance(node.value, list):
            node.refuse("a condition is a mapping, not a list", "write all: in front of the list")
        entries = node.mapping("a condition", EXAMPLES["trait"])
        self.conditions += 1
        if self.conditions > CONDITIONS_MAX:
            node.refuse(
                f"the definition has more than {CONDITIONS_MAX} conditions", "split it or use in: [...]"
            )
        heads = [key for key in entries if key in HEADS]
        if not heads:
            key = next(iter(entries))
            refuse_key(key, entries[key], "a condition", tuple(HEADS))
        if len(heads) > 1:
            place = entries[heads[1]].key_place
            problem = f"{heads[0]} and {heads[1]} stand in one condition"
            raise DefinitionError(place, problem, f"write all: [{{{heads[0]}: ...}}, {{{heads[1]}: ...}}]")
        return HEADS[heads[0]](self, entries, depth)

    def group(self, head: str, entries: dict[str, Node], depth: int) -> tuple[Condition, ...]:
        only(entries, (head,), f"a condition with {head}")
        node = entries[head]
        if depth >= NESTING_MAX:
            node.refuse(f"conditions are nested deeper than {NESTING_MAX} levels", "write them flatter")
        return tuple(self.condition(item, depth + 1) for item in node.items(head, EXAMPLES[head]))

    def consent(self, entries: dict[str, Node], depth: int) -> Condition:
        only(entries, ("consent",), "a consent condition")
        return ConsentGiven(entries["consent"].text("consent", EXAMPLES["consent"], 100))

    def has(self, entries: dict[str, Node], depth: int) -> Condition:
        only(entries, ("has",), "a has condition")
        node = entries["has"]
        name = node.text("has", EXAMPLES["has"])
        if self.identifier_types and name not in self.identifier_types:
            node.refuse(f"{name!r} is not an identifier type", similar_to(name, self.identifier_types))
        if not IDENTIFIER_TYPE.fullmatch(name):
            node.refuse(f"{name!r} is not an identifier type", "write lower-case letters, digits and _")
        return HasIdentifier(name)


HEADS: Final[Mapping[str, _ReadHead]] = MappingProxyType({
    "all": lambda reader, entries, depth: All(reader.group("all", entries, depth)),
    "any": lambda reader, entries, depth: AnyOf(reader.group("any", entries, depth)),
    "none": lambda reader, entries, depth: NoneOf(reader.group("none", entries, depth)),
    "trait": lambda reader, entries, depth: read_trait(entries),
    "event": lambda reader, entries, depth: read_event(entries),
    "sequence": lambda reader, entries, depth: read_sequence(entries),
    "first_time": lambda reader, entries, depth: read_first_time(entries),
    "not_since": lambda reader, entries, depth: read_not_since(entries),
    "segment": lambda reader, entries, depth: read_segment(entries),
    "consent": _Reader.consent,
    "has": _Reader.has,
})  # fmt: skip
"""Every condition by the key that it begins with."""
