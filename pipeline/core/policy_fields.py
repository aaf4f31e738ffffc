"""Fields of the identity policy, read from a tree that knows its places: each refusal is one sentence.

Decides how a number, a duration or a choice is written, and what is said when it is not. It must not know
which settings there are: policy.py says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NoReturn, TypeVar

from .duration import UNITS_MS, format_duration
from .segments.document import DefinitionError, Node, Place, similar_to

Choice = TypeVar("Choice", bound=StrEnum)
WHOLE: Final = "identity policy"
"""What the outermost section is called in messages."""
NUMBER_MAX: Final = (1 << 31) - 1
DURATION_MS_MAX: Final = 36_500 * UNITS_MS["d"]
"""A century: instants that lie a few durations ahead stay within 64 bits."""
_SYNONYMS: Final[Mapping[str, str]] = MappingProxyType({
    "max": "limit", "maximum": "limit", "max_count": "count", "window": "within", "since": "within",
    "days": "within", "normalize": "normalise", "normalizer": "normalise", "normaliser": "normalise",
    "format": "normalise", "conflict": "on_conflict", "shared": "shared_after", "types": "identifiers",
    "ids": "identifiers", "block": "blocked", "blacklist": "blocked", "blocklist": "blocked",
    "regex": "patterns", "retention": "history", "survivorship": "traits", "country": "default_region",
    "region": "default_region", "max_identifiers": "component_identifiers_max", "unlinkable": "cannot_link",
    "keep_apart": "cannot_link", "namespace": "namespaces", "sources": "namespaces",
})  # fmt: skip
_WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "latest": ("newest",), "last": ("newest",), "earliest": ("oldest", "first"), "oldest": ("first",),
    "first": ("oldest",), "most_common": ("most_frequent",), "mode": ("most_frequent",), "all": ("union",),
    "stay": ("keep",), "steal": ("move",), "take": ("move",),
})  # fmt: skip
"""What people write for a word of an enumeration; the first that it has is meant."""


class Section:
    """One mapping of the policy. Unknown keys are refused when it is made.

    `name` is the path of the mapping in messages. A mapping with nothing in it takes all defaults.
    """

    def __init__(self, node: Node, name: str, known: Sequence[str], example: str) -> None:
        if not isinstance(node.value, dict):
            refuse(node, f"{name} is a mapping, not {node.kind()}", f"write for example {example}")
        self.node = node
        self.name = name
        self.entries: dict[str, Node] = node.value
        for key, value in self.entries.items():
            if key not in known:
                meant = _SYNONYMS.get(key.lower(), "")
                hint = f"did you mean {meant}?" if meant in known else similar_to(key, known)
                raise DefinitionError(value.key_place, f"{key!r} is not known in {name}", hint)

    def path(self, key: str) -> str:
        """The setting as messages name it."""
        return key if self.name == WHOLE else f"{self.name}.{key}"

    def integer(self, key: str, default: int, least: int) -> int:
        """A whole number of at least `least`."""
        node = self.entries.get(key)
        return default if node is None else read_integer(node, self.path(key), least)

    def duration(self, key: str, default_ms: int) -> int:
        """A duration such as `90d`, in milliseconds."""
        node = self.entries.get(key)
        return default_ms if node is None else read_duration(node, self.path(key))

    def choice(self, key: str, options: type[Choice], default: Choice) -> Choice:
        """One of the words of an enumeration."""
        node = self.entries.get(key)
        return default if node is None else read_choice(node, self.path(key), options)

    def words(self, key: str, example: str) -> list[Node]:
        """A list of texts, each once; empty when it is not written."""
        node = self.entries.get(key)
        return [] if node is None else read_words(node, self.path(key), example)


def refuse(node: Node, problem: str, suggestion: str) -> NoReturn:
    """Raise DefinitionError at a value; the whole policy has no path to name it by."""
    place = node.place if node.place.line or node.place.path else Place(WHOLE)
    raise DefinitionError(place, problem, suggestion)


def read_integer(node: Node, path: str, least: int) -> int:
    """A whole number of at least `least`."""
    value, key = node.value, path.rpartition(".")[2]
    if isinstance(value, bool) or not isinstance(value, int):
        shown = str(value) if isinstance(value, float) else node.kind()
        node.refuse(f"{path} is a whole number, not {shown}", f"write for example {key}: {least}")
    if value < least:
        node.refuse(f"{path} is {value}", f"write a whole number of at least {least}")
    if value > NUMBER_MAX:
        node.refuse(f"{path} is {value}", f"write at most {NUMBER_MAX}")
    return value


def read_duration(node: Node, path: str) -> int:
    """A duration in milliseconds, at most a century."""
    duration_ms = node.duration_ms(path)
    if duration_ms > DURATION_MS_MAX:
        node.refuse(f"{path} is longer than a century", f"write at most {format_duration(DURATION_MS_MAX)}")
    return duration_ms


def read_choice(node: Node, path: str, options: type[Choice]) -> Choice:
    """One of the words of an enumeration."""
    words = [str(option) for option in options]
    if not isinstance(node.value, str):
        node.refuse(f"{path} is one word, not {node.kind()}", f"write one of {', '.join(words)}")
    if node.value not in words:
        meant = [word for word in _WORDS.get(node.value.lower(), ()) if word in words]
        hint = f"did you mean {meant[0]}?" if meant else similar_to(node.value, words)
        node.refuse(f"{path} cannot be {node.value!r}", hint)
    return options(node.value)


def read_words(node: Node, path: str, example: str) -> list[Node]:
    """A list of texts, each once. It may be empty."""
    if not isinstance(node.value, list):
        node.refuse(f"{path} is a list, not {node.kind()}", f"write for example {example}")
    seen: set[object] = set()
    for item in node.value:
        if not isinstance(item.value, str):
            item.refuse(f"{path} lists texts, not {item.kind()}", f"write for example {example}")
        if item.value in seen:
            item.refuse(f"{item.value!r} stands twice in {path}", "remove one")
        seen.add(item.value)
    return node.value
