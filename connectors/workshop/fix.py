"""Fixes: a list of small steps that make a rejected touchpoint a good one. Pure: a document in, another out.

A path names a field: `source`, `properties.category`, `identifiers[0].type`, `identifiers[*].value`. A step
whose field is not there changes nothing, except `set` and `default`, which make it.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from pipeline.core.errors import ConfigError

POSITION: Final = "{position}"
"""In a value: where the rejected record lies, the same each time. Good for an event id that is missing."""
STEPS_MAX: Final = 100
_TOKEN: Final = re.compile(r"([^.\[\]]+)|\[(\d+|\*)\]")
_WORD: Final = re.compile(r"[A-Za-z0-9]+")
_KEYS: Final[Mapping[str, str | None]] = MappingProxyType(
    {"set": "value", "default": "value", "rename": "to", "map": "values", "convert": "as", "remove": None,
     "replace": "with"}
)  # fmt: skip
"""Step → the key beside it."""


@dataclass(frozen=True, slots=True)
class Step:
    """`what` is a key of `_KEYS`, `path` a path (of `replace` the text to be replaced)."""

    what: str
    path: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class Fix:
    """Steps in order; those of `replace` come first, on the text, before it is read as JSON."""

    steps: tuple[Step, ...]

    def mend_text(self, text: str) -> str:
        """The text with its replacements."""
        for step in self.steps:
            if step.what == "replace":
                text = text.replace(step.path, step.value)
        return text

    def mend(self, document: dict[str, Any], position: str) -> dict[str, Any]:
        """A mended copy. Raises ValueError when a value cannot be converted."""
        mended = copy.deepcopy(document)
        for step in self.steps:
            if step.what != "replace":
                _DO[step.what](mended, step, position)
        return mended


def read_fix(document: object) -> Fix:
    """A fix from YAML or JSON: `{steps: [{set: source, value: web}, …]}`. Raises ConfigError."""
    only_steps = isinstance(document, Mapping) and set(document) == {"steps"}
    steps = document["steps"] if only_steps else None  # type: ignore[index]
    if not isinstance(steps, list) or not 0 < len(steps) <= STEPS_MAX:
        raise ConfigError(f"write a mapping with steps, a list of 1 to {STEPS_MAX}, and nothing else")
    return Fix(tuple(_read_step(number, step) for number, step in enumerate(steps)))


def _read_step(number: int, step: object) -> Step:
    place = f"steps[{number}]"
    if not isinstance(step, Mapping) or not step:
        raise ConfigError(f"{place}: write a step such as {{set: source, value: web}}")
    what = next((key for key in step if key in _KEYS), None)
    if what is None:
        near = difflib.get_close_matches(str(next(iter(step))), _KEYS, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"take one of {', '.join(_KEYS)}"
        raise ConfigError(f"{place}: {next(iter(step))} is no step, {hint}")
    beside = _KEYS[what]
    if set(step) != {what, *([beside] if beside else [])}:
        raise ConfigError(f"{place}: {what} is written {{{what}: …{f', {beside}: …' if beside else ''}}}")
    path, value = step[what], step.get(beside) if beside else None
    if not isinstance(path, str) or not path or (what != "replace" and not _is_path(path)):
        raise ConfigError(f"{place}: {path!r} is no path, write one such as properties.category")
    if what == "convert" and value not in CONVERSIONS:
        raise ConfigError(f"{place}: as must be one of {', '.join(CONVERSIONS)}")
    if what == "map" and not isinstance(value, Mapping):
        raise ConfigError(f"{place}: values must be a mapping of old to new")
    if what == "replace" and not isinstance(value, str):
        raise ConfigError(f"{place}: with must be a text, put it between quotes")
    if what == "rename" and (not isinstance(value, str) or not _is_path(value) or "*" in value + path):
        raise ConfigError(f"{place}: rename takes two paths without *")
    return Step(what, path, value)


def _is_path(path: str) -> bool:
    rebuilt = "".join(
        f".{name}" if name else f"[{index}]"
        for name, index in (one.groups() for one in _TOKEN.finditer(path))
    )
    return rebuilt.removeprefix(".") == path


def _tokens(path: str) -> list[str | int]:
    return [
        name or (index if index == "*" else int(index))
        for name, index in (one.groups() for one in _TOKEN.finditer(path))
    ]


def _places(document: Any, path: str, *, make: bool = False) -> Iterator[tuple[Any, str | int]]:
    """Containers and keys that a path names; the last key may be absent. `make`: missing objects are made."""
    *way, last = _tokens(path)
    found = [document]
    for token in way:
        found = [part for one in found for part in _parts(one, token, make=make)]
    for one in found:
        if last == "*" and isinstance(one, list):
            yield from ((one, at) for at in range(len(one)))
        elif isinstance(one, dict) and isinstance(last, str):
            yield one, last
        elif isinstance(one, list) and isinstance(last, int) and last < len(one):
            yield one, last


def _parts(one: Any, token: str | int, *, make: bool) -> list[Any]:
    if token == "*":
        return list(one) if isinstance(one, list) else []
    if isinstance(token, int):
        return [one[token]] if isinstance(one, list) and token < len(one) else []
    if not isinstance(one, dict):
        return []
    if make and one.get(token) is None:
        one[token] = {}
    return [one[token]] if token in one else []


def _is_there(container: Any, key: Any) -> bool:
    return not isinstance(container, dict) or key in container


def _set(document: Any, step: Step, position: str) -> None:
    for container, key in _places(document, step.path, make=True):
        container[key] = _filled(step.value, position)


def _default(document: Any, step: Step, position: str) -> None:
    for container, key in _places(document, step.path, make=True):
        if not _is_there(container, key) or container[key] in (None, ""):
            container[key] = _filled(step.value, position)


def _filled(value: Any, position: str) -> Any:
    return value.replace(POSITION, position) if isinstance(value, str) else copy.deepcopy(value)


def _rename(document: Any, step: Step, position: str) -> None:
    for container, key in list(_places(document, step.path)):
        if isinstance(container, dict) and key in container:
            value = container.pop(key)
            for target, name in _places(document, step.value, make=True):
                target[name] = value


def _map(document: Any, step: Step, position: str) -> None:
    for container, key in _places(document, step.path):
        if _is_there(container, key) and isinstance(container[key], str | int):
            container[key] = copy.deepcopy(step.value.get(container[key], container[key]))


def _convert(document: Any, step: Step, position: str) -> None:
    for container, key in _places(document, step.path):
        if _is_there(container, key) and container[key] is not None:
            try:
                container[key] = CONVERSIONS[step.value](container[key])
            except (TypeError, ValueError, OverflowError):
                raise ValueError(f"{step.path} cannot be converted by {step.value}") from None


def _remove(document: Any, step: Step, position: str) -> None:
    # From the end, so that positions in a list stay right.
    for container, key in reversed(list(_places(document, step.path))):
        if _is_there(container, key):
            del container[key]


def _iso_to_ms(value: Any) -> int:
    at = datetime.fromisoformat(value)
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _to_snake_case(value: Any) -> str:
    return "_".join(word.lower() for word in _WORD.findall(re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", value)))


CONVERSIONS: Final[Mapping[str, Callable[[Any], Any]]] = MappingProxyType({
    "seconds_to_ms": lambda value: round(float(value) * 1000),
    "iso_to_ms": _iso_to_ms,
    "integer": int,
    "text": str,
    "snake_case": _to_snake_case,
})  # fmt: skip
"""What `convert` can do."""
_DO: Final[Mapping[str, Callable[[Any, Step, str], None]]] = MappingProxyType({
    "set": _set, "default": _default, "rename": _rename, "map": _map, "convert": _convert, "remove": _remove,
})  # fmt: skip
