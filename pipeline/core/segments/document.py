"""Where things stand in a definition: a tree of values that know their line, column and path.

Reads YAML (plain and safe: no tags, no aliases, no key twice) or takes parsed JSON. Scalars are those of
JSON: `no`, `2024-01-31` and `007` are texts. It must not know what a segment is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

import yaml
from rapidfuzz import fuzz, process

from ..duration import parse_duration_ms
from ..errors import ConfigError

FILE_CHARS_MAX: Final = 4 << 20  # about 10,000 definitions; PyYAML reads 0.1 MB/s
DEPTH_MAX: Final = 64  # nesting of YAML or JSON, so that no input exhausts the stack
NUMBER_MAX: Final = (1 << 63) - 1  # what JSON readers of other languages can hold
_DIGITS_MAX: Final = 19
_ALIKE_MIN: Final = 60  # similarity in percent from which a known word is proposed
_DURATION_IN_WORDS: Final = re.compile(
    r"\s*(\d{1,6})\s*(ms|[smhdw])(?:ec(?:ond)?s?|in(?:ute)?s?|ours?|rs?|ays?|eeks?)?\s*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Place:
    """A position: `line` and `column` from 1, both 0 in parsed JSON; `path` as `where.all[1].within`."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}" if self.line else self.path or "definition"


NOWHERE: Final = Place("")


class DefinitionError(ConfigError):
    """A definition is refused. The message is one sentence: place, what is wrong, what to write instead.

    `definition_id`: of which one, where several are judged together; empty where one is read.
    """

    def __init__(self, place: Place, problem: str, suggestion: str, definition_id: str = "") -> None:
        super().__init__(f"{place}: {problem}, {suggestion}")
        self.definition_id = definition_id
        self.line, self.column, self.path = place.line, place.column, place.path
        self.problem, self.suggestion = problem, suggestion


Plain: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Node:
    """One value with the place where it starts, and the place of its key (its own outside a mapping)."""

    place: Place
    key_place: Place
    value: Plain | list[Node] | dict[str, Node]

    def kind(self) -> str:
        """What it is, in words for a message."""
        if isinstance(self.value, dict | list):
            return "a mapping" if isinstance(self.value, dict) else "a list"
        if self.value is None:
            return "nothing"
        if isinstance(self.value, bool):
            return "true or false"
        return "a text" if isinstance(self.value, str) else "a number"

    def refuse(self, problem: str, suggestion: str) -> NoReturn:
        """Raise DefinitionError at this value."""
        raise DefinitionError(self.place, problem, suggestion)

    def mapping(self, name: str, example: str) -> dict[str, Node]:
        """The entries. Refuses anything else, and an empty mapping."""
        if not isinstance(self.value, dict):
            self.refuse(f"{name} is a mapping, not {self.kind()}", f"write for example {example}")
        if not self.value:
            self.refuse(f"{name} is empty", f"write for example {example}")
        return self.value

    def items(self, name: str, example: str) -> list[Node]:
        """The items. Refuses anything else, and an empty list."""
        if not isinstance(self.value, list):
            self.refuse(f"{name} is a list, not {self.kind()}", f"write for example {example}")
        if not self.value:
            self.refuse(f"{name} is an empty list", f"write for example {example}")
        return self.value

    def text(self, name: str, example: str, chars_max: int = 200) -> str:
        """A text of 1 to `chars_max` characters without spaces around it."""
        if not isinstance(self.value, str):
            quoted = "" if self.value is None or isinstance(self.value, dict | list) else " in quotes"
            self.refuse(f"{name} is a text, not {self.kind()}", f"write for example {example}{quoted}")
        if not self.value.strip() or self.value != self.value.strip():
            self.refuse(f"{name} is empty or has spaces around it", f"write for example {example}")
        if len(self.value) > chars_max:
            self.refuse(f"{name} has more than {chars_max} characters", "shorten it")
        return self.value

    def duration_ms(self, name: str) -> int:
        """A duration such as `90s` or `7d`, in milliseconds."""
        hint = "write for example 90s, 15m, 24h or 7d"
        if not isinstance(self.value, str):
            self.refuse(f"{name} is a duration, not {self.kind()}", hint)
        try:
            return parse_duration_ms(self.value)
        except ValueError:
            meant = _DURATION_IN_WORDS.fullmatch(self.value)
            if meant is not None and int(meant[1]):
                hint = f"did you mean {int(meant[1])}{meant[2].lower()}?"
            self.refuse(f"{self.value!r} is not a duration", hint)


def similar_to(given: str, known: Sequence[str], lead_in: str = "write one of") -> str:
    """The suggestion for a word that is not known: the most similar one, or all of them."""
    best = process.extractOne(given.lower(), known, scorer=fuzz.ratio, score_cutoff=_ALIKE_MIN)
    return f"did you mean {best[0]}?" if best else f"{lead_in} {', '.join(known)}"


def read_json(document: object, path: str = "", depth: int = 0) -> Node:
    """The tree of a parsed JSON value. Raises DefinitionError for what JSON cannot hold."""
    place = Place(path)
    if depth > DEPTH_MAX:
        raise DefinitionError(place, f"nested deeper than {DEPTH_MAX} levels", "use fewer levels")
    if isinstance(document, dict):
        entries: dict[str, Node] = {}
        for key, value in document.items():
            name = _plain(key, place)
            if not isinstance(name, str):
                raise DefinitionError(place, "a key is a text", "put it in quotes")
            entries[name] = read_json(value, f"{path}.{name}" if path else name, depth + 1)
        return Node(place, place, entries)
    if isinstance(document, list):
        return Node(
            place, place, [read_json(value, f"{path}[{at}]", depth + 1) for at, value in enumerate(document)]
        )
    return Node(place, place, _plain(document, place))


def _plain(value: object, place: Place) -> Plain:
    """A scalar that can be written back as JSON."""
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise DefinitionError(
                place, "half of a surrogate pair is not a character", "write the whole character"
            )
        return value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise DefinitionError(
                place, "NaN and infinity are not values", "write a number, or put it in quotes"
            )
        if abs(value) > NUMBER_MAX:
            raise DefinitionError(
                place, "the number has more than 64 bits", "put it in quotes to mean a text"
            )
        return int(value) if isinstance(value, float) and value.is_integer() else value
    raise DefinitionError(place, f"{type(value).__name__} is not a JSON value", "write a text or a number")


def read_yaml(text: str) -> list[Node]:
    """The trees of all documents in a YAML text, empty ones left out. Raises DefinitionError."""
    if len(text) > FILE_CHARS_MAX:
        raise DefinitionError(
            Place("", 1, 1), f"the file has more than {FILE_CHARS_MAX} characters", "split it"
        )
    nodes: list[Node] = []
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = _read(loader.get_node(), "", None)
            if node.value is not None:
                nodes.append(node)
    except yaml.reader.ReaderError as error:
        line, column = (
            text.count("\n", 0, error.position) + 1,
            error.position - text.rfind("\n", 0, error.position),
        )
        what = "this character is not allowed in YAML"
        raise DefinitionError(
            Place("", line, column), what, "remove it or write it as an escape in quotes"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = f"not YAML ({error.problem or error.context})"
        raise DefinitionError(
            _place_of(mark, ""), what, "check indentation, colons and quotes there"
        ) from None
    return nodes


_STR, _NULL, _BOOL, _INT, _FLOAT, _MAP, _SEQ = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "null", "bool", "int", "float", "map", "seq")
)


class _Loader(yaml.SafeLoader):
    """Composes nodes with marks; refuses aliases and depth; takes plain scalars as JSON does."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own protocol)
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise DefinitionError(
                _place_of(event.start_mark, ""), "aliases are not read", "write the value out"
            )
        if self.depth > DEPTH_MAX:
            place = _place_of(event.start_mark, "")
            raise DefinitionError(place, f"nested deeper than {DEPTH_MAX} levels", "use fewer levels")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_WHOLE: Final = r"(?:0|[1-9][0-9]*)"  # 007 is a text: a postal code must keep its zeros
_EXPONENT: Final = r"[eE][-+]?[0-9]+"
_FRACTION: Final = rf"{_WHOLE}?\.[0-9]+(?:{_EXPONENT})?|{_WHOLE}(?:\.|\.?{_EXPONENT})"
_NO_NUMBER: Final = r"[-+]?(?:\.inf|\.Inf|\.INF|Infinity)|\.nan|\.NaN|\.NAN|NaN"  # read to be refused
for _tag, _pattern, _first in (
    (_NULL, "~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_BOOL, "true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_INT, rf"[-+]?{_WHOLE}", list("-+0123456789")),
    (_FLOAT, rf"[-+]?(?:{_FRACTION})|{_NO_NUMBER}", list("-+.0123456789IN")),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first)


def _place_of(mark: Any, path: str) -> Place:
    return Place(path, mark.line + 1, mark.column + 1) if mark is not None else Place(path, 1, 1)


def _read(node: Any, path: str, key_place: Place | None) -> Node:
    place = _place_of(node.start_mark, path)
    key_place = key_place or place
    if node.tag not in (_STR, _NULL, _BOOL, _INT, _FLOAT, _MAP, _SEQ):
        raise DefinitionError(place, f"the tag {node.tag} is not read", "remove it")
    if isinstance(node, yaml.SequenceNode):
        return Node(
            place, key_place, [_read(item, f"{path}[{at}]", None) for at, item in enumerate(node.value)]
        )
    if isinstance(node, yaml.MappingNode):
        return Node(place, key_place, _read_entries(node, path))
    return Node(place, key_place, _read_scalar(node, place))


def _read_entries(node: Any, path: str) -> dict[str, Node]:
    entries: dict[str, Node] = {}
    for key_node, value_node in node.value:
        key_place = _place_of(key_node.start_mark, path)
        key = _read_scalar(key_node, key_place) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            raise DefinitionError(key_place, "a key is a text", "put it in quotes")
        if key in entries:
            first = entries[key].key_place
            raise DefinitionError(
                key_place, f"{key!r} stands here twice, first in line {first.line}", "remove one"
            )
        entries[key] = _read(value_node, f"{path}.{key}" if path else key, key_place)
    return entries


def _read_scalar(node: Any, place: Place) -> Plain:
    text: str = node.value
    try:
        if node.tag == _INT:
            if len(text.lstrip("+-")) > _DIGITS_MAX:
                raise DefinitionError(
                    place, "the number has more than 64 bits", "put it in quotes to mean a text"
                )
            return _plain(int(text), place)
        if node.tag == _FLOAT:
            return _plain(float(text.lower().replace(".inf", "inf").replace(".nan", "nan")), place)
    except ValueError:
        raise DefinitionError(place, f"{text!r} is not a number", "write for example 10 or 0.5") from None
    if node.tag == _NULL:
        return None
    if node.tag == _BOOL:
        if text.lower() not in ("true", "false"):
            raise DefinitionError(place, f"{text!r} is not true or false", "write true or false")
        return text.lower() == "true"
    return _plain(text, place)
